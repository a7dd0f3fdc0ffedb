# SPDX-License-Identifier: Apache-2.0
"""How requests become scores: equal conversations once, in batches, whatever the memory holds."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from harness.errors import HarnessError
from harness.models.conversation_lm import ConversationLM
from harness.models.load.device import warn_if_emulated
from harness.models.score import finite, progress
from harness.models.score.encoder import Encoded
from harness.models.score.finite import Score
from harness.models.score.kept_answers import keep
from harness.models.score.passes import Passes
from harness.models.score.requests import DistinctRows, answer_to, conversation, named
from harness.models.score.slow_processor import Forecast
from harness.models.score.template_coverage import TemplateCoverage
from harness.rows.answer import Answer

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold


class ScoringLM(ConversationLM):
    """Base of this project's models; a subclass says how token ids become a number.

    Attributes:
        READS_EVERY_TOKEN: see `Passes`.
        passes: which rows go together.
        computes_in: the dtype of the model's products.
    """

    READS_EVERY_TOKEN: ClassVar[bool] = False

    def __init__(self, pretrained: Any = None, **kwargs: Any) -> None:
        super().__init__(pretrained, **kwargs)
        self.computes_in = self.mixed_precision_dtype or next(self.model.parameters()).dtype
        warn_if_emulated(self.computes_in, self.device)
        self.passes = Passes(self, reads_every_token=self.READS_EVERY_TOKEN)

    def encode(self, request: Instance) -> Encoded:
        """The token ids of a request's conversation."""
        with named(self.name, request):
            return Encoded(*self.encoder.encode(conversation(request)))

    @property
    def models(self) -> dict[str, nn.Module]:
        """The loaded models by name, for messages."""
        return {self.name: self.model}

    def may_share_batch(self, length: int, other: int) -> bool:
        """Whether rows of these lengths (in tokens) may be scored in one batch."""
        raise NotImplementedError

    def scores(self, rows: Sequence[Encoded]) -> Sequence[Score]:
        """The scores of a batch of rows, in their order."""
        raise NotImplementedError

    def answer(self, score: Any, row: Encoded) -> Answer:
        """A row's answer, of its score."""
        return Answer(score, False, {"kind": self.KIND, "truncated": row.truncated})

    def settled(self, requests: Sequence[Instance], answers: Sequence[Answer]) -> list[Answer]:
        """The answers to all requests, where a score needs those of its document."""
        return list(answers)

    def may_share_beginning(self, lengths: Sequence[int]) -> bool:
        """Whether rows of these lengths may be scored together, their common beginning once."""
        return False

    def tree_scores(self, groups: Sequence[Sequence[Encoded]]) -> Sequence[Sequence[Score]]:
        """The scores of groups of rows that begin alike; asked only where they may."""
        raise NotImplementedError

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[Any, ...]]:
        """The score of each request's conversation, as ``(score, False)``.

        Args:
            requests: lm-eval requests whose arguments are ``(context, response)``; see
                `harness.rows.conversation.with_response`. Equal conversations are scored once. This
                project's tasks get an `Answer`, which also says whether the row was truncated;
                others get what lm-eval's own tasks can unpack.
            disable_tqdm: no progress bar.

        Raises:
            HarnessError: a score is NaN or infinite; the message names the row.
        """
        shown = TemplateCoverage(self.encoder, self.encode)
        distinct = DistinctRows.of(requests, shown.see)
        shown.tell(requests)
        same_document = distinct.same_document(requests)
        count = len(distinct.first)
        answers: list[Answer] = [Answer(math.nan)] * count
        waiting: dict[int, Encoded] = {}

        def tokenize(row: int) -> list[int]:
            waiting[row] = tokenized = self.encode(distinct.first[row])
            if not tokenized.truncated:
                shown.tokenized(row, tokenized.ids, distinct.first, same_document)
            return tokenized.ids

        forecast = Forecast(distinct.sizes, self.computes_in, self.device)
        with progress.bar(count, hidden=disable_tqdm or self.rank != 0) as bar:
            for groups in self.passes.of(distinct.sizes, distinct.prompts, tokenize):
                batch = [row for group in groups for row in group]
                encoded = [[waiting.pop(row.number) for row in group] for group in groups]
                flat = [one for group in encoded for one in group]
                asked = [distinct.first[row.number] for row in batch]
                scores = self._finite(self.passes.score(encoded), flat, asked)
                for row, one, score in zip(batch, flat, scores, strict=True):
                    answers[row.number] = self.answer(score, one)
                keep(self.cache_hook, asked, [answers[row.number] for row in batch])
                bar.update(len(batch))
                forecast.passed(row.number for row in batch)
        shown.tell_alike()
        cut = sum(answer.details["truncated"] for answer in answers)
        self.scored_rows += count
        self.truncated_rows += cut
        if cut:
            logger.warning(
                "%d of %d conversations were longer than max_length=%d tokens and lost their "
                "beginning",
                cut,
                count,
                self.max_length,
            )
        all_answers = self.settled(requests, [answers[row] for row in distinct.rows])
        return [answer_to(*pair) for pair in zip(requests, all_answers, strict=True)]

    def _finite(
        self, scores: Sequence[Score], rows: Sequence[Encoded], requests: Sequence[Instance]
    ) -> Sequence[Score]:
        """The scores of a batch, all of them finite.

        A row's NaN spreads in its batch (0 · NaN is NaN), so whose it is shows when each is alone.

        Raises:
            HarnessError: one is not finite by itself; names the first such row and the model.
        """
        if all(map(finite.holds, scores)):
            return scores
        alone = [self.scores([row])[0] for row in rows]
        for score, request in zip(alone, requests, strict=True):
            if not finite.holds(score):
                raise HarnessError(finite.explanation(score, self.KIND, request, self.models))
        return alone
