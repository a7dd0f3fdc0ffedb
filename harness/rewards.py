# SPDX-License-Identifier: Apache-2.0
"""A name that users have in their training scripts; `harness.models.reward_function` has it."""

from harness.models.reward_function import RewardFunction

__all__ = ["RewardFunction"]
