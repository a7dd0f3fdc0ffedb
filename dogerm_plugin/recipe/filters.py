"""A short list of mergekit's conditions that gives each tensor its value.

mergekit reads `{filter: .self_attn., value: 0.2}` as: a tensor whose name contains the text has
this value; of several conditions the first that matches decides; one without a filter matches all.

The shortest such list is hard to find (it is a decision list). This one is built greedily, from its
end: first the value for all, then, again and again, the condition that mends most, put before it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# How many values, the most frequent ones, are tried as the one for all: more than two gain little.
_TRIED = 4
# A filter's text (None: matches all) and its value.
_Rule = tuple[str | None, float]


def conditions(values: Mapping[str, float]) -> list[dict[str, Any]]:
    """A parameter in a recipe that mergekit evaluates to the given value at every tensor.

    Args:
        values: tensor name → value.

    Returns:
        `{"filter": text, "value": number}` each, the last one without a filter. The texts begin and
        end at a dot or at the end of a name, so that layer 1 is not found in layer 11; whole names
        stand there only where nothing shorter is right.
    """
    subtrees = _subtrees(values)
    wanted: dict[float, int] = defaultdict(int)  # value → its subtrees, as a set of bits
    for number, names in enumerate(subtrees.values()):
        wanted[values[names[0]]] |= 1 << number
    filters = _filters(subtrees)
    common = sorted(wanted, key=lambda value: -wanted[value].bit_count())[:_TRIED]
    lists = [_rules(value, wanted, filters, subtrees, values) for value in common]
    return [
        {"filter": text, "value": value} if text else {"value": value}
        for text, value in min(lists, key=len)
    ]


def _subtrees(values: Mapping[str, float]) -> dict[str, list[str]]:
    """What names of one value begin with → those names; the beginnings are as short as can be."""
    below = defaultdict(set)
    for name, value in values.items():
        for start in _starts(name):
            below[start].add(value)
    subtrees = defaultdict(list)
    for name in values:
        start = next((start for start in _starts(name) if len(below[start]) == 1), name)
        subtrees[start].append(name)
    return subtrees


def _starts(name: str) -> Iterator[str]:
    return (name[: dot + 1] for dot in _dots(name))


def _dots(name: str) -> list[int]:
    return [place for place, letter in enumerate(name) if letter == "."]


@dataclass(frozen=True)
class _Filter:
    """A filter, and what it matches: sets of subtrees as bits, all of whose names or any."""

    text: str
    covers: int
    touches: int


def _filters(subtrees: Mapping[str, list[str]]) -> list[_Filter]:
    """The filters worth a try, the most readable first."""
    texts = set(subtrees)
    for start in subtrees:
        begins, ends = [0, *_dots(start)], [*_dots(start), len(start) - 1]
        texts |= {start[a : b + 1] for a in begins for b in ends if a < b}
    # a number says nothing without the word before it
    texts = {text for text in texts if not re.match(r"\.\d+\.", text)}
    listings = ["\n".join(names) for names in subtrees.values()]
    distinct: dict[tuple[int, int], _Filter] = {}
    for text in sorted(sorted(texts, key=_natural, reverse=True), key=_readability):
        covers = sum(1 << number for number, start in enumerate(subtrees) if text in start)
        touches = sum(1 << number for number, names in enumerate(listings) if text in names)
        distinct.setdefault((covers, touches), _Filter(text, covers, touches))
    return list(distinct.values())


def _readability(text: str) -> tuple[bool, bool, int]:
    """Sorts texts: those between two dots first, and those of few words."""
    return text[0] != ".", text[-1] != ".", text.count(".")


def _natural(text: str) -> str:
    """Sorts texts: layer 9 before layer 10."""
    return re.sub(r"\d+", lambda number: number[0].zfill(6), text)


def _rules(
    last: float,
    wanted: Mapping[float, int],
    filters: list[_Filter],
    subtrees: Mapping[str, list[str]],
    values: Mapping[str, float],
) -> list[_Rule]:
    """Rules for all tensors, of which the last one gives `last` to what no other matches."""
    tries = [
        (candidate.text, value, candidate.covers & mask, candidate.touches & ~mask)
        for candidate in filters
        for value, mask in wanted.items()
        if candidate.covers & mask
    ]
    rules: list[_Rule] = [(None, last)]
    everything, right = sum(wanted.values()), wanted[last]
    while right != everything:
        gains = [(m & ~right).bit_count() - (b & right).bit_count() for _, _, m, b in tries]
        best = max(gains)
        if best <= 0:
            break
        text, value, mends, breaks = tries[gains.index(best)]
        right = (right | mends) & ~breaks
        rules.insert(0, (text, value))
    wrong = [
        name
        for number, names in enumerate(subtrees.values())
        if not right >> number & 1
        for name in names
    ]
    return _needed([*_by_name(wrong, values), *rules], values)


def _needed(rules: list[_Rule], values: Mapping[str, float]) -> list[_Rule]:
    """Without the rules that change nothing. Without the one for all, the last one left is it."""
    for rule in rules:
        rest = [other for other in rules if other is not rule]
        if not rest:
            break
        if rule[0] is None:
            rest[-1] = (None, rest[-1][1])
        matched = (name for name in values if (rule[0] or "") in name)
        if all(_first(rest, name) == values[name] for name in matched):
            rules = rest
    return rules


def _first(rules: list[_Rule], name: str) -> float:
    return next(value for text, value in rules if (text or "") in name)


def _by_name(wrong: list[str], values: Mapping[str, float]) -> list[_Rule]:
    """Rules by whole names, for names that no shorter filter tells from the others.

    A name may be part of another (`norm.weight`, `layers.0.norm.weight`): the longest come first.
    """
    names = {name for name in values if any(part in name for part in wrong)}
    return [(name, values[name]) for name in sorted(names, key=lambda name: (-len(name), name))]
