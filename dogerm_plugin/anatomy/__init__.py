# SPDX-License-Identifier: Apache-2.0
"""What of a checkpoint is body, what is head, and what its rows mean."""
