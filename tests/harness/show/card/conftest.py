"""A real merge of tiny models, and what a sweep or lm-eval would have written about it."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

CHOSEN = 0.35


@pytest.fixture(scope="session")
def domain_model(tmp_path_factory: pytest.TempPathFactory, language_model: Path) -> Path:
    """A copy, so that tests can give it a card."""
    return Path(shutil.copytree(language_model, tmp_path_factory.mktemp("domain") / "maths"))


@pytest.fixture(scope="session")
def merge(
    tmp_path_factory: pytest.TempPathFactory, reward_model: Path, domain_model: Path
) -> Callable[[float], Path]:
    """`mergekit-yaml` at a λ; gives the folder of the merged model."""

    def run(weight: float) -> Path:
        from mergekit.scripts.run_yaml import main

        folder = tmp_path_factory.mktemp("merge")
        recipe = yaml.safe_dump(best_recipe(reward_model, domain_model, weight), sort_keys=False)
        (folder / "best.yml").write_text(f"# λ = {weight}\n{recipe}", "utf-8")
        args = [str(folder / "best.yml"), str(folder / "merged"), "--quiet"]
        result = CliRunner().invoke(main, args)
        assert result.exit_code == 0, result.output
        return folder / "merged"

    return run


@pytest.fixture(scope="session")
def merged_once(merge: Callable[[float], Path]) -> Path:
    return merge(CHOSEN)


@pytest.fixture
def out(merged_once: Path, tmp_path: Path) -> Path:
    """The merged model, in a copy that a test may change."""
    return Path(shutil.copytree(merged_once, tmp_path / "merged"))


@pytest.fixture
def licensed(reward_model: Path, domain_model: Path) -> Iterator[Callable[..., None]]:
    """Gives the merged models cards with these licences."""
    cards = (reward_model / "README.md", domain_model / "README.md")

    def write(*licences: str | None, more: str = "") -> None:
        for path, licence in zip(cards, licences, strict=True):
            line = f"license: {licence}\n" if licence else ""
            path.write_text(f"---\nlanguage: en\n{line}{more}---\n# A model\n", "utf-8")

    yield write
    for path in cards:
        path.unlink(missing_ok=True)


def best_recipe(reward_model: Path, domain_model: Path, weight: float = CHOSEN) -> dict[str, Any]:
    return {
        "merge_method": "reward_preserving_linear",
        "base_model": str(reward_model),
        "models": [{"model": str(domain_model), "parameters": {"weight": weight}}],
    }


def _section(name: str, depth: int, score: float, items: int, group: bool) -> dict[str, Any]:
    return {
        "name": name,
        "depth": depth,
        "is_group": group,
        "score": score,
        "stderr": 0.0241,
        "items": items,
    }


def _report_sections(shift: float) -> list[dict[str, Any]]:
    return [
        _section("rewardbench_chat", 0, 0.5123 + shift, 358, True),
        _section("rewardbench-alpacaeval-easy", 1, 0.6 + shift, 100, False),
        _section("rewardbench-alpacaeval-hard", 1, 0.4 + shift, 60, False),
        _section("minipref-math", 0, 0.44 + shift, 84, False),
    ]


def _compared(section: dict[str, Any], verdict: str) -> dict[str, Any]:
    return {
        **{key: section[key] for key in ("name", "depth", "is_group", "items")},
        "a": section["score"],
        "b": section["score"] + 0.01,
        "difference": 0.01,
        "low": -0.02,
        "high": 0.04,
        "gained": 9,
        "lost": 7,
        "p": 0.4,
        "test": "mcnemar",
        "p_holm": 1.0 if verdict == "noise" else 0.001,
        "verdict": verdict,
    }


def _common(reward_model: Path, domain_model: Path) -> dict[str, Any]:
    recipe = best_recipe(reward_model, domain_model)
    verdicts = ("noise", "better", "noise", "noise")
    return {
        "form": 1,
        "made": {
            "date": "2026-11-22T08:00:00+00:00",
            "command": "dogerm sweep recipe.yml --select minipref-chat --report rewardbench_chat",
            "seconds": 1234.5,
            "peak_memory": {"resident": 2_000_000, "model": 100_000},
            "versions": {"dogerm": "0.1.0", "torch": "2.13.0"},
            "machine": {"cpu": "EPYC", "cores": 2, "threads": 1, "memory": 8, "gpu": None},
            "model_args": {"dtype": "bfloat16"},
            "batch_size": "8",
            "seed": 0,
        },
        "recipe": {"path": "recipe.yml", "text": "merge_method: ..."},
        "best_recipe": "# chosen\n" + yaml.safe_dump(recipe, sort_keys=False),
        "reward_model": str(reward_model),
        "domain_models": [str(domain_model)],
        "metric": "accuracy",
        "higher_is_better": True,
        "select": ["minipref-chat"],
        "report": ["rewardbench_chat", "minipref-math"],
        "split": None,
        "proof": {
            "a": "0",
            "b": "0.35",
            "metric": "accuracy",
            "confidence": 0.95,
            "resamples": 10_000,
            "seed": 0,
            "sections": [
                _compared(section, verdict)
                for section, verdict in zip(_report_sections(0), verdicts, strict=True)
            ],
            "notes": [],
        },
        "notes": ["three rows were truncated"],
    }


@pytest.fixture
def sweep(reward_model: Path, domain_model: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a sweep.json, with changes, and gives its folder."""

    def write(**changes: Any) -> Path:
        scores = (("0", 0.0, 0.4667), ("0.35", CHOSEN, 0.4812), ("0.7", 0.7, 0.4901))
        points = [
            {
                "label": label,
                "weights": [weight],
                "total": weight,
                "score": score,
                "stderr": 0.0291,
                "items": 68,
                "seconds": {"merge": 1.0, "score": 60.0},
                "sections": [_section("minipref-chat", 0, score, 68, False)],
            }
            for label, weight, score in scores
        ]
        content = {
            **_common(reward_model, domain_model),
            "kind": "sweep",
            "rule": "one-standard-error",
            "points": points,
            "best": 2,
            "chosen": 1,
            "reported": [
                {
                    "label": label,
                    "weights": [weight],
                    "total": weight,
                    "sections": _report_sections(weight / 35),
                }
                for label, weight in (("0", 0.0), ("0.35", CHOSEN), ("1", 1.0))
            ],
            "margins": None,
        }
        return _written(content, changes, tmp_path / "sweep" / "sweep.json")

    return write


