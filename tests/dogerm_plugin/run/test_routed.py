"""`mergekit-yaml router.yml out/`: all experts of a router in one run, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import merging
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from mergekit import merge as host
from merging import Trio
from safetensors.torch import save_file

from dogerm_plugin.files import digests
from dogerm_plugin.recipe.router import recipes
from tests import warm


def router_file(folder: Path, trio: Trio, **more: Any) -> Path:
    """Two experts by recipes, one of them in a file of its own, and one that is a model."""
    folder.mkdir(exist_ok=True)
    math = merging.recipe(trio.rm, (trio.lm, 0.3))
    (folder / "math-merge.yml").write_text(yaml.safe_dump(math))
    file = folder / "router.yml"
    content = {
        "experts": {
            "general": str(trio.rm),
            "math": "math-merge.yml",
            "code": merging.recipe(trio.rm, (trio.other, 0.5)),
        },
        "router": {"always": "math"},
        "fallback": "general",
        **more,
    }
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def run(file: Path, out: Path, *options: str) -> Result:
    from mergekit.scripts.run_yaml import main

    return CliRunner().invoke(main, [str(file), str(out), *options])


def made(file: Path, out: Path, *options: str) -> str:
    result = run(file, out, *options)
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in out.parent.glob(".*")) == []
    return result.output


def refused(file: Path, out: Path) -> str:
    result = run(file, out)
    assert result.exit_code != 0 and isinstance(result.exception, SystemExit), result.exception
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    return line.removeprefix("Error: ")


def alone(folder: Path, content: Any) -> dict[str, str]:
    """The digests of what mergekit-yaml writes for one recipe."""
    folder.mkdir()
    merging.merged(folder, content)
    return merging.digest(folder / "out")


def test_each_expert_is_what_its_recipe_makes(trio: Trio, tmp_path: Path) -> None:
    file = router_file(tmp_path / "set", trio)
    (tmp_path / "set" / "router").mkdir()
    content = yaml.safe_load(file.read_text()) | {"router": "router/", "threshold": 0.5}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    out = tmp_path / "out"
    assert "router.yml with math, code merged" in made(file, out)
    written = yaml.safe_load((out / "router.yml").read_text())
    assert list(written) == ["experts", "router", "fallback", "threshold"]
    assert [*written["experts"]] == ["general", "math", "code"]
    assert written["experts"]["math"] == "math/"
    assert (out / written["experts"]["general"]).samefile(trio.rm)
    assert (out / written["router"]).samefile(tmp_path / "set" / "router")
    given = {"math": merging.recipe(trio.rm, (trio.lm, 0.3)), "code": content["experts"]["code"]}
    for name, recipe in given.items():
        ours, theirs = merging.digest(out / name), alone(tmp_path / name, recipe)
        differing = {one for one in ours | theirs if ours.get(one) != theirs.get(one)}
        assert differing <= {"README.md", "mergekit_config.yml", ".dogerm-manifest"}
        assert yaml.safe_load((out / name / "mergekit_config.yml").read_text()) == recipe


def test_an_earlier_output_is_replaced_and_the_users_files_stay(trio: Trio, tmp_path: Path) -> None:
    file, out = router_file(tmp_path / "set", trio), tmp_path / "out"
    made(file, out)
    (out / "notes.md").write_text("mine")
    (out / "math" / "adapter_config.json").write_text("{}")  # would be loaded with the new model
    content = yaml.safe_load(file.read_text())
    content["experts"]["law"] = content["experts"].pop("code")
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    made(file, out)
    assert sorted(path.name for path in out.iterdir() if path.name[0] != ".") == [
        "law",
        "math",
        "notes.md",
        "router.yml",
    ]
    assert not (out / "math" / "adapter_config.json").exists()
    assert (out / "math" / "adapter_config.json.before-merge").read_text() == "{}"


def test_a_mistake_leaves_all_as_it_was(trio: Trio, tmp_path: Path) -> None:
    """All recipes are looked at before the first one is merged."""
    file, out = router_file(tmp_path / "set", trio), tmp_path / "out"
    made(file, out)
    before = merging.digest(out)
    content = yaml.safe_load(file.read_text())
    content["experts"]["code"]["base_model"] = str(trio.lm)
    content["experts"]["code"]["models"] = [{"model": str(trio.other), "parameters": {"weight": 1}}]
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    assert refused(file, out).startswith(f"{file}: the expert code: ")
    assert merging.digest(out) == before
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


def test_a_mistake_that_shows_late_leaves_what_is_finished(
    own_trio: Trio, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Models of unlike bases are known by their weights; the experts before are told of."""
    random = {n: torch.randn_like(t) for n, t in merging.tensors(own_trio.other).items()}
    save_file(random, own_trio.other / "model.safetensors", metadata={"format": "pt"})
    file, out = router_file(tmp_path / "set", own_trio), tmp_path / "new" / "out"
    assert "router.yml: the expert code: model." in refused(file, out)
    assert ".out.experts: what is finished (math) waits there for the next run" in caplog.text
    assert not out.exists()
    content = yaml.safe_load(file.read_text())
    content["experts"]["code"] = merging.recipe(own_trio.rm, (own_trio.lm, 0.6))
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    assert f"{out / 'math'}: merged by a run that was stopped" in made(file, out)


