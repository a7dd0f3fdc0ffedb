"""`dogerm report` on a real run of a routed model: the table, the picture, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from harness.commands.report import report
from harness.compare.routed import read_routed
from harness.runs.results import find_run
from tests.harness.conftest import preference_rows
from tests.harness.models.test_router import NAMES, classifier, experts

__all__ = ["classifier", "experts"]


@pytest.fixture(scope="module")
def run_folder(
    experts: dict[str, str], classifier: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """As `lm_eval run ... --log_samples --output_path` leaves it."""
    from lm_eval.__main__ import cli_evaluate

    folder = tmp_path_factory.mktemp("routed")
    rows = [*preference_rows("hep-go", 7), *preference_rows("math-prm", 9, start=7)]
    (folder / "data").mkdir()
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    (folder / "data" / "rewardbench.jsonl").write_text(text)
    content = {
        "experts": {**experts, "all": experts["code"]},
        "beside": ["all"],
        "router": str(classifier),
        "domain": "subset",
        "domains": {"hep-*": "code", "math-prm": "math"},
    }
    (folder / "router.yml").write_text(yaml.safe_dump(content, sort_keys=False))
    argv = ["lm_eval", "run", "--model", "reward-router", "--tasks", "rewardbench_reasoning"]
    argv += ["--model_args", f"router={folder / 'router.yml'},all_experts=True"]
    argv += ["--device", "cpu", "--batch_size", "4", "--log_samples"]
    argv += ["--output_path", str(folder / "run")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOGERM_DATA_DIR", str(folder / "data"))
        patch.setattr("sys.argv", argv)
        cli_evaluate()
    yield folder / "run"


def test_a_routed_run_is_read_as_it_was(run_folder: Path) -> None:
    run = read_routed(find_run(run_folder))
    assert {name: task.items for name, task in run.tasks.items()} == {
        "rewardbench-hep-go": 7,
        "rewardbench-math-prm": 9,
    }
    assert set(run.others()) == {*NAMES, "all", "oracle"}
    assert {task.experts for task in run.tasks.values()} == {NAMES}
    code, math = run.tasks["rewardbench-hep-go"], run.tasks["rewardbench-math-prm"]
    assert code.values["oracle"] == code.values["code"] == code.values["all"] != []
    assert math.values["oracle"] == math.values["math"] != []
    assert run.confusion is not None and run.confusion.total == 16
    assert set(run.confusion.domains) == {"code", "math"}
    against = run.against("general")
    assert against is not None and against.items == 16
    routed = sum(code.values["routed"] + math.values["routed"]) / 16
    assert against.b == pytest.approx(routed)


def test_its_report(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "page"
    result = CliRunner().invoke(report, [str(run_folder), "-o", str(out)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    text = (out / "report.md").read_text()
    assert "each row's own expert (oracle)" in text and "general alone" in text
    assert "all alone" in text and "to all" not in text
    assert "confusion.png" in text and (out / "confusion.png").stat().st_size > 2000
    assert "<svg" in (out / "report.html").read_text()
    assert "routed reward (classifier), not calibrated" in text


def test_runs_of_two_models_in_one_folder(run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder, tmp_path / "run")
    (samples,) = (tmp_path / "run").rglob("samples_rewardbench-math-prm_*.jsonl")
    lines = samples.read_text().splitlines()
    plain: dict[str, Any] = json.loads(lines[2])
    plain["filtered_resps"] = [[1.0, False, "{'kind': 'reward'}"]] * 2
    lines[2] = json.dumps(plain)
    samples.write_text("\n".join(lines) + "\n")
    result = CliRunner().invoke(report, [str(tmp_path / "run")])
    assert result.exit_code == 1
    assert "line 3: it does not say which expert scored it" in result.output


def test_a_run_that_is_not_routed(tmp_path: Path) -> None:
    result = CliRunner().invoke(report, [str(tmp_path)])
    assert result.exit_code == 1 and "has no sweep.json or search.json" in result.output
