# SPDX-License-Identifier: Apache-2.0
"""PPE's human preferences as pairs; what people called a tie is no pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.rows.datasets import Row, Schema
from harness.rows.documents import Document
from harness.tasks.base.preference import PreferenceTask

WINNERS = {"model_a": "response_1", "model_b": "response_2"}
TIE = "tie"  # what every kind of tie begins with


def check(row: Mapping[str, Any]) -> None:
    """Refuse a winner that is neither of the two models nor a tie."""
    if row["winner"] not in WINNERS and not row["winner"].startswith(TIE):
        raise HarnessError(
            f"column winner is {row['winner']!r}, expected {', '.join(WINNERS)}, or what begins "
            f"with {TIE}; correct the row"
        )


class PPEPreference(PreferenceTask):
    """PPE Preference: every row that has a winner."""

    SCHEMA = Schema(
        {"prompt": (str, list), "response_1": (str,), "response_2": (str,), "winner": (str,)},
        responses=("response_1", "response_2"),
        rule=check,
    )

    @classmethod
    def documents(cls, rows: Sequence[Row], config: Any) -> Iterator[Document]:
        """The rows without ties, the winner's response as ``chosen``."""
        for row in rows:
            if row["winner"] in WINNERS:
                pair = [row["response_1"], row["response_2"]]
                chosen, rejected = pair if row["winner"] == "model_a" else pair[::-1]
                kept = {key: row[key] for key in row if key not in WINNERS.values()}
                yield {**kept, "chosen": chosen, "rejected": rejected, "subset": ""}
