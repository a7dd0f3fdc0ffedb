# SPDX-License-Identifier: Apache-2.0
"""Is the difference of two models on the same items larger than chance: pure functions.

All of it is paired: both models have scored the same items, and what is looked at is each item's
difference, B − A. Items belong to strata (the leaf tasks of a benchmark); a section's score is a
weighted sum of its strata's means, with weights that do not depend on the scores. A resample draws
within each stratum, so that it has as many items of each as the benchmark has. Items that share a
prompt are no independent trials, in one stratum or in several: they are drawn, and their signs
flipped, together.

Sources: McNemar, Psychometrika 12 (1947), in its exact form (Fagerland, Lydersen and Laake, BMC
Medical Research Methodology 13:91, 2013); Holm, Scandinavian Journal of Statistics 6 (1979); those
of the resampling in `harness.compare.resampling`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from harness.compare.paired import ALSO, PairedStatistics
from harness.compare.resampling import (
    Drawn,
    Shared,
    Values,
    bootstrap_means,
    bootstrap_sums,
    monte_carlo_p,
    percentiles,
    sign_flipped_means,
    sign_flipped_sums,
)

# One stratum: the same items' values, as many for A as for B.
Pairs: TypeAlias = tuple[ArrayLike, ArrayLike]

RESAMPLES = 10_000
CONFIDENCE = 0.95

MCNEMAR: Literal["mcnemar"] = "mcnemar"
SIGN_FLIP: Literal["sign-flip"] = "sign-flip"


class Comparison(PairedStatistics):
    """The statistics of one section, and how many items' values are larger and smaller under B."""

    risen: int
    fallen: int


