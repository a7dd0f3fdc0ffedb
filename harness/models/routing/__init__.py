# SPDX-License-Identifier: Apache-2.0
"""One expert for each prompt: who there is, what a router sees, and whom it chooses."""
