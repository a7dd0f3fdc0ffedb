# SPDX-License-Identifier: Apache-2.0
"""Bounds and meanings of the parameters of mergekit's methods, which declare only their types.

Told by a parameter's name, and by method and name where one name has two meanings. A parameter
that is not here is taken as mergekit declares it: any value of its type, varied where a user says
between which.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dogerm_plugin.errors import MergeError
from dogerm_plugin.methods.declaration import Values


@dataclass(frozen=True)
class Hint:
    """What is known of a parameter; see `parameter.Parameter`."""

    meaning: str
    low: float = -math.inf
    high: float = math.inf
    usual: tuple[float, float] | None = None
    example: Any = 1


HINTS = {
    "weight": Hint("factor in the merge", usual=(0, 1.5)),
    "density": Hint("share of the changes that is kept", 0, 1, usual=(0.1, 1), example=0.5),
    "gamma": Hint("share of the largest changes that is dropped", 0, 1),
    "epsilon": Hint("change below which a number counts as unchanged", low=0),
    "lambda": Hint("factor of all changes together"),
    "normalize": Hint("the weights are divided by their sum"),
    "rescale": Hint("what is kept is scaled up to the size of all"),
    "int8_mask": Hint("signs are kept in eight bits"),
    "t": Hint("way from base_model (0) to the other model (1)", 0, 1, (0, 1), example=0.3),
    "select_topk": Hint("share of the numbers that differ most, which are merged", 0, 1),
    "filter_wise": Hint("every row has a place of its own between base and mean"),
    "nuslerp_row_wise": Hint("rows are turned, not columns"),
    "nuslerp_flatten": Hint("a tensor is turned as one vector"),
    "normalize_weights": Hint("the weights are divided by their sum"),
    "eps": Hint("least norm that is divided by", low=0),
    "max_iter": Hint("most steps to the mean", low=1, example=10),
    "tol": Hint("step at which the mean is found", low=0),
    "r": Hint("factor by which changes of one model alone are strengthened", low=0),
    "alpha": Hint("bound of that strengthening", low=0),
    "scale": Hint("factor of all numbers"),
    "della.epsilon": Hint("half the span of the odds to be kept", 0, 1),
    "nearswap.t": Hint("difference within which numbers are the other's", low=0, usual=(0, 0.003)),
}


def hint(method: str, name: str, description: str | None = None) -> Hint:
    """What is known of a parameter of one of mergekit's methods.

    Args:
        method: mergekit's name of it.
        name: the parameter's.
        description: what mergekit says of it.
    """
    own = f"{method.partition('_')[0]}.{name}"
    return HINTS.get(own) or HINTS.get(name) or Hint(description or f"{name} (of {method})")


def spread_fits(values: Values, where: str) -> None:
    """Refuse a density and a spread around it that leave 0..1, as DELLA does in mid-merge."""
    densities, spreads = values.get("density"), values.get("epsilon")
    if densities is None or spreads is None:
        return
    pairs = [*zip(densities, spreads, strict=True)]
    pairs.append((values.get("reward_density"), values.get("reward_epsilon")))
    for density, spread in pairs:
        if density is None or spread is None or density in (0, 1):
            continue
        if not spread < density < 1 - spread:
            raise MergeError(
                f"{where}: density {density} with epsilon {spread}: density ± epsilon must lie "
                "within 0..1"
            )
