# SPDX-License-Identifier: Apache-2.0
"""RewardBench 2's Ties, whose score is one formula over all prompts.

A prompt of Ties has no score: its sample holds the numbers that the formula needs. But each term of
the formula is a mean over the ``ref`` prompts, over the ``tied`` prompts or over the pairs of both.
Where every prompt has its partner, the score thus is the mean over the pairs of what the formula
gives for a pair alone. A pair is an item like any other then, and the one to draw: its two prompts
are of the same kind, so they are not independent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import HarnessError
from harness.tasks.rewardbench2 import scoring
from harness.tasks.rewardbench2.task import Ties


class AloneError(HarnessError):
    """A prompt without its partner, so that the score is no mean over pairs."""


def is_prompt(metric: str, value: Any) -> bool:
    """Whether a sample's value of a metric is what a formula of Ties takes, a `scoring.Prompt`."""
    keys = scoring.Prompt.__annotations__.keys()
    return metric in Ties.METRICS and isinstance(value, dict) and value.keys() == keys


def pair_scores(metric: str, prompts: Mapping[int, scoring.Prompt]) -> dict[tuple[int, int], float]:
    """The value of each pair of prompts.

    Args:
        metric: of Ties, one with a formula.
        prompts: by doc_id.

    Returns:
        (doc_id of ``ref:n``, doc_id of ``tied:n``) -> the formula of these two.

    Raises:
        AloneError: a prompt has no partner, as under ``--limit``.
    """
    formula = Ties.METRICS[metric].aggregation
    assert callable(formula)
    numbered: dict[int, dict[str, int]] = {}
    for doc_id, prompt in prompts.items():
        kind, _, number = prompt["id"].partition(":")
        numbered.setdefault(int(number), {})[kind] = doc_id
    pairs = [(two[scoring.REF], two[scoring.TIED]) for two in numbered.values() if len(two) == 2]
    alone = len(prompts) - 2 * len(pairs)
    if alone:
        raise AloneError(
            f"{metric} is a mean over pairs of prompts only where each ref:n has its tied:n: "
            f"{alone} of {len(prompts)} have no partner"
        )
    return {(ref, tied): formula([prompts[ref], prompts[tied]]) for ref, tied in pairs}
