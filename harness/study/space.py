# SPDX-License-Identifier: Apache-2.0
"""What a search may try of a method's parameters, and the numbers that Optuna draws for it.

A value for each parameter, group of tensors and domain model. Most are drawn themselves. Where the
domain models share a total (λ: in every group Σλ <= 1, the rest is the reward model's) and there
are k > 1 of them, the total is drawn, and k − 1 numbers that break it like a stick, so that every
draw is a merge and uniform draws are uniform over all ways to share a total: of what is left when
model i has its turn, it takes 1 − (1 − u)^(1 / (k − i)) (Devroye, Non-Uniform Random Variate
Generation, 1986, V.2: the first spacing of k − i uniform points). A grid has the values themselves,
the same steps for all.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from harness.errors import HarnessError
from harness.study.grid import MOST
from harness.study.span import DIGITS, UNIT, Span

Assigned = Mapping[str, list[str]]


@dataclass(frozen=True)
class Space:
    """What a search may try: each parameter's span, for each model and group of tensors.

    Attributes:
        models: the domain models, in the recipe's order.
        spans: of the parameters; the first is that of λ.
        groups: group -> its tensors (`dogerm_plugin.recipe.groups.assign`); None: all have one
        value. step: of the grid; None where values are drawn.

    Raises:
        HarnessError: a step that leaves no grid, or too large a one.
    """

    models: tuple[str, ...]
    spans: tuple[Span, ...]
    groups: Assigned | None = None
    step: Decimal | None = None

    def __post_init__(self) -> None:
        if self.step is not None:
            self._check_grid(self.step)

    def _check_grid(self, step: Decimal) -> None:
        if step <= 0 or step * UNIT % 1:
            raise HarnessError(
                f"--step {step}: expected a number above 0 with at most {DIGITS} decimals"
            )
        count, told = 1, []
        for span in self.spans:
            start = span.start(len(self.models))
            if (span.high - start) % step:
                raise HarnessError(
                    f"--step {step}: steps from {start} miss {span.typed(span.high)}; choose "
                    "bounds that differ by a multiple of the step"
                )
            ways, groups = span.count(len(self.models), step), len(self._groups_of(span))
            count *= ways**groups
            told.append(f"{ways:,} in each of {groups} groups")
        if count > MOST:
            raise HarnessError(
                f"a grid with --step {step} has {count:,} points ({', '.join(told)}), and at most "
                f"{MOST:,} are measured: choose a larger --step, closer --low and --high, fewer "
                "--groups, or another --sampler"
            )

    def drawn(self) -> dict[str, tuple[float, float]]:
        """What Optuna draws: name -> bounds."""
        distributions = {}
        for span in self.spans:
            bounds = float(span.low), float(span.high)
            for group in self._groups_of(span):
                if self.step is None and self._breaks(span):
                    distributions[_joined(group, "total")] = bounds
                    for model in self._short[:-1]:
                        distributions[_joined(group, f"share of {model}")] = (0.0, 1.0)
                else:
                    least = bounds[0]
                    if self.step is not None:
                        least = float(span.start(len(self.models)))
                    distributions |= dict.fromkeys(self._names(span, group), (least, bounds[1]))
        return distributions

    def params(self, drawn: Mapping[str, float]) -> dict[str, float]:
        """Every value by its name, from what was drawn.

        Where models share a total, their sum is at most the one that was drawn: values are rounded
        down to `DIGITS`.
        """
        params: dict[str, float] = {}
        for span in self.spans:
            for group in self._groups_of(span):
                names = self._names(span, group)
                if self.step is None and self._breaks(span):
                    parts = self._broken(drawn, group)
                    params |= {n: span.rounded(p) for n, p in zip(names, parts, strict=True)}
                else:
                    params |= {name: span.rounded(drawn[name]) for name in names}
        return params

    def _broken(self, drawn: Mapping[str, float], group: str) -> Iterator[float]:
        """Each model's part of a total."""
        rest = drawn[_joined(group, "total")]
        for turn, model in enumerate(self._short[:-1], 1):
            number = drawn[_joined(group, f"share of {model}")]
            part = rest * (1 - (1 - number) ** (1 / (len(self.models) - turn)))
            yield part
            rest -= part
        yield rest

    def values(self, params: Mapping[str, float]) -> dict[str, Any]:
        """The values of a point: a number where all groups agree, else conditions."""
        by_name: dict[str, Any] = {}
        for span in self.spans:
            groups = self._groups_of(span)
            by_group = [[params[name] for name in self._names(span, group)] for group in groups]
            columns = [self._of_groups(column) for column in zip(*by_group, strict=True)]
            by_name[span.parameter.name] = columns if span.each else columns[0]
        return by_name

    def _of_groups(self, values: Sequence[float]) -> Any:
        if self.groups is None or len(set(values)) == 1:
            return values[0]
        from dogerm_plugin.recipe import groups

        return groups.setting(dict(zip(self.groups, values, strict=True)), self.groups)

    def points(self) -> list[dict[str, float]]:
        """The grid's values by name, those with the smallest sum first."""
        assert self.step is not None
        axes, names = [], []
        for span in self.spans:
            ways = span.ways(len(self.models), self.step)
            for group in self._groups_of(span):
                axes.append(ways)
                names += self._names(span, group)
        points = [tuple(itertools.chain(*ways)) for ways in itertools.product(*axes)]
        points.sort(key=lambda point: (sum(point), point))
        return [dict(zip(names, map(float, point), strict=True)) for point in points]

    @property
    def names(self) -> list[str]:
        """The names of all values: of the group, the model or both, whatever there are several of.

        Those of other parameters than λ end with the parameter's.
        """
        return [
            name
            for span in self.spans
            for group in self._groups_of(span)
            for name in self._names(span, group)
        ]

    def as_dict(self) -> dict[str, str]:
        """What the space is, in words."""
        return {
            "groups": ", ".join(self.groups) if self.groups is not None else "none",
            **{f"bounds of {s.parameter.called}": f"{s.low} to {s.high}" for s in self.spans},
            "step": str(self.step),
        }

    def _breaks(self, span: Span) -> bool:
        return span.is_shared and span.each and len(self.models) > 1

    def _groups_of(self, span: Span) -> list[str]:
        by_group = self.groups is not None and span.parameter.by_tensor
        return list(self.groups or ()) if by_group else [""]

    @cached_property
    def _short(self) -> list[str]:
        names = [model.rstrip("/").rpartition("/")[2] for model in self.models]
        twice = {name for name, count in Counter(names).items() if count > 1}
        return [f"{n} {i}" if n in twice else n for i, n in enumerate(names, 1)]

    def _names(self, span: Span, group: str) -> list[str]:
        several = span.each and len(self.models) > 1
        end = "" if span is self.spans[0] else span.parameter.name
        heads = [_joined(group, model) for model in self._short] if several else [group]
        return [_joined(head, end) or span.parameter.name for head in heads]


def _joined(group: str, name: str) -> str:
    return "/".join(filter(None, (group, name)))
