# SPDX-License-Identifier: Apache-2.0
"""A dotted name that users have in their YAML files; `harness.tasks.base.preference` has it."""

from harness.tasks.base.preference import PreferenceTask

__all__ = ["PreferenceTask"]
