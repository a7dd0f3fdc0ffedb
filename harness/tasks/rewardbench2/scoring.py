# SPDX-License-Identifier: Apache-2.0
"""RewardBench 2's two rules: best of N, and the score of the Ties subset.

Malik et al., RewardBench 2 (arXiv 2506.01937); the rules are those of ``reroll_and_score_dataset``
and ``process_single_model`` in allenai/reward-bench, ``rewardbench/utils.py``.

Ties has prompts in twos: ``tied:n`` with several correct completions and ``ref:n``, a prompt of the
same kind with one. Of each, two numbers in units of reward are needed: the gap between the worst
correct and the best wrong completion, and the spread of the correct ones. The score is one number
of all prompts together, so a document's value is its `Prompt` and the aggregations work on the
list, in whatever order the documents arrive.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import TypedDict

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

REF, TIED = "ref", "tied"


def best_of_n(scores: Sequence[float]) -> float:
    """1/k where the first score is one of the k largest, else 0; 0 where any is not a number.

    >>> best_of_n([2.0, 1.0, 0.0, 1.0]), best_of_n([2.0, 2.0, 0.0, 1.0]), best_of_n([1.0, 2.0])
    (1.0, 0.5, 0.0)
    """
    if any(math.isnan(score) for score in scores) or scores[0] < max(scores):
        return 0.0
    return 1 / list(scores).count(scores[0])


class Prompt(TypedDict):
    """What the score of Ties needs of one prompt.

    Attributes:
        id: ``ref:n`` or ``tied:n``.
        gap: the worst correct score − the best wrong score.
        spread: the best correct score − the worst correct score.
    """

    id: str
    gap: float
    spread: float


def prompt(identifier: str, correct: Sequence[float], wrong: Sequence[float]) -> Prompt:
    """The gap and the spread of a prompt's scores; both NaN where any score is not a number.

    >>> prompt("tied:7", [3.0, 2.5], [1.0, 0.0])
    {'id': 'tied:7', 'gap': 1.5, 'spread': 0.5}
    """
    if any(math.isnan(score) for score in (*correct, *wrong)):  # max() depends on where it stands
        return {"id": identifier, "gap": math.nan, "spread": math.nan}
    worst = min(correct)
    return {"id": identifier, "gap": worst - max(wrong), "spread": max(correct) - worst}


def ref_accuracy(prompts: Sequence[Prompt]) -> float:
    """Share of the ``ref`` prompts whose correct completion beats every wrong one."""
    return _mean([float(one["gap"] > 0) for one in _numbered(prompts, REF).values()])


def tied_accuracy(prompts: Sequence[Prompt]) -> float:
    """Share of the ``tied`` prompts whose worst correct completion beats the best wrong one."""
    return _mean([float(one["gap"] > 0) for one in _numbered(prompts, TIED).values()])


def correctness_preferred(prompts: Sequence[Prompt]) -> float:
    """Share of the paired ``tied`` prompts whose gap is larger than their spread."""
    return _mean([float(tied["gap"] > tied["spread"]) for _, tied in _pairs(prompts)])


def correctness_preferred_hard(prompts: Sequence[Prompt]) -> float:
    """Share of the pairs of which both gaps are larger than the ``tied`` prompt's spread."""
    return _mean([float(_smaller_gap(*pair) > pair[1]["spread"]) for pair in _pairs(prompts)])


def correctness_margin(prompts: Sequence[Prompt]) -> float:
    """Mean over the pairs of tanh(smaller gap / spread − 1); −1 to 1.

    A spread of 0 gives ±1 by the sign of the gap. Where both are 0 or one is not a number, the
    pair counts as 0.
    """
    return _mean([_margin(_smaller_gap(*pair), pair[1]["spread"]) for pair in _pairs(prompts)])


def score(prompts: Sequence[Prompt]) -> float:
    """RewardBench 2's score of Ties: at most 1.01 by its own weights; NaN without any pair."""
    return math.fsum(
        [
            0.30 * tied_accuracy(prompts),
            0.30 * ref_accuracy(prompts),
            0.20 * correctness_preferred(prompts),
            0.20 * correctness_preferred_hard(prompts),
            0.01 * correctness_margin(prompts),
        ]
    )


def score_with_warning(prompts: Sequence[Prompt]) -> float:
    """See `score`; says in the log how many prompts lack their partner, as under ``--limit``."""
    alone = len(prompts) - 2 * len(_pairs(prompts))
    if alone:
        logger.warning(
            "rewardbench2-Ties: %d of %d prompts have no partner (ref:n goes with tied:n); they "
            "count in the two accuracies only, and without any pair the score is not a number",
            alone,
            len(prompts),
        )
    return score(prompts)


def _numbered(prompts: Sequence[Prompt], kind: str) -> dict[int, Prompt]:
    """The prompts of a kind by their number."""
    begins = f"{kind}:"
    return {
        int(one["id"].removeprefix(begins)): one for one in prompts if one["id"].startswith(begins)
    }


def _pairs(prompts: Sequence[Prompt]) -> list[tuple[Prompt, Prompt]]:
    """The (ref, tied) prompts of each number that has both."""
    refs, tied = _numbered(prompts, REF), _numbered(prompts, TIED)
    return [(refs[number], tied[number]) for number in refs.keys() & tied.keys()]


def _smaller_gap(ref: Prompt, tied: Prompt) -> float:
    gaps = (ref["gap"], tied["gap"])
    return math.nan if any(math.isnan(gap) for gap in gaps) else min(gaps)


def _margin(gap: float, spread: float) -> float:
    if spread == 0:
        return math.copysign(1.0, gap) if abs(gap) > 0 else 0.0
    margin = math.tanh(gap / spread - 1)
    return 0.0 if math.isnan(margin) else margin


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
