# SPDX-License-Identifier: Apache-2.0
"""HH: which of two transcripts people preferred, for helpfulness or for harmlessness.

Bai et al., arXiv 2204.05862. The transcripts are parsed into turns: `harness.rows.transcripts`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import HarnessError
from harness.rows import datasets, transcripts
from harness.rows.documents import Document
from harness.tasks.base.file_each import FileEach
from harness.tasks.base.preference import PreferenceTask

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold


def parsed(row: Mapping[str, Any]) -> transcripts.Pair | None:
    """The pair of a row; None where its two texts are no transcripts of one conversation."""
    try:
        return transcripts.pair(row["chosen"], row["rejected"])
    except HarnessError:
        return None


@dataclass(frozen=True)
class TranscriptSchema(datasets.Schema):
    """Rows of two transcripts; a few odd ones are no reason to refuse all, and are told."""

    def check(self, rows: Iterable[Mapping[str, Any]], source: str) -> None:
        """Check every row, and warn of what is left out or unusual.

        Raises:
            HarnessError: as in `harness.rows.datasets.Schema.check`; no row is a pair of
            transcripts.
        """
        rows = list(rows)
        super().check(rows, source)
        pairs = [parsed(row) for row in rows]
        bad = [number for number, pair in enumerate(pairs, start=1) if pair is None]
        if len(bad) == len(rows):
            try:
                transcripts.pair(rows[0]["chosen"], rows[0]["rejected"])
            except HarnessError as error:
                raise HarnessError(
                    f"{source}: no row is a pair of transcripts; row 1: {error}; for prompts in a "
                    "column of their own write a YAML of your own, see harness/tasks/preference"
                ) from error
        told = {
            "are left out, as they are no transcripts of one conversation": bad,
            "hold an empty response; they are scored as they are": _numbers(
                pairs, lambda pair: not pair.chosen or not pair.rejected
            ),
            "have equal transcripts, which always tie": _numbers(
                pairs, lambda pair: pair.chosen == pair.rejected
            ),
            "differ before the last turn; all from there on counts as the response": _numbers(
                pairs, lambda pair: pair.continues
            ),
        }
        for what, numbers in told.items():
            if numbers:
                logger.warning(
                    "%s: %d of %d pairs %s (the first is row %d)",
                    source,
                    len(numbers),
                    len(rows),
                    what,
                    numbers[0],
                )


def _numbers(
    pairs: Sequence[transcripts.Pair | None], is_odd: Callable[[transcripts.Pair], bool]
) -> list[int]:
    return [at for at, pair in enumerate(pairs, start=1) if pair is not None and is_odd(pair)]


class HH(FileEach, PreferenceTask):
    """One of the four folders of the data set, each with local files of its own."""

    SCHEMA = TranscriptSchema({"chosen": (str,), "rejected": (str,)}, prompt=None)

    @classmethod
    def documents(cls, rows: Sequence[datasets.Row], config: Any) -> list[Document]:
        """The pairs with their shared turns as ``prompt``, without those that are no pair."""
        return [
            {
                "prompt": transcripts.turns(pair.prompt),
                "chosen": pair.chosen,
                "rejected": pair.rejected,
            }
            for pair in map(parsed, rows)
            if pair is not None
        ]
