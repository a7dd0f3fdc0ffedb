# SPDX-License-Identifier: Apache-2.0
"""A dotted name that users have in their YAML files; `harness.tasks.base.own_data` has it."""

from harness.tasks.base.own_data import OwnPreferences

__all__ = ["OwnPreferences"]
