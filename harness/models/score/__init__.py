# SPDX-License-Identifier: Apache-2.0
"""From rows to rewards: templates, tokens, batches, forward passes, kept answers."""
