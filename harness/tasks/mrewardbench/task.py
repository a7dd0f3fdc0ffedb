# SPDX-License-Identifier: Apache-2.0
"""M-RewardBench: a group a language, its leaves RewardBench's subsets.

The set's authors weight a language's subsets by the rows of the English ones, maths as much as all
code, and take the plain mean of the four sections. A language may have fewer rows than English, so
its own numbers of rows would be other weights.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lm_eval.tasks._yaml_loader import load_yaml

from harness.errors import HarnessError
from harness.rows.datasets import PREFERENCE, Row, Schema
from harness.rows.documents import TRANSLATION_OF, Document
from harness.tasks import FOLDER
from harness.tasks.base.file_each import absent
from harness.tasks.base.made_group import MadeGroup, group_config
from harness.tasks.base.preference import PreferenceTask

SECTIONS = ("chat", "chat_hard", "safety", "reasoning")


@functools.cache
def weights() -> dict[str, float]:
    """What each of RewardBench's subsets counts in a language; those of a section add up to 1."""
    found: dict[str, float] = {}
    for section in SECTIONS:
        members = load_yaml(FOLDER / "rewardbench" / f"rewardbench_{section}.yaml")["task"]
        leaves = [load_yaml(FOLDER / "rewardbench" / f"{name}.yaml") for name in members]
        counts = {leaf["dataset_name"]: leaf["metadata"]["weight"] for leaf in leaves}
        found |= {subset: count / sum(counts.values()) for subset, count in counts.items()}
    return found


def check(row: Mapping[str, Any]) -> None:
    """Refuse a subset that RewardBench does not have."""
    if row["subset"] not in weights():
        raise HarnessError(
            f"column subset is {row['subset']!r}, expected one of RewardBench's: "
            f"{', '.join(weights())}"
        )


class MRewardBench(MadeGroup, PreferenceTask):
    """One subset of one language; without a subset, the language's group of them."""

    SCHEMA = Schema(PREFERENCE.columns, responses=PREFERENCE.responses, rule=check)

    def __new__(cls, *args: Any, config: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        """The group of a language, a subset of it, or an `AbsentSubset`."""
        if config is None or config.get("dataset_name") is not None:
            return super().__new__(cls, *args, config=config, **kwargs)
        stands_for = absent(config)
        if stands_for is not None:
            return stands_for
        language, metadata = config["task"], config["metadata"]
        leaves = (
            cls(
                config={
                    **config,
                    "task": f"{language}-{subset}",
                    "dataset_name": subset,
                    "metadata": {**metadata, "weight": weight},
                }
            )
            for subset, weight in weights().items()
        )
        return cls.group(group_config(language, metadata), leaves)

    @classmethod
    def documents(cls, rows: Sequence[Row], config: Any) -> Iterator[Document]:
        """The rows; those of one subset and id are one row of RewardBench in several languages."""
        for row in rows:
            number = row.get("id")
            told = f"{row['subset']} {number} of RewardBench"
            yield dict(row) if number is None else {**row, TRANSLATION_OF: told}

    @classmethod
    def unit(cls, doc: Document) -> str:
        """The row in all languages; the prompt where the data do not say which it is."""
        return str(doc.get(TRANSLATION_OF) or super().unit(doc))
