# SPDX-License-Identifier: Apache-2.0
"""From rows to rewards."""
