# SPDX-License-Identifier: Apache-2.0
"""What ``combine=`` and ``k=`` say: several rewards of a response become one number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.models.combine import NAMES, RANK_MEAN, combine
from harness.models.load.arguments import number
from harness.rows.answer import Answer

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import CacheHook


@dataclass(frozen=True)
class Combination:
    """A rule of `harness.models.combine`, with its k.

    Attributes:
        rule: its name.
        k: the weight of the standard deviation, for ``mean-std``.
    """

    rule: str
    k: float = 1.0

    @classmethod
    def read(cls, rule: str, k: Any = None, also: Sequence[str] = ()) -> Combination:
        """The combination that ``--model_args`` asks for.

        Args:
            rule: its name.
            k: as typed.
            also: further names that the caller knows, for messages.

        Raises:
            HarnessError: no such rule; a k that is no number, or beside another rule.
        """
        if rule not in NAMES:
            raise HarnessError(
                f"combine={rule} is unknown; it is one of {', '.join((*NAMES, *also))}"
            )
        if k is not None and rule != "mean-std":
            raise HarnessError(f"k={k} is for combine=mean-std, and this is combine={rule}")
        return cls(rule, 1.0 if k is None else number(k, "k", positive=False))

    @property
    def kind(self) -> str:
        """What a combined score is, for tables and samples."""
        shown = f"mean - {self.k:g} std" if self.rule == "mean-std" else self.rule
        return f"ensemble of rewards ({shown})"

    @property
    def info(self) -> dict[str, Any]:
        """What results.json says of it."""
        return {"combine": self.rule, **({"k": self.k} if self.rule == "mean-std" else {})}

    @property
    def identity(self) -> dict[str, str]:
        """What a combined score depends on beside the rewards, to the last digit."""
        return {"kind": self.kind, "combination": repr(self)}

    def answer(self, rewards: Sequence[float], truncated: bool) -> Answer:
        """A response's answer: ``members`` holds each reward, in order.

        Where the rule looks at a whole document, the score is NaN until `settled`.
        """
        whole = self.rule == RANK_MEAN
        details = {
            "kind": self.kind,
            "members": list(rewards),
            "truncated": truncated,
            "within_document": whole,
        }
        score = math.nan if whole else combine(self.rule, [rewards], self.k)[0]
        return Answer(score, False, details)

    def settled(self, requests: Sequence[Instance], answers: Sequence[Answer]) -> list[Answer]:
        """The answers to all requests, each score made of its document's responses.

        lm-eval repeats requests to give every process as many; a response counts once.
        """
        if self.rule != RANK_MEAN:
            return list(answers)
        documents: dict[tuple[Any, ...], dict[int, int]] = {}
        for index, request in enumerate(requests):
            responses = documents.setdefault((request.task_name, request.doc_id), {})
            responses.setdefault(request.idx, index)
        scores: dict[tuple[Any, ...], dict[int, float]] = {}
        for document, responses in documents.items():
            rewards = [answers[place].details["members"] for place in responses.values()]
            ranks = combine(self.rule, rewards, self.k)
            scores[document] = dict(zip(responses, ranks, strict=True))
        return [
            answer._replace(score=scores[request.task_name, request.doc_id][request.idx])
            for request, answer in zip(requests, answers, strict=True)
        ]

    def refuse_cache(self, hook: CacheHook) -> None:
        """Refuse ``--use_cache`` where a score depends on more than its cache's key.

        Raises:
            HarnessError: for ``rank-mean``: a rank depends on the other responses of the document.
        """
        if hook.dbdict is not None and self.rule == RANK_MEAN:
            raise HarnessError(
                "--use_cache does not go with combine=rank-mean: a rank holds for one document's "
                "set of responses, and the cache knows single responses; leave it out"
            )
