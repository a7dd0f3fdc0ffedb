"""Runs of lm-eval as its own writer leaves them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import harness.tasks
from harness.commands.cli import main


def reader(column: int, kind: str = "reward") -> Any:
    """A model whose reward is a number in the response: the word at that index."""
    from lm_eval.api.model import LM

    class Reader(LM):
        def loglikelihood(self, requests: Any) -> list[tuple[Any, ...]]:
            details = {"kind": kind, "truncated": False}
            return [(float(r.args[1].split(" ")[column]), False, details) for r in requests]

        def loglikelihood_rolling(self, requests: Any) -> Any: ...

        def generate_until(self, requests: Any) -> Any: ...

    return Reader()


def rows(subset: str, outcomes: list[str], start: int = 0) -> list[dict[str, Any]]:
    """Pairs on which model A (word 1) and model B (word 2) do as each outcome says.

    ``++``: both right; ``+-``: A right, B wrong; and so on; ``=`` is a tie.
    """
    rejected = {"+": -1, "-": 2, "=": 1}
    return [
        {
            "id": start + number,
            "prompt": f"question {number} of {subset}",
            "chosen": "reward 1 1",
            "rejected": f"reward {rejected[a]} {rejected[b]}",
            "subset": subset,
        }
        for number, (a, b) in enumerate(outcomes)
    ]


def evaluate(
    data: Path,
    names: list[str],
    model: Any,
    output: Path,
    include: Sequence[Path] = (),
    **options: Any,
) -> Path:
    """Evaluate with lm-eval and let lm-eval write results and samples; gives `output`.

    `include` are folders with more tasks.
    """
    import lm_eval
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    tracker = EvaluationTracker(output_path=str(output))
    tracker.general_config_tracker.log_experiment_args("reward", "model=model", None, None, False)
    manager = TaskManager(
        include_path=[str(path) for path in (Path(harness.tasks.__file__).parent, *include)],
        include_defaults=False,
        metadata={"data_dir": str(data)},  # type: ignore[dict-item]
    )
    results = lm_eval.simple_evaluate(
        model, tasks=names, task_manager=manager, log_samples=True, bootstrap_iters=0, **options
    )
    assert results is not None
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for task in results["configs"]:
        tracker.save_results_samples(task_name=task, samples=samples[task])
    assert list((output / "model").glob("samples_*"))
    return output


def write(folder: Path, pairs: list[dict[str, Any]]) -> Path:
    """A data folder with these rows as rewardbench.jsonl."""
    folder.mkdir(exist_ok=True)
    (folder / "rewardbench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    return folder


def dogerm(*arguments: Any, status: int = 0) -> str:
    """What `dogerm compare` prints; a failed test if its exit status is another."""
    done = CliRunner().invoke(main, ["compare", *map(str, arguments)])
    assert done.exit_code == status, done.output
    return done.output


GO = ["-+"] * 9 + ["+-"] + ["++"] * 5 + ["--"] * 3 + ["=="] * 2
PRM = ["+-"] * 2 + ["++"] * 6 + ["-+"]
SAFE = ["++"] * 4 + ["=+"] * 2


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Runs of models A and B on three subsets of RewardBench; not to be changed."""
    folder = tmp_path_factory.mktemp("compare")
    pairs = rows("hep-go", GO) + rows("math-prm", PRM, 100) + rows("refusals-offensive", SAFE, 200)
    data = write(folder / "data", pairs)
    a, b = (
        evaluate(data, ["rewardbench"], reader(i), folder / name)
        for i, name in ((1, "a"), (2, "b"))
    )
    return a, b


@pytest.fixture
def two(both: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The same, a copy."""
    a, b = (Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in both)
    return a, b
