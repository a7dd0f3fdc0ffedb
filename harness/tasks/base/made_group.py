# SPDX-License-Identifier: Apache-2.0
"""Groups that a task's class makes of one YAML: a leaf a section, weighted as a section's are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lm_eval.api.group import Group
from lm_eval.config.group import GroupConfig
from lm_eval.tasks._yaml_loader import load_yaml

from harness.tasks import FOLDER


def group_config(
    name: str, metadata: Mapping[str, Any] | None = None, alias: str | None = None
) -> GroupConfig:
    """The configuration of such a group, with the rules of ``_section.yaml``."""
    rules = load_yaml(FOLDER / "_section.yaml")
    return GroupConfig(name, alias, metadata=dict(metadata) if metadata else None, **rules)


class MadeGroup:
    """What a task's class is that makes a group of its YAML, so that others find its rules."""

    @staticmethod
    def group(config: GroupConfig, leaves: Iterable[Any]) -> Group:
        """The group of these leaves."""
        group = Group.from_config(config)
        for leaf in leaves:
            group.add(leaf)
        return group
