# SPDX-License-Identifier: Apache-2.0
"""HelpSteer3's preferences as pairs, by their strength; 0 is no preference and no pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.rows.datasets import Row, Schema
from harness.rows.documents import Document
from harness.tasks.base.preference import PreferenceTask

STRONGEST = 3


def check(row: Mapping[str, Any]) -> None:
    """Refuse a preference that is not on the scale."""
    given = row["overall_preference"]
    if isinstance(given, bool) or abs(given) > STRONGEST:
        raise HarnessError(
            f"column overall_preference is {given!r}, expected a whole number from -{STRONGEST} "
            f"(response1 is better) to {STRONGEST} (response2 is better)"
        )


class HelpSteer3(PreferenceTask):
    """The pairs of one strength of preference."""

    SCHEMA = Schema(
        {
            "context": (str, list),
            "response1": (str,),
            "response2": (str,),
            "overall_preference": (int,),
        },
        prompt="context",
        responses=("response1", "response2"),
        rule=check,
    )

    @classmethod
    def documents(cls, rows: Sequence[Row], config: Any) -> Iterator[Document]:
        """The rows with a preference: below 0 it is for response1, and ``subset`` its strength."""
        for row in rows:
            preference = row["overall_preference"]
            pair = [row["response1"], row["response2"]]
            chosen, rejected = pair if preference < 0 else pair[::-1]
            if preference:
                yield {
                    **{key: row[key] for key in row if key not in cls.SCHEMA.columns},
                    "overall_preference": preference,
                    "prompt": row["context"],
                    "chosen": chosen,
                    "rejected": rejected,
                    "subset": str(abs(preference)),
                }
