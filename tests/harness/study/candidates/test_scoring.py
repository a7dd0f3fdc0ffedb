# SPDX-License-Identifier: Apache-2.0
"""What a candidate is asked for, and how many of its parameters an answer takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lm_eval.models.huggingface import HFLM

from dogerm_plugin.run.experts import parameters
from harness.models.reward import Reward
from harness.models.router import RewardRouter
from harness.study.candidates.scoring import score, sizes
from tests.harness.models.score.test_scorer import build
from tests.harness.models.test_reward import reward
from tests.harness.study.sweeping import TASK, pairs


def test_a_dense_model_works_with_all_it_has(save_reward_model: Callable[..., Path]) -> None:
    model = reward(save_reward_model())
    stored = sum(p.numel() for p in model.model.parameters())
    assert sizes(model) == {"stored": stored, "active": stored}


def test_idle_experts_are_counted_once(save_reward_model: Callable[..., Path]) -> None:
    """A scorer holds the body beside the whole model: that is no second one."""
    folder = save_reward_model()
    build("mixtral", vocab_size=200, num_local_experts=4).save_pretrained(folder)
    model = reward(folder)
    expected = parameters.count(model.model)
    assert expected.active < expected.total
    assert sizes(model) == {"stored": expected.total, "active": expected.active}


@pytest.mark.parametrize("kind", [Reward, RewardRouter, HFLM])
def test_an_answer_of_two_tasks_is_scored_once_where_it_is_one(
    kind: type,
    save_reward_model: Callable[..., Path],
    language_model: Path,
    tmp_path: Path,
    monkeypatch: Any,
) -> None:
    """A router may send it elsewhere in another task, and hf sees blanks: they get all rows."""
    asked: list[int] = []
    answer = kind.loglikelihood

    def loglikelihood(model: Any, requests: Any, *more: Any) -> Any:
        asked.append(len(requests))
        return answer(model, requests, *more)

    monkeypatch.setattr(kind, "loglikelihood", loglikelihood)
    rows = pairs("facts", 6)
    for name, part in (("few", rows[:4]), ("all", rows)):
        data = tmp_path / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in part), "utf-8")
        (tmp_path / f"{name}.yaml").write_text(TASK.format(name=name, data=data), "utf-8")
    folder = str(language_model if kind is HFLM else save_reward_model())
    arguments = {"pretrained": folder, "dtype": "float32", "device": "cpu"}
    if kind is RewardRouter:
        arguments |= {"pretrained": f"one={folder};two={folder}", "always": "one"}
    job = {
        "study": {
            "general": "general",
            "tasks": {name: [str(tmp_path / f"{name}.yaml")] for name in ("few", "all")},
            "candidates": {"general": {"model": "reward"}},
        },
        "model": {Reward: "reward", RewardRouter: "reward-router", HFLM: "hf"}[kind],
        "model_args": arguments,
        "batch_size": 4,
        "apply_chat_template": False,
        "told": "general",
        "made_with": {"model": folder},
        "output": "scored",
    }
    score(job, tmp_path)
    # Every answer has a text of its own.
    assert asked == [8, 4 if kind is Reward else 12]
