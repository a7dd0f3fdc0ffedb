"""Real runs of `dogerm train gates` on a tiny mixture: what changes, what does not, and a kill."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.commands.train import train
from harness.training.folder import last_checkpoint
from tests.harness.training.conftest import pairs
from tests.harness.training.killing import kill_at_the_first_checkpoint

Write = Callable[[str, list[dict[str, Any]]], Path]
SMALL = {"batch_size": 4, "learning_rate": 1e-2, "evaluations": 2}
GATE, HEAD = "mlp.gate.weight", "score.weight"


def _run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(train, [str(a) for a in arguments], catch_exceptions=False)


def test_gates_run(
    tmp_path: Path, sparse_model: Path, write_config: Callable[..., Path], write_jsonl: Write
) -> None:
    """Gates and head are trained, all else is the same to the bit, and shares are told."""
    from safetensors.torch import load_file
    from transformers import AutoModelForSequenceClassification

    write_jsonl("chat.jsonl", pairs(40))
    config = write_config(
        model="some/mixture",
        data=[{"file": "chat.jsonl"}, {"generator": "sums", "rows": 40}],
        training=SMALL,
        validation={"share": 0.25},
    )
    out = tmp_path / "out"
    result = _run("gates", config, "-o", out, "--model", sparse_model)
    assert result.exit_code == 0, result.output

    before, after = (load_file(f / "model.safetensors") for f in (sparse_model, out))
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        trained = name.endswith(GATE) or name == HEAD
        assert (not trained) == bool((tensor == after[name]).all()), name
        assert tensor.dtype == after[name].dtype
    model, report = AutoModelForSequenceClassification.from_pretrained(
        out, output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]

    figures = json.loads((out / "figures.json").read_text())
    assert set(figures["validation"]) == {"all", "chat", "sums"}
    assert figures["experts"] == ["general", "maths", "code"]
    for domain in ("chat", "sums"):
        assert sum(figures["shares"][domain]) == pytest.approx(1)
        layers = figures["shares_by_layer"][domain]
        assert len(layers) == 2 and all(sum(layer) == pytest.approx(1) for layer in layers)
        # two of three experts a token: no one can have more than half of the choices
        assert max(figures["shares"][domain]) <= 0.5
        assert f"{figures['shares'][domain][0]:.3f} (" in result.output
    size = figures["parameters"]
    assert size["total"] == sum(parameter.numel() for parameter in model.parameters())
    dense = AutoModelForSequenceClassification.from_pretrained(sparse_model.parent / "general")
    assert size["one_dense_model"] == sum(parameter.numel() for parameter in dense.parameters())
    assert size["dense_models"] == 3 * size["one_dense_model"]
    one = 2 * 3 * 32 * 64  # layers x matrices x hidden x intermediate size
    assert size["active"] == size["total"] - one
    assert figures["trained"] == 2 * 3 * 32 + 32
    assert (out / "shares.png").stat().st_size > 1000 < (out / "figures.png").stat().st_size
    assert not (out / "checkpoints").exists()

    again = _run("gates", config, "-o", out, "--model", sparse_model)
    assert again.exit_code == 0 and f"{out}: finished already" in again.output
    assert result.stdout.endswith(again.stdout) and again.stdout


def test_the_mixture_is_scored(sparse_model: Path) -> None:
    """`--model reward` gives what plain transformers gives, in a process without the hook."""
    from tests.harness.models.test_reward import reward, rewards, some_pairs

    code = (
        "import json, sys; from tests.harness.models.test_reward import by_transformers, some_pairs"
        "\nfrom pathlib import Path; import mergekit.scripts.moe as moe"
        "\nassert not hasattr(moe.build, '__wrapped__')"
        "\nprint(json.dumps(by_transformers(Path(sys.argv[1]), some_pairs())))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(sparse_model)],
        capture_output=True,
        text=True,
        env={**os.environ, "DOGERM_AUTOLOAD": "0"},
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr
    plain = json.loads(done.stdout)
    ours = rewards(reward(sparse_model, dtype="float32"), some_pairs())
    assert max(plain) - min(plain) > 0.1
    assert ours == pytest.approx(plain, abs=1e-5)


def test_the_balancing_term() -> None:
    """N Σ f P by hand; 1 where all is even, N where one expert has all; padding is nothing."""
    import torch

    from harness.training.routing import Routing, Shares, load_balance

    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 3.0], [0.5, 0.0, 1.0], [9.0, 0.0, 0.0]])
    mask = torch.tensor([[1, 1], [1, 0]])
    routing = Routing(mask, [logits], [logits.topk(2).indices])
    probability = logits[:3].softmax(-1).mean(0)
    share = torch.tensor([2, 2, 2]) / 6  # experts {0, 1}, {2, 1} and {2, 0}
    assert float(load_balance(routing)) == pytest.approx(float(3 * (share * probability).sum()))
    shares = Shares()
    shares.add(routing)
    shares.add(routing)
    assert shares.counts == [[4, 4, 4]] and shares.overall == pytest.approx([1 / 3] * 3)
    even = Routing(torch.ones(1, 3), [torch.zeros(3, 3)], [torch.tensor([[0], [1], [2]])])
    assert float(load_balance(even)) == pytest.approx(1)
    one = torch.tensor([[50.0, 0.0, 0.0]] * 4)
    alone = Routing(torch.ones(1, 4), [one, one], [one.topk(1).indices] * 2)
    assert float(load_balance(alone)) == pytest.approx(3)


def test_the_balancing_term_balances(
    tmp_path: Path, sparse_model: Path, write_config: Callable[..., Path]
) -> None:
    """With a coefficient that outweighs all else, the shares come nearer to one another."""
    config = write_config(
        model="some/mixture",
        data=[{"generator": "basics", "rows": 96}],
        training={**SMALL, "evaluations": 1, "epochs": 2.0, "learning_rate": 0.1},
        gates={"balance": 100},
    )
    result = _run("gates", config, "-o", tmp_path / "out", "--model", sparse_model)
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "out" / "figures.json").read_text())
    spread = [
        max(figures[key]["basics"]) - min(figures[key]["basics"])
        for key in ("shares_before", "shares")
    ]
    assert spread[1] < 0.7 * spread[0]


def test_user_mistakes_are_one_line(
    tmp_path: Path, sparse_model: Path, reward_model: Path, write_config: Callable[..., Path]
) -> None:
    """Exit status 1, no traceback, and no folder is left behind."""

    def changed(**settings: Any) -> Path:
        folder = Path(shutil.copytree(sparse_model, tmp_path / "-".join(settings)))
        content = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**content, **settings}))
        return folder

    good = {"model": "some/mixture", "data": [{"generator": "sums", "rows": 60}]}
    for kind, content, folder, message in (
        ("gates", {**good, "lora": {"rank": 4}}, sparse_model, "`lora` has no effect here"),
        ("gates", {**good, "gates": {"balance": -1}}, sparse_model, "`balance` must be 0 or above"),
        ("gates", {**good, "gates": {"balanc": 1}}, sparse_model, "did you mean `balance`"),
        ("gates", good, reward_model, "has no router, expected as many experts in every layer"),
        ("gates", good, tmp_path / "nowhere", "no such folder"),
        ("gates", good, changed(num_experts_per_tok=1), "each token goes to 1 expert, whose share"),
        ("gates", good, changed(pad_token_id=None), "config.json has no pad_token_id"),
        ("reward", {**good, "gates": {"balance": 1}}, sparse_model, "`gates` has no effect here"),
    ):
        config = write_config(**content)
        result = _run(kind, config, "-o", tmp_path / "out", "--model", folder)
        assert result.exit_code == 1 and message in result.output, result.output
        assert "Traceback" not in result.output and not (tmp_path / "out").exists()


def test_a_mixture_is_told_by_all_that_it_is(tmp_path: Path, sparse_model: Path) -> None:
    """One number of one expert, or a setting, makes it another: a run does not go on with it."""
    from safetensors.torch import load_file, save_file

    from harness.training.whole_model import open_sparse

    same, experts, settings = (
        Path(shutil.copytree(sparse_model, tmp_path / name)) for name in "abc"
    )
    state = load_file(experts / "model.safetensors")
    state["model.layers.1.mlp.experts.down_proj"][2, 0, 0] += 1
    save_file(state, experts / "model.safetensors", metadata={"format": "pt"})
    content = json.loads((settings / "config.json").read_text())
    (settings / "config.json").write_text(json.dumps({**content, "num_experts_per_tok": 3}))
    own = open_sparse(str(sparse_model)).identity
    assert open_sparse(str(same)).identity == own
    assert open_sparse(str(experts)).identity != own != open_sparse(str(settings)).identity


@pytest.mark.slow
def test_a_killed_run_goes_on(
    tmp_path: Path, sparse_model: Path, write_config: Callable[..., Path]
) -> None:
    """The next start goes on from the checkpoint and ends like an unbroken run."""
    from safetensors.torch import load_file, save_file

    config = write_config(
        model="some/mixture",
        data=[{"generator": "sums", "rows": 300}],
        training={"batch_size": 4, "learning_rate": 1e-3, "evaluations": 1, "checkpoints": 8},
        validation={"share": 0.05, "rows": 8},
    )
    out, whole = tmp_path / "out", tmp_path / "whole"
    arguments = ["gates", str(config), "--model", str(sparse_model), "-o"]
    kill_at_the_first_checkpoint(arguments, out)
    assert not (out / "config.json").exists()
    kept = load_file(last_checkpoint(out) / "model.safetensors")
    assert all(name.endswith(GATE) or name == HEAD for name in kept)

    other = Path(shutil.copytree(sparse_model, tmp_path / "other"))
    state = load_file(other / "model.safetensors")
    state[HEAD] = state[HEAD] + 1
    save_file(state, other / "model.safetensors", metadata={"format": "pt"})
    refused = _run("gates", config, "-o", out, "--model", other)
    assert refused.exit_code == 1 and "holds a run with another configuration" in refused.output

    resumed = _run(*arguments, out)
    assert resumed.exit_code == 0 and "going on from checkpoint-" in resumed.output
    assert _run(*arguments, whole).exit_code == 0
    one, unbroken = (load_file(folder / "model.safetensors") for folder in (out, whole))
    assert one.keys() == unbroken.keys()
    for name, tensor in one.items():
        difference = (tensor.float() - unbroken[name].float()).abs().max().item()
        assert difference <= 2e-3, (name, difference)