@pytest.fixture
def search(reward_model: Path, domain_model: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a search.json, with changes, and gives its folder."""

    def write(**changes: Any) -> Path:
        common = copy.deepcopy(_common(reward_model, domain_model))
        measured = {
            "select": 0.5512,
            "select_stderr": 0.03,
            "report": 0.4098,
            "report_stderr": 0.012,
        }
        trial = {"number": 3, "params": {"all": CHOSEN}, "score": 0.5512, "stderr": 0.03}
        content = {
            **common,
            "kind": "search",
            "sampler": "tpe",
            "trials": [
                {**trial, "state": "complete", "seconds": 12.0},
                {**trial, "number": 4, "state": "pruned", "seconds": 3.0},
            ],
            "top": [{"number": 3, "params": {"all": CHOSEN}, **measured}],
            "baseline": {"label": "0.2", "weights": [0.2], **measured, "select": 0.5401},
            "storage": "sqlite:///search.db",
            "proof_baseline": None,
        }
        return _written(content, changes, tmp_path / "search" / "search.json")

    return write


def _written(content: dict[str, Any], changes: dict[str, Any], path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**content, **changes}), "utf-8")
    return path.parent


@pytest.fixture
def run_of(tmp_path: Path, tasks: Callable[..., Any]) -> Callable[..., Path]:
    """A real lm-eval run of a task with lm-eval's own writer, as of the model in a folder."""

    def evaluate(
        model: Path | str | None, *names: str, rows: Path, name: str = "results", **options: Any
    ) -> Path:
        from lm_eval import simple_evaluate
        from lm_eval.loggers import EvaluationTracker

        from tests.harness.conftest import oracle

        tracker = EvaluationTracker(output_path=str(tmp_path / name))
        found = simple_evaluate(
            oracle(),
            tasks=list(names),
            task_manager=tasks(data_dir=rows),
            bootstrap_iters=10,
            log_samples=False,
            evaluation_tracker=tracker,
            **options,
        )
        arguments = {**({"pretrained": str(model)} if model else {}), "dtype": "float32"}
        found["config"] |= {"model": "reward", "model_args": arguments, "batch_size": "4"}
        tracker.general_config_tracker.model_name_sanitized = "model"
        tracker.save_results_aggregated(results=found, samples=None)
        return tmp_path / name

    return evaluate


def card(*args: Any) -> Result:
    """`dogerm card` in this process."""
    from harness.commands.card import card as command

    return CliRunner().invoke(command, [str(arg) for arg in args])


def refused(*args: Any) -> str:
    """`dogerm card`; insists on one line and gives it."""
    result = card(*args)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    (line,) = result.stderr.strip().splitlines()
    return line