def compare(
    strata: Mapping[str, Pairs],
    weights: Mapping[str, float] | None = None,
    *,
    prompts: Mapping[str, Sequence[str]] | None = None,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Comparison:
    """Compare two models on one section.

    The p-value is McNemar's, exact, where every item is right or wrong (1 or 0) and counts as much
    as any other. Elsewhere (fractions of a point, margins, strata with weights of their own, items
    that share a prompt) it is that of the sign-flip test, of which McNemar's is the special case.

    Args:
        strata: name -> (values under A, values under B), finite, in the same order of items.
        weights: name -> what the stratum's mean counts; without it the stratum's share of items,
            so that the score is the mean over all items.
        prompts: name -> what tells the prompt of each item, the same in all strata; several texts,
            `ALSO` between them, of one that belongs with all that have any. Without it each has
            its own.
        resamples: of the bootstrap and of the sign-flip test.
        confidence: of the interval, between 0 and 1.
        seed: a stratum's draws depend on it and on the stratum's name only (or on those of all that
            share prompts): its interval is the same whatever else is compared.

    Raises:
        ValueError: a stratum without items, with unequal numbers of values, or with a value that
            is not finite; names in `weights` that are not those in `strata`.
    """
    pairs = {name: _checked(name, pair) for name, pair in strata.items()}
    items = sum(len(a) for a, _ in pairs.values())
    if weights is None:
        weights = {name: len(a) / items for name, (a, _) in pairs.items()}
    if not pairs or set(weights) != set(pairs):
        raise ValueError(f"weights of {sorted(weights)} for strata {sorted(pairs)}")
    differences = {name: b - a for name, (a, b) in pairs.items()}
    drawn, linked = _drawn(differences, _as_one(prompts or {}))
    draws = sum(
        weights[name] * bootstrap_means(one, resamples, _generator(seed, name))
        for name, one in drawn.items()
    ) + sum(
        bootstrap_sums(one, _of(weights, names), resamples, _generator(seed, "\n".join(names)))
        for names, one in linked.items()
    )
    low, high = percentiles(np.asarray(draws), confidence)
    risen = sum(int((values > 0).sum()) for values in differences.values())
    fallen = sum(int((values < 0).sum()) for values in differences.values())
    difference = sum(weights[name] * float(d.mean()) for name, d in differences.items())
    test: Literal["mcnemar", "sign-flip"] = MCNEMAR
    independent = sum(len(one.sums) for one in drawn.values())
    independent += sum(len(one.sums) for one in linked.values())
    apart = independent == items
    if apart and _all_right_or_wrong(pairs.values()) and _all_alike(weights, differences):
        p = mcnemar(risen, fallen)
    else:
        null = sum(
            weights[name] * sign_flipped_means(one, resamples, _generator(seed, name, 1))
            for name, one in drawn.items()
        ) + sum(
            sign_flipped_sums(
                one, _of(weights, names), resamples, _generator(seed, "\n".join(names), 1)
            )
            for names, one in linked.items()
        )
        p, test = monte_carlo_p(difference, np.asarray(null)), SIGN_FLIP
    return Comparison(
        items=items,
        prompts=items if apart else independent,
        a=sum(weights[name] * float(a.mean()) for name, (a, _) in pairs.items()),
        b=sum(weights[name] * float(b.mean()) for name, (_, b) in pairs.items()),
        difference=difference,
        low=low,
        high=high,
        risen=risen,
        fallen=fallen,
        p=p,
        test=test,
    )


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided p-value of McNemar's test from the items on which two models disagree.

    If neither is better, each such item is as likely to be gained as lost: the binomial test of
    `gained` out of `gained + lost` against 1/2. Without a disagreement it is 1.

    >>> mcnemar(9, 1)
    0.021484375
    """
    from scipy.stats import binomtest

    disagreements = gained + lost
    return float(binomtest(gained, disagreements).pvalue) if disagreements else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the order given.

    Calling those below α significant keeps the chance of even one false call below α, whatever the
    dependence between the tests.

    >>> [round(p, 10) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _as_one(prompts: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """One text for all prompts that belong together, directly or by way of others."""
    first: dict[str, str] = {}

    def root(text: str) -> str:
        while first.setdefault(text, text) != text:
            first[text] = first[first[text]]
            text = first[text]
        return text

    for prompt in (prompt for of in prompts.values() for prompt in of):
        own, *others = prompt.split(ALSO)
        for other in others:
            first[root(other)] = root(own)
    return {name: [root(one.split(ALSO)[0]) for one in of] for name, of in prompts.items()}


def _drawn(
    differences: Mapping[str, Values], prompts: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Drawn], dict[tuple[str, ...], Shared]]:
    """What is drawn in each stratum by itself, and in each set of strata that share prompts."""
    sets: dict[str, set[str]] = {}  # of strata that hang together
    first: dict[str, str] = {}  # where a prompt was met
    for name in differences:
        sets[name] = {name}
        for prompt in prompts.get(name, ()):
            other = sets[first.setdefault(prompt, name)]
            if other is not sets[name]:
                other |= sets[name]
                sets |= dict.fromkeys(other, other)
    alone = {name: Drawn.of(differences[name], prompts.get(name)) for name in differences}
    linked = {tuple(sorted(one)): one for one in sets.values() if len(one) > 1}
    return (
        {name: one for name, one in alone.items() if len(sets[name]) == 1},
        {
            names: Shared.of([(differences[name], prompts[name]) for name in names])
            for names in linked
        },
    )


def _of(weights: Mapping[str, float], names: Sequence[str]) -> Values:
    return np.array([weights[name] for name in names])


def _checked(name: str, pair: Pairs) -> tuple[Values, Values]:
    a, b = (np.asarray(values, dtype=np.float64) for values in pair)
    if a.ndim != 1 or a.shape != b.shape or not len(a):
        raise ValueError(f"{name}: values of shape {a.shape} under A and {b.shape} under B")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError(f"{name}: a value is not finite")
    return a, b


def _all_right_or_wrong(pairs: Iterable[tuple[Values, Values]]) -> bool:
    return all(bool(np.isin(values, (0.0, 1.0)).all()) for pair in pairs for values in pair)


def _all_alike(weights: Mapping[str, float], differences: Mapping[str, Values]) -> bool:
    """Whether an item counts the same in every stratum."""
    each = [weights[name] / len(values) for name, values in differences.items()]
    return max(each) - min(each) <= 1e-9 * max(map(abs, each))


def _generator(seed: int, name: str, purpose: int = 0) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode()), purpose])
