# SPDX-License-Identifier: Apache-2.0
"""Which differences of a comparison's sections are larger than chance.

Holm's correction is made over the leaf tasks and, apart, over the groups, for a group is made of
the leaves' items. A difference whose corrected p-value is not below 1 − confidence is called noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TypeVar

from harness.compare import statistics
from harness.compare.paired import BETTER, NOISE, SAME, WORSE, PairedDifference

Compared = TypeVar("Compared", bound=PairedDifference)


def alpha_of(confidence: float) -> float:
    """What a corrected p-value must be below; 1 - 0.95 is more than 0.05 in binary."""
    return round(1 - confidence, 12)


def judged(sections: Sequence[Compared], alpha: float, rising: bool) -> list[Compared]:
    """The sections with corrected p-values and verdicts.

    Args:
        sections: tasks and groups.
        alpha: what a corrected p-value must be below.
        rising: whether a larger value of the metric is better.
    """
    corrected: dict[int, float] = {}
    for is_group in (False, True):
        family = [n for n, section in enumerate(sections) if section.is_group == is_group]
        p_values = statistics.holm([sections[n].p for n in family])
        corrected.update(zip(family, p_values, strict=True))
    return [
        section.model_copy(
            update={
                "p_holm": corrected[n],
                "verdict": _verdict(section, corrected[n], alpha, rising),
            }
        )
        for n, section in enumerate(sections)
    ]


def _verdict(section: PairedDifference, p_holm: float, alpha: float, rising: bool) -> str:
    if not section.gained and not section.lost:
        return SAME
    if p_holm >= alpha:
        return NOISE
    return BETTER if (section.difference > 0) == rising else WORSE


def too_few_resamples(
    sections: Sequence[PairedDifference], resamples: int, alpha: float
) -> Iterator[str]:
    """Notes on a family of tests in which a drawn p-value is never small enough.

    The smallest is 1 / (resamples + 1), which Holm multiplies by the number of tests.
    """
    for is_group, what in ((False, "tasks"), (True, "groups")):
        tests = [section.test for section in sections if section.is_group == is_group]
        if statistics.SIGN_FLIP in tests and len(tests) / (resamples + 1) >= alpha:
            yield (
                f"with {resamples:,} resamples the ~ tests of {len(tests)} {what} can not come out "
                "as anything but noise, however large the difference: use --resamples "
                f"{math.ceil(len(tests) / alpha)} or more"
            )
