"""A real policy and a real reward model: SmolLM2-135M-Instruct, and the demo's made of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.commands.cli import main
from harness.demo.checkpoints import make_reward_model
from harness.models.load.device import fast_dtype
from harness.models.reward import Reward
from tests.harness.test_command import run_lm_eval

QUESTIONS = {
    "Mia has 3 boxes with 4 pencils each. She gives 5 pencils away. How many has she left?": 7,
    "A ticket costs $6. How many dollars do 2 tickets and a drink for $3 cost together?": 15,
}


@pytest.fixture
def models(smollm2: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The folders of the policy and the reward model, as `dogerm demo` makes them."""
    return smollm2, make_reward_model(smollm2, tmp_path / "reward-model")


@pytest.mark.slow
def test_a_reward_model_chooses_among_what_smollm2_says(
    models: tuple[Path, Path],
    write_gsm8k: Callable[..., Path],
    tasks: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """The command lm_eval samples three answers to each question; then one of them is taken."""
    import lm_eval

    policy, reward_model = models
    dtype = fast_dtype()  # bfloat16 takes many times as long where the processor lacks it
    folder = write_gsm8k(QUESTIONS, repeats=3)
    run_lm_eval(
        [
            *("--model", "hf", "--model_args", f"pretrained={policy},dtype={dtype}"),
            *("--device", "cpu", "--batch_size", "6", "--apply_chat_template"),
            *("--tasks", "gsm8k_few", "--include_path", str(folder)),
            *("--gen_kwargs", "do_sample=true,temperature=1.0,max_gen_toks=64"),
            *("--log_samples", "--output_path", str(tmp_path / "policy")),
        ],
    )
    (samples,) = tmp_path.glob("policy/*/samples_gsm8k_few_*.jsonl")
    output = tmp_path / "data" / "bon_gsm8k.jsonl"
    options = ["--filter", "flexible-extract", "--include-path", str(folder), "-o", str(output)]
    done = CliRunner().invoke(main, ["bon", "collect", str(samples), *options])
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert [row["prompt"] for row in rows] == list(QUESTIONS)
    assert all(len(row["responses"]) == len(row["labels"]) == 3 for row in rows)
    assert all(label in (0, 1) for row in rows for label in row["labels"])
    assert all(response.strip() for row in rows for response in row["responses"])

    results = lm_eval.simple_evaluate(
        Reward(pretrained=str(reward_model), dtype=dtype, device="cpu", batch_size=6),
        tasks=["bon_gsm8k"],
        task_manager=tasks(data_dir=output.parent),
    )
    found = results["results"]["bon_gsm8k"]
    right = sum(label for row in rows for label in row["labels"])
    assert found["random,none"] == pytest.approx(right / 6)
    for kind in ("best_of_n", "oracle", "longest"):
        assert found[f"{kind}@1,none"] == pytest.approx(right / 6)
    for kind in ("best_of_n", "majority", "longest"):
        assert 0 <= found[f"{kind}@2,none"] <= found["oracle@2,none"] + 1e-9
    assert found["oracle@2,none"] >= found["random,none"] - 1e-9
    assert found["truncated,none"] == 0
    rewards = [
        answer[0]
        for sample in results["samples"]["bon_gsm8k"]
        for answer in sample["filtered_resps"]
    ]
    assert len(rewards) == 6 and all(map(math.isfinite, rewards)) and len(set(rewards)) > 2
