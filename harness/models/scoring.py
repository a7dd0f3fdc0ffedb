# SPDX-License-Identifier: Apache-2.0
"""How requests become scores: equal conversations once, in batches, whatever the memory holds."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from harness.errors import HarnessError
from harness.models.conversation_lm import ConversationLM
from harness.models.load.device import warn_if_emulated
from harness.models.score import finite, progress
from harness.models.score.batches import Limits, Row, batches, even, packs
from harness.models.score.encoder import Encoded
from harness.models.score.finite import Score
from harness.models.score.kept_answers import keep
from harness.models.score.requests import DistinctRows, answer_to, conversation, named
from harness.models.score.template_coverage import TemplateCoverage
from harness.models.score.tree import size
from harness.rows.answer import Answer

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

# Tokens in a batch for batch_size=auto without an accelerator: there, larger batches win nothing.
CPU_TOKENS = 4096

# Tokens of a pass without padding on an accelerator, and of rows that are to share their beginning
# on any device; memory running out lowers the first.
PACK_TOKENS = 16384


class ScoringLM(ConversationLM):
    """Base of this project's models; a subclass says how token ids become a number."""

    def __init__(self, pretrained: Any = None, **kwargs: Any) -> None:
        super().__init__(pretrained, **kwargs)
        warn_if_emulated(
            self.mixed_precision_dtype or next(self.model.parameters()).dtype, self.device
        )
        self._batch_limit = int(self.max_batch_size or 64)
        self._pack_tokens = PACK_TOKENS

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

        with progress.bar(count, hidden=disable_tqdm or self.rank != 0) as bar:
            for groups in self._batches(distinct, tokenize):
                batch = [row for group in groups for row in group]
                encoded = [[waiting.pop(row.number) for row in group] for group in groups]
                flat = [one for group in encoded for one in group]
                asked = [distinct.first[row.number] for row in batch]
                scores = self._finite(self._score(encoded), flat, asked)
                for row, one, score in zip(batch, flat, scores, strict=True):
                    answers[row.number] = self.answer(score, one)
                keep(self.cache_hook, asked, [answers[row.number] for row in batch])
                bar.update(len(batch))
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

    def _batches(
        self, distinct: DistinctRows, tokenize: Callable[[int], list[int]]
    ) -> Iterator[list[list[Row]]]:
        """Batches of groups: rows that begin alike, or single rows where they can't be shared."""
        if not self.may_share_beginning([1]):
            for batch in batches(distinct.sizes, tokenize, self._most, self.may_share_batch):
                yield [[row] for row in batch]
            return
        yield from packs(
            distinct.sizes,
            distinct.prompts,
            tokenize,
            self.may_share_beginning,
            self._limits,
            lambda rows: even(rows, self._most, self.may_share_batch),
        )

    def _limits(self) -> Limits:
        """How many rows and tokens one pass without padding may take."""
        if self.batch_size != "auto":
            return Limits(int(self.batch_size), sys.maxsize, sys.maxsize)
        tokens = self._pack_tokens
        if self.device.type == "cpu":
            tokens = min(tokens, CPU_TOKENS)
        return Limits(int(self.max_batch_size or 64), tokens, self._pack_tokens)

    def _most(self, longest: int) -> int:
        """Rows in a batch whose longest has so many tokens."""
        if self.batch_size != "auto":
            return int(self.batch_size)
        if self.device.type == "cpu":
            return min(self._batch_limit, max(1, CPU_TOKENS // longest))
        return self._batch_limit

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

    def _score(self, groups: list[list[Encoded]]) -> Sequence[Score]:
        """Scores of a batch; with batch_size=auto, halves the batch while memory runs out."""
        from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

        rows = [row for group in groups for row in group]
        try:
            if self.may_share_beginning([len(row.ids) for row in rows]):
                return [score for scores in self.tree_scores(groups) for score in scores]
            return self.scores(rows)
        except Exception as error:
            automatic = self.batch_size == "auto" and len(rows) > 1
            if not automatic or not should_reduce_batch_size(error):
                raise
        clear_device_cache()
        half = len(rows) // 2
        self._batch_limit = max(1, half)
        tokens = sum(size([row.ids for row in group]) for group in groups)
        self._pack_tokens = max(1, min(self._pack_tokens, tokens // 2))
        logger.info("batch_size=auto: out of memory, now %d rows", self._batch_limit)
        if len(groups) == 1:
            groups = [rows[:half], rows[half:]]
        middle = len(groups) // 2
        return [*self._score(groups[:middle]), *self._score(groups[middle:])]
