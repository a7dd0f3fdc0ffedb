# SPDX-License-Identifier: Apache-2.0
"""A model's rows in forward passes: how many go together, and fewer when memory runs out."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

from harness.models.score.batches import Limits, Row, batches, even, packs
from harness.models.score.encoder import Encoded
from harness.models.score.tree import size

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

# Tokens in a batch for batch_size=auto without an accelerator: there, larger batches win nothing.
CPU_TOKENS = 4096

# Tokens of a pass without padding on an accelerator, and of rows that are to share their beginning
# on any device; memory running out lowers the first.
PACK_TOKENS = 16384

# Rows of a padded batch with batch_size=auto, lm-eval's default. A pack has no padding, so that the
# tokens alone say what it takes, unless the user has given another number.
ROWS = 64


class Passes:
    """The passes of one model.

    Args:
        model: has lm-eval's ``batch_size`` (a number, or ``auto``), ``max_batch_size`` and
            ``device``, and `harness.models.scoring.ScoringLM`'s ``may_share_batch``,
            ``may_share_beginning``, ``scores`` and ``tree_scores``.
        reads_every_token: a head as wide as the vocabulary is computed for each token of an
            answer, so that no group may be larger than a pass.
    """

    def __init__(self, model: Any, *, reads_every_token: bool = False) -> None:
        self._model = model
        self._reads_every_token = reads_every_token
        self._batch_limit = int(model.max_batch_size or ROWS)
        self._pack_tokens = PACK_TOKENS

    def of(
        self,
        sizes: Sequence[int],
        keys: Sequence[Hashable],
        tokenize: Callable[[int], list[int]],
        alone: Callable[[list[Row]], Iterator[list[Row]]] | None = None,
    ) -> Iterator[list[list[Row]]]:
        """Passes as groups: rows that begin alike, or single rows where they can't be shared.

        Args:
            sizes: an estimate of each row's length in any unit.
            keys: rows of equal key may begin alike.
            tokenize: row number to token ids.
            alone: makes batches of the rows that can't be in a pack; by default padded ones.
        """
        model = self._model
        if not model.may_share_beginning([1]):
            for batch in batches(sizes, tokenize, self.most, model.may_share_batch):
                yield [[row] for row in batch]
            return
        padded = alone or (lambda rows: even(rows, self.most, model.may_share_batch))
        yield from packs(sizes, keys, tokenize, model.may_share_beginning, self.limits, padded)

    def limits(self) -> Limits:
        """How many rows and tokens one pass without padding may take."""
        model = self._model
        if model.batch_size != "auto":
            return Limits(int(model.batch_size), sys.maxsize, sys.maxsize)
        tokens = self._pack_tokens
        if model.device.type == "cpu":
            tokens = min(tokens, CPU_TOKENS)
        group = tokens if self._reads_every_token else self._pack_tokens
        rows = int(model.max_batch_size or ROWS)
        return Limits(sys.maxsize if rows == ROWS else rows, tokens, group)

    def most(self, longest: int) -> int:
        """Rows in a batch whose longest has so many tokens."""
        if self._model.batch_size != "auto":
            return int(self._model.batch_size)
        if self._model.device.type == "cpu":
            return min(self._batch_limit, max(1, CPU_TOKENS // longest))
        return self._batch_limit

    def score(self, groups: list[list[Encoded]]) -> list[Any]:
        """Scores of a pass; with batch_size=auto, halves the pass while memory runs out."""
        from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

        model = self._model
        rows = [row for group in groups for row in group]
        try:
            if model.may_share_beginning([len(row.ids) for row in rows]):
                return [score for scores in model.tree_scores(groups) for score in scores]
            return list(model.scores(rows))
        except Exception as error:
            automatic = model.batch_size == "auto" and len(rows) > 1
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
        return [*self.score(groups[:middle]), *self.score(groups[middle:])]
