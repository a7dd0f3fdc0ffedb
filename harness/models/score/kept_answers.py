# SPDX-License-Identifier: Apache-2.0
"""``--use_cache`` for this project's models: lm-eval's wrapper, with answers kept as JSON.

lm-eval finds an answer again by the texts of a request. Here it is the conversation that is asked
for, all that a chat template is given, so that two which look alike as text are two.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lm_eval.api.model import LM, CacheHook, CachingLM

from harness.errors import HarnessError
from harness.models.score.answer_store import AnswerStore
from harness.models.score.requests import answer_to, key_of
from harness.rows.answer import Answer

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold


class AnswerHook(CacheHook):
    """What a model hands its answers to as they come, so that a killed run has them."""

    dbdict: AnswerStore

    def add_partial(self, attr: str, req: Iterable[Any], res: Any) -> None:
        """Keep an answer.

        Args:
            attr: lm-eval's kind of request.
            req: its arguments.
            res: the answer, with its details.
        """
        self.dbdict[key_of(tuple(req))] = list(res)


def keep(hook: CacheHook, requests: Sequence[Instance], answers: Sequence[Answer]) -> None:
    """Hand a batch's answers to what ``--use_cache`` gave a model, if anything."""
    pairs = zip(requests, answers, strict=True)
    if isinstance(hook, AnswerHook):
        hook.dbdict.update_at_once((key_of(one.args), list(answer)) for one, answer in pairs)
        return
    for request, answer in pairs:
        hook.add_partial("loglikelihood", request.args, answer)


class KeptAnswers(CachingLM):
    """A model that is asked only for what the store lacks.

    Args:
        lm: the model.
        cache_db: the store's file.

    Raises:
        HarnessError: the store can't be opened, or another model filled it.
    """

    dbdict: AnswerStore

    def __init__(self, lm: LM, cache_db: str) -> None:
        self.lm = lm
        self.cache_db = cache_db
        self.dbdict = AnswerStore(cache_db)
        lm.set_cache_hook(self.get_cache_hook())

    def get_cache_hook(self) -> AnswerHook:
        """The hook that the model gets."""
        return AnswerHook(self)

    def loglikelihood(self, requests: Sequence[Instance]) -> list[tuple[Any, ...]]:
        """The answers to all requests, in their order."""
        kept = [self._kept(request) for request in requests]
        missing = [r for r, answer in zip(requests, kept, strict=True) if answer is None]
        logger.info(
            "Cached requests: %d, Requests remaining: %d",
            len(requests) - len(missing),
            len(missing),
        )
        answers: list[Any] = self.lm.loglikelihood(list(missing)) if missing else []
        made = iter(answers)
        return [answer if answer is not None else next(made) for answer in kept]

    def _kept(self, request: Instance) -> tuple[Any, ...] | None:
        value = self.dbdict.get(key_of(request.args))
        if value is None:
            return None
        try:
            return answer_to(request, Answer.of(value))
        except (TypeError, ValueError, IndexError, KeyError) as error:
            raise HarnessError(
                f"--use_cache: {self.cache_db} holds {str(value)[:60]!r} for an answer; delete the "
                "file, or give another path"
            ) from error
