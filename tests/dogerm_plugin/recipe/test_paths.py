"""Folders in a recipe: `~`, the current folder, the recipe's folder, and Hub ids."""

from __future__ import annotations

import shutil
from pathlib import Path

import merging
import pytest
import tiny
import torch
import yaml
from click.testing import CliRunner
from merging import Trio

from dogerm_plugin.recipe.paths import find, in_content


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which is not the recipe's."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def merge(recipe: Path, out: Path, *options: str) -> dict[str, torch.Tensor]:
    from mergekit.scripts.run_yaml import main

    result = CliRunner().invoke(main, [str(recipe), str(out), "--quiet", *options])
    assert result.exit_code == 0, result.output
    return merging.tensors(out)


def test_beside_the_recipe(
    own_trio: Trio, tmp_path: Path, elsewhere: Path, caplog: pytest.LogCaptureFixture
) -> None:
    relative = tiny.write_recipe(tmp_path / "a.yml", Path("rm"), Path("./lm"))
    absolute = tiny.write_recipe(tmp_path / "b.yml", own_trio.rm, own_trio.lm)
    found = merge(relative, tmp_path / "x")
    assert f"rm: not in the current folder, taken from the recipe's: {own_trio.rm}" in caplog.text
    wanted = merge(absolute, tmp_path / "y")
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_the_current_folder_comes_first(
    own_trio: Trio, tmp_path: Path, elsewhere: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("rm", "lm"):
        shutil.copytree(tmp_path / name, elsewhere / name)
    shutil.copy(own_trio.other / "model.safetensors", elsewhere / "lm" / "model.safetensors")
    found = merge(tiny.write_recipe(tmp_path / "a.yml", Path("rm"), Path("lm")), tmp_path / "x")
    wanted = merge(
        tiny.write_recipe(tmp_path / "b.yml", own_trio.rm, own_trio.other), tmp_path / "y"
    )
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert "lm: is in the current folder and in the recipe's" in caplog.text


def test_the_home_folder(
    own_trio: Trio, tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    merge(tiny.write_recipe(tmp_path / "a.yml", Path("~/rm"), Path("~/lm")), tmp_path / "x")
    line = merging.refused(elsewhere, merging.recipe(Path("$HOME/rm"), (Path("~/lm"), 0.5)))
    assert line.startswith("Error: $HOME/rm: ")


def test_several_recipes_in_one_file(own_trio: Trio, tmp_path: Path, elsewhere: Path) -> None:
    from mergekit.scripts.multimerge import main

    first = {"name": "step", **merging.recipe(Path("rm"), (Path("lm"), 0.5))}
    second = merging.recipe(Path("step"), (Path("other"), 0.5))
    file = tmp_path / "several.yml"
    file.write_text(yaml.safe_dump_all([first, second], sort_keys=False))
    options = ["--out-path", "out", "-I", "between", "--quiet"]
    result = CliRunner().invoke(main, [str(file), *options])
    assert result.exit_code == 0, result.output
    assert (elsewhere / "out" / "config.json").exists()


def test_both_parts_of_a_model_with_an_adapter(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    content = {"models": [{"model": "~/rm+adapter"}, {"model": {"model": {"path": "~/x"}}}]}
    first, second = in_content(content, tmp_path)["models"]
    assert first["model"] == f"/home/me/rm+{tmp_path / 'adapter'}"
    assert second["model"]["model"]["path"] == "/home/me/x"


def test_hub_ids_stay(own_trio: Trio, tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "owner" / "name").mkdir(parents=True)  # no model: another folder of that name
    assert find("owner/name", tmp_path) == "owner/name"
    assert find("gpt2", tmp_path) == "gpt2"
    assert find("rm", tmp_path, "main") == "rm"
    assert find("base", tmp_path) == "base"
