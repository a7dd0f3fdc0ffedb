# SPDX-License-Identifier: Apache-2.0
"""Dotted names that users have in their YAML files; `harness.tasks.base.sections` has them."""

from harness.tasks.base.sections import by_weight, mean_of_members, total

__all__ = ["by_weight", "mean_of_members", "total"]
