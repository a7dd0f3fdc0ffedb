# SPDX-License-Identifier: Apache-2.0
"""A mixture of reward experts: `mergekit-moe` with a reward model as its base."""
