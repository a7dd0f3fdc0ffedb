# SPDX-License-Identifier: Apache-2.0
"""M-RewardBench: a group a language, its leaves RewardBench's sections.

RewardBench's Reasoning counts maths as much as code. Here maths and code are two leaves of half a
section each, which is the same number.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lm_eval.tasks._yaml_loader import load_yaml

from harness.errors import HarnessError
from harness.rows.datasets import PREFERENCE, Row, Schema
from harness.rows.documents import Document
from harness.tasks import FOLDER
from harness.tasks.base.file_each import absent
from harness.tasks.base.made_group import MadeGroup, group_config
from harness.tasks.base.preference import PreferenceTask

WEIGHTS = {"chat": 1.0, "chat-hard": 1.0, "safety": 1.0, "math": 0.5, "code": 0.5}
SECTIONS = ("chat", "chat_hard", "safety", "reasoning")
MATHS = "math-prm"


@functools.cache
def sections() -> dict[str, str]:
    """The leaf that each of RewardBench's subsets belongs to, from RewardBench's own sections."""
    found = {}
    for section in SECTIONS:
        members = load_yaml(FOLDER / "rewardbench" / f"rewardbench_{section}.yaml")["task"]
        for name in members:
            subset = name.removeprefix("rewardbench-")
            reasoning = "math" if subset == MATHS else "code"
            found[subset] = reasoning if section == "reasoning" else section.replace("_", "-")
    return found


def check(row: Mapping[str, Any]) -> None:
    """Refuse a subset that RewardBench does not have."""
    if row["subset"] not in sections():
        raise HarnessError(
            f"column subset is {row['subset']!r}, expected one of RewardBench's: "
            f"{', '.join(sections())}"
        )


class MRewardBench(MadeGroup, PreferenceTask):
    """One section of one language; without a section, the language's group of them."""

    SCHEMA = Schema(PREFERENCE.columns, responses=PREFERENCE.responses, rule=check)

    def __new__(cls, *args: Any, config: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        """The group of a language, a section of it, or an `AbsentSubset`."""
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
                    "task": f"{language}-{section}",
                    "dataset_name": section,
                    "metadata": {**metadata, "weight": weight},
                }
            )
            for section, weight in WEIGHTS.items()
        )
        return cls.group(group_config(language, metadata), leaves)

    @classmethod
    def documents(cls, rows: Sequence[Row], config: Any) -> Iterator[Document]:
        """The rows, ``subset`` being the section and ``subsubset`` RewardBench's subset."""
        for row in rows:
            yield {**row, "subset": sections()[row["subset"]], "subsubset": row["subset"]}