def stopped(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """The next run is killed after so many merges."""
    original, count = host.run_merge, iter(range(after + 1))

    def run_merge(*args: Any, **kwargs: Any) -> None:
        if next(count) == after:
            raise KeyboardInterrupt
        original(*args, **kwargs)

    monkeypatch.setattr(host, "run_merge", run_merge)


@pytest.mark.parametrize("change", ["nothing", "recipe", "model file", "damage"])
def test_a_run_that_was_stopped_goes_on(
    change: str, own_trio: Trio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what is finished, where its recipe and model files are the same."""
    file, out = router_file(tmp_path / "set", own_trio), tmp_path / "new" / "out"
    with monkeypatch.context() as patch:
        stopped(patch, 1)
        assert run(file, out).exit_code != 0
    kept = tmp_path / "new" / ".out.experts"
    assert not out.exists() and (kept / "math" / "model.safetensors").is_file()
    if change == "recipe":
        recipe = merging.recipe(own_trio.rm, (own_trio.lm, 0.4))
        (file.parent / "math-merge.yml").write_text(yaml.safe_dump(recipe))
    elif change == "model file":
        shutil.copy(own_trio.other / "model.safetensors", own_trio.lm / "model.safetensors")
    elif change == "damage":
        (kept / "math" / "config.json").write_text("{}")
    told = made(file, out)
    taken = f"{out / 'math'}: merged by a run that was stopped" in told
    assert taken == (change == "nothing")
    recipe = yaml.safe_load((file.parent / "math-merge.yml").read_text())
    fresh = alone(tmp_path / "alone", recipe)
    assert merging.digest(out / "math")["model.safetensors"] == fresh["model.safetensors"]


def test_a_killed_process_goes_on(trio: Trio, tmp_path: Path) -> None:
    """A real kill, as soon as the first expert is finished."""
    file, out = router_file(tmp_path / "set", trio), tmp_path / "new" / "out"
    process = warm.Process("mergekit-yaml", file, out)
    record = tmp_path / "new" / ".out.experts" / ".math.made"
    end = time.monotonic() + 300
    while not record.exists():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=300)
    if out.exists():
        assert (out / "router.yml").is_file()  # it was faster: whole
        return
    assert "merged by a run that was stopped" in made(file, out)


def test_a_calibration_goes_on_with_its_experts(trio: Trio, tmp_path: Path) -> None:
    """Held against the recipes before, and against the folders from then on."""
    file, out = router_file(tmp_path / "set", trio), tmp_path / "out"
    content = yaml.safe_load(file.read_text())
    found = recipes(content["experts"], "router.yml", file.parent)
    scales = {name: {"mean": 1.0, "std": 2.0} for name in content["experts"]}
    for name, recipe in found.items():
        scales[name] = {**scales[name], "files": recipe.digest}
    file.write_text(yaml.safe_dump({**content, "calibration": scales}, sort_keys=False))
    made(file, out, "--quiet")
    written = yaml.safe_load((out / "router.yml").read_text())["calibration"]
    assert written["general"] == scales["general"]
    for name in found:
        assert written[name] == {"mean": 1.0, "std": 2.0, "files": digests.of_model(out / name)}
    scales["math"] = {**scales["math"], "files": "of-another"}
    file.write_text(yaml.safe_dump({**content, "calibration": scales}, sort_keys=False))
    before = merging.digest(out)
    assert "the expert math: math-merge.yml: its calibration is of another recipe" in refused(
        file, out
    )
    assert merging.digest(out) == before and sorted(tmp_path.glob(".*")) == []


@pytest.mark.parametrize(
    ("experts", "words"),
    [
        ({"math": "nowhere.yml"}, "the expert math: nowhere.yml: there is no such recipe file"),
        ({"code": {"models": []}}, "the expert code: not a recipe: expected keys such as"),
        ({"general": "./nowhere"}, "the expert general: ./nowhere: no such folder, and not a Hub"),
        ({"../up": {"merge_method": "x"}}, "the expert '../up' is made by merging and its name"),
        ({"math": "RM", "code": "RM"}, "every expert is a model already, so there is nothing to"),
    ],
)
def test_mistakes_are_one_line(
    experts: dict[str, Any], words: str, trio: Trio, tmp_path: Path
) -> None:
    file = router_file(tmp_path / "set", trio)
    content = yaml.safe_load(file.read_text())
    content["experts"] |= {n: str(trio.rm) if one == "RM" else one for n, one in experts.items()}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    line = refused(file, tmp_path / "out")
    assert words in line and line.startswith(f"{file}: ")
    assert not (tmp_path / "out").exists() and sorted(tmp_path.glob(".*")) == []


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"roter": "r/"}, "unknown key roter; did you mean 'router'?"),
        ({"beside": ["al"]}, "beside names the expert al; known are "),
        ({"domains": {"prm": "maths"}}, "domains names the expert maths; did you mean 'math'?"),
        ({"fallback": "law"}, "fallback names the expert law; known are "),
    ],
)
def test_names_are_checked_before_anything_is_merged(
    more: dict[str, Any], words: str, trio: Trio, tmp_path: Path
) -> None:
    """The evaluation would refuse the file that comes out."""
    file = router_file(tmp_path / "set", trio)
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | more, sort_keys=False))
    line = refused(file, tmp_path / "out")
    assert words in line and line.startswith(f"{file}: ")
    assert not (tmp_path / "out").exists() and sorted(tmp_path.glob(".*")) == []


def test_an_output_that_holds_its_inputs(own_trio: Trio, tmp_path: Path) -> None:
    file = router_file(tmp_path / "set", own_trio)
    assert "holds the input model" in refused(file, tmp_path / "set")
    assert "holds the input model" in refused(file, own_trio.lm)


def test_a_folder_of_another_is_left_alone(trio: Trio, tmp_path: Path) -> None:
    file = router_file(tmp_path / "set", trio)
    (tmp_path / ".out.experts").mkdir()
    (tmp_path / ".out.experts" / "mine.txt").write_text(json.dumps("mine"))
    assert "finished experts would wait there" in refused(file, tmp_path / "out")
    assert os.listdir(tmp_path / ".out.experts") == ["mine.txt"]
