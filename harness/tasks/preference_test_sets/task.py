# SPDX-License-Identifier: Apache-2.0
"""RewardBench's prior sets: one split of the data set each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.rows.conversation import Message
from harness.rows.datasets import Row, Schema
from harness.rows.documents import Docs, Document
from harness.tasks.base.preference import PreferenceTask


def by_position(prompt: Any) -> list[Message]:
    """The turns of a prompt as messages: the first is the user's, and they alternate.

    RewardBench takes roles by position, whatever the rows call them (``prepare_dialogue``).

    Raises:
        HarnessError: a turn without text, or an even number of turns (the user's must be the last).
    """
    turns = [{"content": prompt}] if isinstance(prompt, str) else prompt
    for number, turn in enumerate(turns, start=1):
        if not isinstance(turn, Mapping) or not isinstance(turn.get("content"), str):
            raise HarnessError(
                f"column prompt, turn {number} is {str(turn)[:60]}, expected "
                '{"role": ..., "content": text}'
            )
    if len(turns) % 2 == 0:
        raise HarnessError(
            f"column prompt has {len(turns)} turns, expected an odd number: user and assistant in "
            "turns, the user first and last"
        )
    roles = ["user", "assistant"] * len(turns)
    return [
        {"role": role, "content": turn["content"]} for role, turn in zip(roles, turns, strict=False)
    ]


def check(row: Mapping[str, Any]) -> None:
    """Refuse a prompt that is no conversation."""
    by_position(row["prompt"])


class PriorSet(PreferenceTask):
    """One of RewardBench's four prior preference sets as a task."""

    SCHEMA = Schema(
        {"prompt": (str, list), "chosen": (str,), "rejected": (str,)},
        prompt=None,  # the rule takes it by position
        responses=("chosen", "rejected"),
        rule=check,
    )

    @classmethod
    def documents(cls, rows: Sequence[Row], config: Any) -> list[Document]:
        """The rows of a split; ``subset`` is the set's name and ``subsubset`` what the row has."""
        return [
            {
                **row,
                "prompt": by_position(row["prompt"]),
                "subset": config["test_split"],
                "subsubset": row.get("subset"),
            }
            for row in rows
        ]

    @classmethod
    def parts(cls, config: Any) -> tuple[str, dict[str, Docs]]:
        """The set's documents, from a local file only where that is named after the set.

        No column tells the sets apart, and where no file is named after a split, all files of the
        folder are read.
        """
        source, parts = super().parts(config)
        path, split = Path(source), config["test_split"]
        if not path.exists():  # the Hub's
            return source, parts
        files = [path] if path.is_file() else sorted(path.iterdir())
        if any(re.fullmatch(rf"{split}(-\d+.*)?", file.stem) for file in files):
            return source, parts
        benchmark = config["dataset_kwargs"]["benchmark"]
        if path.stem == benchmark and path.is_file():
            raise HarnessError(
                f"{source}: the rows do not tell which set they are from; make {benchmark}/ a "
                f"folder with one file per set, named after it: {split}.jsonl, .json or .parquet"
            )
        return source, {file.stem: Docs() for file in files}
