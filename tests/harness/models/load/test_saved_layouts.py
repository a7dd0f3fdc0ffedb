"""Trainers' layouts through both real commands: mergekit-yaml, then lm_eval --model reward."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import warm

ROWS = [
    {"prompt": "w1 w2 w3", "chosen": "w4", "rejected": "w5 w6"},
    {"prompt": "w5", "chosen": "w6 w7 w8", "rejected": "w9"},
]
TASK = "task: own\nclass: !function harness.own_data.OwnPreferences\ndataset_path: own.jsonl\n"


def run(folder: Path, *arguments: str) -> str:
    """One of the hosts' own commands in a process of its own; what it printed."""
    done = warm.run(*arguments, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def lm_eval_rewards(folder: Path, model: Path) -> list[float]:
    """The rewards that the command writes with --log_samples, chosen first."""
    (folder / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "own.yaml").write_text(TASK)
    out = folder / f"results-{model.name}"
    arguments = ["--tasks", "own.yaml", "--device", "cpu", "--log_samples"]
    options = f"pretrained={model},dtype=float32"
    run(
        folder,
        *("lm_eval", "--model", "reward", "--model_args", options, *arguments),
        *("--output_path", str(out)),
    )
    (samples,) = out.rglob("samples_*.jsonl")
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    return [float(answer[0]) for line in lines for answer in line["filtered_resps"]]


def by_hand(trunk: Any, weight: Any, bias: float, folder: Path) -> list[float]:
    """The trunk's last hidden state at the last token, and a linear layer."""
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    values = []
    for row in ROWS:
        for side in ("chosen", "rejected"):
            turns = [
                {"role": "user", "content": row["prompt"]},
                {"role": "assistant", "content": row[side]},
            ]
            ids = torch.tensor([tokenizer.apply_chat_template(turns, return_dict=False)])
            with torch.no_grad():
                state = trunk(input_ids=ids).last_hidden_state[0, -1]
            values.append(float(weight.flatten() @ state) + bias)
    return values


def llama(maker: str) -> Callable[[Path], tuple[Any, Any, float]]:
    def make(folder: Path) -> tuple[Any, Any, float]:
        import merging
        import trainers
        from transformers import AutoModelForCausalLM

        saved = trainers.MAKERS[maker](folder / "rm", trainers.body())
        trainers.domain_model(folder / "lm", trainers.body())
        state = merging.tensors(folder / "rm")
        bias = float(state[saved.head[1]]) if saved.head[1] else 0.0
        return AutoModelForCausalLM, state[saved.head[0]], bias

    return make


def qwen2_vl(folder: Path) -> tuple[Any, Any, float]:
    """The older layout on disk, which save_pretrained still writes, and score.weight beside it."""
    import conversions
    import merging
    import torch
    import trainers
    from safetensors.torch import load_file, save_file

    kind = conversions.language_model("qwen2_vl")
    torch.manual_seed(0)
    body = kind(conversions.config("qwen2_vl"))
    for parameter in body.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    body.save_pretrained(folder / "rm")
    file = folder / "rm" / "model.safetensors"
    state = {n: t for n, t in load_file(file).items() if not n.startswith("lm_head")}
    assert "model.layers.0.mlp.up_proj.weight" in state
    save_file(state | {"score.weight": torch.randn(1, 64)}, file, metadata={"format": "pt"})
    for parameter in body.parameters():
        parameter.data += 0.005 * torch.randn_like(parameter)
    body.save_pretrained(folder / "lm")
    for name in ("rm", "lm"):
        trainers.save_tokenizer(folder / name)
    return kind, merging.tensors(folder / "rm")["score.weight"], 0.0


CASES = {
    "LLaMA-Factory": llama("LLaMA-Factory"),
    "OpenRLHF": llama("OpenRLHF"),
    "qwen2_vl": qwen2_vl,
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_both_commands(case: str, tmp_path: Path) -> None:
    """The rewards of the reward model and of the merge, as transformers' trunk gives them."""
    import merging

    kind, weight, bias = CASES[case](tmp_path)
    merging.write(tmp_path, merging.recipe(tmp_path / "rm", (tmp_path / "lm", 0.3)))
    said = run(tmp_path, "mergekit-yaml", "recipe.yml", "out")
    assert "head kept: " in said
    for name in ("rm", "out"):
        model = kind.from_pretrained(tmp_path / name).eval()
        expected = by_hand(model.model, weight, bias, tmp_path / name)
        found = lm_eval_rewards(tmp_path, tmp_path / name)
        assert found == pytest.approx(expected, abs=1e-4)
        assert max(expected) - min(expected) > 0.1
