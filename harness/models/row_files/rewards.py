# SPDX-License-Identifier: Apache-2.0
"""A chunk's rewards by a loaded model; rows that can't be scored have the reason instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.models.combine import RANK_MEAN
from harness.models.http import RewardHttp
from harness.models.remote.client import OutOfReach
from harness.models.row_files.forms import Asked
from harness.models.score.requests import conversation
from harness.models.scoring import ScoringLM
from harness.rows.markup import Markup

# The name of the task, in messages.
TASK = "score"


class Rewarded(NamedTuple):
    """What a model makes of rows.

    Attributes:
        rewards: of each row, those of its answers, or why it has none.
        truncated: how many conversations lost their beginning.
        within_row: rewards of one row do not compare with another's: ranks, or those of unlike
            experts.
    """

    rewards: list[list[float] | str]
    truncated: int
    within_row: bool = False


def rewards_of(lm: Any, asked: Sequence[Asked | str]) -> Rewarded:
    """The rewards of rows, all of them asked of the model at once, as lm-eval asks for a task's.

    Args:
        lm: a model of this project.
        asked: what is to be scored in each row, or why nothing can be.

    Raises:
        HarnessError: no row's fault, such as a server's that is gone.
    """
    made: list[list[float] | str] = [one if isinstance(one, str) else [] for one in asked]
    _refuse_unranked(lm, asked, made)
    _refuse(lm, asked, made)
    try:
        return _scored(lm, asked, made)
    except OutOfReach:
        raise
    except HarnessError as error:
        told = error
    for number, one in enumerate(asked):  # whose it is shows when each is alone
        if isinstance(one, str) or isinstance(made[number], str):
            continue
        try:
            lm.loglikelihood(_requests(one, number), disable_tqdm=True)
        except OutOfReach:
            raise
        except HarnessError as error:
            made[number] = str(error)
    if not any(isinstance(new, str) and new != old for new, old in zip(made, asked, strict=True)):
        raise told  # no row's fault
    return _scored(lm, asked, made)


def _refuse_unranked(lm: Any, asked: Sequence[Asked | str], made: list[list[float] | str]) -> None:
    """Give rows of one response their reason where a score is a rank: alone, each is the first."""
    if getattr(getattr(lm, "combination", None), "rule", None) != RANK_MEAN:
        return
    for number, one in enumerate(asked):
        if not isinstance(one, str) and len(one.answers) == 1:
            made[number] = (
                f"combine={RANK_MEAN} ranks the responses of a row, and here is one: put those of "
                "a prompt into a list, responses, or choose another combine="
            )


def _refuse(lm: Any, asked: Sequence[Asked | str], made: list[list[float] | str]) -> None:
    """Give rows that the template or the tokenizer refuses their reason, before all are scored."""
    if not isinstance(lm, ScoringLM | RewardHttp):
        return
    markup = Markup(lm.encoder.tokenizer, lm.encoder.render)
    for number, one in enumerate(asked):
        if isinstance(one, str) or isinstance(made[number], str):
            continue
        try:
            for request in _requests(one, number):
                mark = markup.find(conversation(request))
                if mark is not None and not one.context.origin.allow_markup:
                    raise HarnessError(
                        f"the {mark.role}'s text holds {mark.text!r}, the model's own markup; take "
                        "it out, or give --allow-markup where it is meant"
                    )
                lm.encode(request)
        except HarnessError as error:
            made[number] = str(error)


def _scored(lm: Any, asked: Sequence[Asked | str], before: Sequence[list[float] | str]) -> Rewarded:
    requests = [
        request
        for number, (one, old) in enumerate(zip(asked, before, strict=True))
        if not isinstance(one, str) and not isinstance(old, str)
        for request in _requests(one, number)
    ]
    if not requests:
        made: list[Any] = []
    elif isinstance(lm, RewardHttp):  # says itself whose fault it is
        made = lm.outcomes(requests)
    else:
        made = lm.loglikelihood(requests)
    answers = iter(made)
    rewards: list[list[float] | str] = []
    truncated, within_row = 0, False
    for one, old in zip(asked, before, strict=True):
        if isinstance(one, str) or isinstance(old, str):
            rewards.append(old)
            continue
        of_row = [next(answers) for _ in one.answers]
        reason = next((answer for answer in of_row if isinstance(answer, str)), None)
        if reason is not None:
            rewards.append(reason)
            continue
        truncated += sum(bool(answer[2].get("truncated")) for answer in of_row)
        within_row |= any(bool(answer[2].get("within_document")) for answer in of_row)
        rewards.append([float(answer[0]) for answer in of_row])
    return Rewarded(rewards, truncated, within_row)


def _requests(one: Asked, number: int) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [
        Instance("loglikelihood", {}, (one.context, answer), side, (TASK, number, 1))
        for side, answer in enumerate(one.answers)
    ]
