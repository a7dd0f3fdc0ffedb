# SPDX-License-Identifier: Apache-2.0
"""A candidate that was trained on what is reported is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.study.candidates import overlap
from harness.study.candidates.config import Study


def study_of(**configs: Any) -> Study:
    kinds = {"stages": "customized", "language": "sft"}
    trained = {
        name: {"report": False, "train": {"kind": kinds.get(name, "reward"), "config": config}}
        for name, config in configs.items()
    }
    candidates = {"general": {"model": "reward"}, **trained}
    return Study.model_validate(
        {"general": "general", "tasks": {"domain": ["facts"]}, "candidates": candidates}
    )


def test_prompts_that_are_trained_on_and_reported_are_counted(tmp_path: Path) -> None:
    rows = [{"prompt": f"What is {n}?", "chosen": "right", "rejected": "wrong"} for n in range(6)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "own.yml").write_text("model: x\ndata: [{file: pairs.jsonl}]\n")
    pairs = {"model": "x", "data": [{"file": "pairs.jsonl"}]}
    study = study_of(
        clean={"model": "x", "data": [{"generator": "facts", "rows": 5}]},
        direct=pairs,
        file="own.yml",
        language={
            "model": "x",
            "data": [{"file": "pairs.jsonl", "columns": {"response": "chosen"}}],
        },
        held_out={**pairs, "data": [{"generator": "facts", "rows": 5}], "validation": pairs},
        stages={"general": pairs, "customized": {"data": [{"generator": "facts", "rows": 5}]}},
        drawn={"model": "x", "data": [{"file": "pairs.jsonl", "rows": 4}]},
        broken={"model": "x", "data": [{"file": "nowhere.jsonl"}]},
    )
    asked = {f"user: {text}" for text in ("what is 1?", "What is 4?", "What is 9?")}
    reported = {"facts": asked, "others": {"user: Who?"}}
    told = dict(line.split(":", 1) for line in overlap.notes(study, tmp_path, reported))
    said = told.pop("drawn")
    assert "(2 of 3 of facts; 4 of the 6 rows of pairs.jsonl are drawn): what it scores" in said
    assert set(told) == {"direct", "file", "language", "stages"}
    assert all("(2 of 3 of facts)" in line for line in told.values())
