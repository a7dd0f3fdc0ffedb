"""Groups of body tensors that share one value: by layer, by part, or by both.

- `layers:N` cuts the layers into N runs of neighbours; `layers-1-of-N` is the earliest. What
  stands beside the layers is too little for a group of its own: the final norm goes with the last
  run, embeddings and all else with the first.
- `parts` tells what a tensor is for: `embeddings`, `attention`, `mlp`, `norms` (see `parts`).
- `layers:N+parts` is both: `layers-1-of-N-attention`, ..., and `embeddings`, which have no layer.

What fits none of these is `other`: a vision tower that both models have, projections beside the
layers, scales of the residual stream. A group without tensors does not appear.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dogerm_plugin.anatomy.layout import Layout
from dogerm_plugin.anatomy.parts import PARTS, Place, places
from dogerm_plugin.errors import MergeError, suggest
from dogerm_plugin.recipe.filters import conditions


@dataclass(frozen=True)
class Grouping:
    """What a user asked for: how many runs of layers (0: not by layer), and whether by part."""

    runs: int
    parts: bool


def parse(text: str) -> Grouping:
    """Read `layers:N`, `parts`, or both joined by `+`.

    Raises:
        MergeError: any other text.
    """
    runs, parts = 0, False
    for word in text.split("+"):
        match = re.fullmatch(r"layers:([1-9][0-9]*)", word.strip())
        if match and not runs:
            runs = int(match[1])
        elif word.strip() == "parts" and not parts:
            parts = True
        else:
            raise MergeError(
                f"groups: {text!r} is no grouping: write layers:N (N runs of layers, such as "
                "layers:3), parts (attention, mlp, embeddings and norms apart), or layers:N+parts"
            )
    return Grouping(runs, parts)


def assign(layout: Layout, grouping: str) -> dict[str, list[str]]:
    """Put every body tensor into exactly one group.

    Args:
        layout: the models, matched.
        grouping: see `parse`.

    Returns:
        Group → names of its tensors in the output, in the order of `layout.body`. Groups go from
        the first layers to the last, with `embeddings` before and `other` after them.

    Raises:
        MergeError: no such grouping, or more runs than the model has layers.
    """
    wanted = parse(grouping)
    place_of = places(layout)
    depth = 1 + max((place.layer for place in place_of.values() if not place.beside), default=-1)
    if wanted.runs > depth:
        raise MergeError(
            f"groups: layers:{wanted.runs}: {layout.reward.model} has {depth} layers; write "
            f"layers:{depth} for a group of each layer, or fewer"
        )
    groups: dict[tuple[int, int], list[str]] = defaultdict(list)
    for name in layout.body:
        groups[_key(place_of[name], wanted, depth)].append(name)
    return {_name(key, wanted): names for key, names in sorted(groups.items())}


def _key(place: Place, wanted: Grouping, depth: int) -> tuple[int, int]:
    """A group, to sort: the run (0 and one too many: no run) and the part (-1: all of them)."""
    part = PARTS.index(place.part)
    if place.outside:
        return wanted.runs + 1, PARTS.index("other")
    if not wanted.runs or (wanted.parts and place.beside and place.part != "norms"):
        return (wanted.runs + 1 if place.part == "other" else 0), part
    return 1 + place.layer * wanted.runs // depth, part if wanted.parts else -1


def _name(key: tuple[int, int], wanted: Grouping) -> str:
    run, part = key
    words = [f"layers-{run}-of-{wanted.runs}"] if 1 <= run <= wanted.runs else []
    return "-".join(words + ([PARTS[part]] if part >= 0 else []))


def setting(values: Mapping[str, float], groups: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """A parameter in a recipe that gives each group its value.

    Args:
        values: group → value.
        groups: group → names of its tensors: what `assign` returned.

    Returns:
        mergekit's conditions, `{"filter": text, "value": number}`: the first that matches decides,
        the last has no filter.

    Raises:
        MergeError: a group without value, or a value of no group.
    """
    for group in values:
        if group not in groups:
            raise MergeError(f"groups: no group {group!r}{suggest(group, groups)}")
    for group in groups:
        if group not in values:
            raise MergeError(f"groups: {group} has no value: give every group one")
    return conditions({name: values[group] for group, names in groups.items() for name in names})
