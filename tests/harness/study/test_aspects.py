"""The weights of a reward model's aspects, chosen by `dogerm search` and written by mergekit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests.harness.study.searching import Searching

NAMES = ["helpfulness", "correctness", "verbosity"]


@pytest.fixture
def folder(tmp_path: Path, save_reward_model: Callable[..., Path]) -> Searching:
    """A model of three heads, exported as one model for each, and a recipe of these."""
    from harness.commands.train import train

    labels = dict(enumerate(NAMES))
    ids = {name: number for number, name in labels.items()}
    whole = save_reward_model(seed=4, num_labels=3, id2label=labels, label2id=ids)
    models = []
    for name in NAMES:
        out = tmp_path / name
        options = ["--aspect", name, "--dtype", "float32", "-o", str(out)]
        done = CliRunner().invoke(train, ["export", str(whole), *options])
        assert done.exit_code == 0, done.output
        models.append(out)
    made = Searching(tmp_path, models)
    shutil.copytree(whole, tmp_path / "whole")
    content = {
        "merge_method": "reward_average_linear",
        "base_model": str(models[0]),
        "models": [{"model": str(one)} for one in models[1:]],
    }
    (tmp_path / "recipe.yml").write_text(yaml.safe_dump(content))
    return made


def test_weights_by_search(folder: Searching) -> None:
    """The best trial's recipe merges to the weighted sum of the heads, with the score it had."""
    from safetensors.torch import load_file

    found = folder.searched("--sampler", "random", "--trials", "6")
    best = (folder.out / "best.yml").read_text("utf-8")
    weights = [one["parameters"]["weight"] for one in yaml.safe_load(best)["models"]]
    heads = load_file(folder.folder / "whole" / "model.safetensors")
    expected = (1 - sum(weights)) * heads["score.weight"][0]
    for weight, head in zip(weights, heads["score.weight"][1:], strict=True):
        expected = expected + weight * head
    folder.evaluated(best, "proof")
    merged = load_file(folder.folder / "merged" / "model.safetensors")
    assert merged["score.weight"][0].allclose(expected, atol=1e-6)
    body = [name for name in merged if name != "score.weight"]
    assert body and all(merged[name].equal(heads[name]) for name in body)
    config = json.loads((folder.folder / "merged" / "config.json").read_text())
    assert len(config.get("id2label", {0: ""})) == 1 and "aspects" not in config
    assert len(found["trials"]) >= 6


def test_an_unknown_aspect(folder: Searching) -> None:
    """One line with those that there are."""
    from harness.commands.train import train

    whole = folder.folder / "whole"
    options = ["--aspect", "kindness", "-o", str(folder.folder / "new")]
    done = CliRunner().invoke(train, ["export", str(whole), *options])
    assert done.exit_code == 1 and "no head 'kindness' (its heads: helpfulness" in done.output
    assert len(done.output.splitlines()) == 1 and not (folder.folder / "new").exists()
