# SPDX-License-Identifier: Apache-2.0
"""What a leaf task counts in its groups' scores, by the groups' own rules.

A results file names a group's members and their weights, but not the rule that makes one number of
them (`harness.tasks.base.sections.by_weight`, `mean_of_members`, lm-eval's own mean over leaves).
The group's YAML does. All these rules are weighted sums with weights that do not depend on the
scores, so a group's score is a weighted sum of its leaves'.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lm_eval.config.group import GroupConfig
from lm_eval.tasks._yaml_loader import load_yaml

from harness.errors import HarnessError
from harness.runs.group_tree import leaves_below
from harness.tasks.base.dotted_names import known_as
from harness.tasks.base.made_group import MadeGroup, group_config
from harness.tasks.base.own_data import OwnPreferences
from harness.tasks.base.sections import Member
from harness.tasks.base.task_index import task_manager


@dataclass(frozen=True)
class LeafWeight:
    """What a leaf task that is compared may count by.

    Attributes:
        rows: how many of its documents are compared.
        weight: its ``metadata.weight``; None without one.
    """

    rows: int
    weight: float | None


def definitions(
    names: Iterable[str], include_path: Sequence[Path] = (), own: Collection[str] = ()
) -> dict[str, Any]:
    """The groups of these names, as lm-eval's ``GroupConfig``, without loading any data.

    Args:
        names: of groups.
        include_path: folders with a user's own tasks, as lm-eval's ``--include_path``.
        own: those that `own_data` knows; they need no YAML.

    Returns:
        Those found: there, among this project's tasks, or (which takes seconds, so only if need
        be) among lm-eval's.
    """
    wanted = set(names)
    if not wanted:
        return {}
    known = {field.name for field in fields(GroupConfig)}
    groups: dict[str, Any] = {}
    for defaults in (False, True):
        if defaults:
            groups |= {name: group_config(name) for name in own if name not in groups}
        missing = wanted - set(groups)
        if not missing:
            break
        index = task_manager(include_path, defaults=defaults).task_index
        for name in missing & set(index):
            path = index[name].yaml_path
            config = load_yaml(path, resolve_func=True) if path else {}
            if config.get("group") == name:
                given = {key: value for key, value in config.items() if key in known}
                groups[name] = GroupConfig(**given)
            elif _makes_a_group(config.get("class")):
                groups[name] = group_config(name, config.get("metadata"))
    return groups


def own_data(tree: Mapping[str, Sequence[str]], configs: Mapping[str, Any]) -> set[str]:
    """The groups that `harness.own_data.OwnPreferences` made, as their leaves' results tell.

    Args:
        tree: group -> its direct members.
        configs: of leaves, as ``configs`` of a results file.
    """
    return {
        group
        for group, members in tree.items()
        if members and all(_is_section(group, configs.get(member) or {}) for member in members)
    }


def _is_section(group: str, config: Mapping[str, Any]) -> bool:
    return (
        config.get("process_results") == f"{known_as(OwnPreferences)}.score"
        and "section" in (config.get("dataset_kwargs") or {})
        and str(config.get("task")).startswith(f"{group}-")
    )


def _makes_a_group(task: Any) -> bool:
    return isinstance(task, type) and issubclass(task, MadeGroup)


def leaf_weights(
    group: str,
    metric: str,
    tree: Mapping[str, Sequence[str]],
    leaves: Mapping[str, LeafWeight],
    configs: Mapping[str, Any],
) -> dict[str, float]:
    """How much each leaf's score counts in a group's score.

    Args:
        group: its name.
        metric: without the filter.
        tree: group -> its direct members, as ``group_subtasks`` of a results file.
        leaves: those that are compared; other leaves are left out, as lm-eval leaves out a subset
            without data.
        configs: of groups, from `definitions`.

    Raises:
        HarnessError: its rule, or that of a group in it, is not known or not a weighted sum. The
            message says which of these, and no name.
    """
    rule = _rule(group, metric, configs)
    if not callable(rule.aggregation):
        below = [name for name in leaves_below(group, tree) if name in leaves]
        sizes = [leaves[name].rows if rule.weight_by_size else 1.0 for name in below]
        return {name: size / sum(sizes) for name, size in zip(below, sizes, strict=True)}
    shares: list[dict[str, float]] = []
    members: list[tuple[str, float]] = []
    for child in tree[group]:
        if child in leaves:
            leaf = leaves[child]
            members.append((child, leaf.rows if leaf.weight is None else leaf.weight))
            shares.append({child: 1.0})
        elif any(name in leaves for name in leaves_below(child, tree)):
            shares.append(leaf_weights(child, metric, tree, leaves, configs))
            metadata = configs[child].metadata or {}
            members.append((child, float(metadata.get("weight", 1.0))))
    total: dict[str, float] = {}
    for weight, share in zip(_linear(rule.aggregation, members), shares, strict=True):
        for name, part in share.items():
            total[name] = total.get(name, 0.0) + weight * part
    return total


def _rule(group: str, metric: str, configs: Mapping[str, Any]) -> Any:
    if group not in configs:
        raise HarnessError("no YAML found here tells the rule (--include-path)")
    for rule in configs[group].aggregate_metric_list or ():
        if rule.metric == metric:
            return rule
    raise HarnessError(f"the YAML has no rule for {metric}")


def _linear(rule: Any, members: Sequence[tuple[str, float]]) -> list[float]:
    """The weights of a weighted sum, found by trying it on members of which one scores 1."""

    def score(values: Sequence[float]) -> float:
        given = [Member(n, v, None, w) for (n, w), v in zip(members, values, strict=True)]
        return float(rule(given)[0])

    count = len(members)
    weights = [score([float(i == j) for j in range(count)]) for i in range(count)]
    trial = [1 / (2 + i) for i in range(count)]
    expected = sum(w * t for w, t in zip(weights, trial, strict=True))
    if abs(score(trial) - expected) > 1e-9:
        raise HarnessError("the score is not a weighted sum of the members' scores")
    return weights
