# SPDX-License-Identifier: Apache-2.0
"""What a study found: study.json, its page and its picture."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.runs.atomic import together
from harness.runs.results import read_json
from harness.show import picture
from harness.show.candidates_file import FORM, CandidateScores, CandidatesFile, Parameters
from harness.show.candidates_page import PICTURE, page
from harness.show.forest_plot import forest_figure
from harness.study import machine
from harness.study.candidates import figures, overlap
from harness.study.candidates.config import Study
from harness.study.candidates.figures import Scored
from harness.study.candidates.running import Run
from harness.study.candidates.scoring import FACTS, PLACE
from harness.study.candidates.steps import CHOOSE, SCORE, TRAIN, Step
from harness.study.candidates.tasks import Tasks
from harness.study.candidates.variants import Variant
from harness.study.store import RESULTS

_FILES = ("study.md", PICTURE, "study.json")


def gather(
    study: Study, text: str, folder: Path, tasks: Tasks, run: Run, out: Path, command: str
) -> CandidatesFile:
    """Read back what was scored, compare, and add what it took.

    Args:
        study: what was asked for.
        text: of its file.
        folder: that it is in.
        tasks: what is reported.
        run: what is there, and what failed.
        out: the study's folder.
        command: as it was typed.

    Raises:
        HarnessError: a run's files are damaged.
    """
    steps = {step.name: step for step in run.steps}
    of_name: dict[str, list[Step]] = {}
    for step in run.steps:
        of_name.setdefault(step.variant.name, []).append(step)
    names = [task for group in tasks.groups.values() for task in group]
    include = [Path(path) for path in study.include_path]
    errors: dict[str, str] = {}
    scored: dict[str, Scored] = {}
    for name, candidate in study.candidates.items():
        lost = [one for one in of_name.get(name, []) if one.name in run.failed]
        if lost:
            errors[name] = run.failed[lost[0].name]
        elif candidate.report:
            scored[name] = Scored(
                {
                    step.variant.seed: {
                        task: figures.read_task(
                            step.output / RESULTS / PLACE / task, study.metric, include
                        )
                        for task in names
                    }
                    for step in of_name[name]
                    if step.kind == SCORE
                }
            )
    general = scored.get(study.general)
    others = {name: one for name, one in scored.items() if name != study.general}
    against = {
        group: figures.against(general, others, of) if general else {}
        for group, of in tasks.groups.items()
    }
    candidates = [
        CandidateScores(
            name=name,
            kind=one.made_by or "model",
            seeds=sorted({s.variant.seed for s in of_name[name] if s.variant.seed is not None}),
            error=errors.get(name),
            groups={g: figures.score(scored[name], of) for g, of in tasks.groups.items()}
            if name in scored
            else {},
            against={g: found[name] for g, found in against.items() if name in found},
            **_costs(of_name[name], steps, out, is_scored=name in scored),
        )
        for name, one in study.candidates.items()
        if one.report
    ]
    first = next(iter(scored.values()), None)
    return CandidatesFile(
        form=FORM,
        kind="study",
        made={
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": command,
            "versions": machine.versions(),
            "machine": machine.machine(),
        },
        study=text,
        general=study.general,
        metric=study.metric,
        higher_is_better=first is None or all(first.task(task).rising for task in names),
        confidence=0.95,
        select=study.select,
        groups={
            group: {task: first.task(task).rows if first else 0 for task in of}
            for group, of in tasks.groups.items()
        },
        candidates=candidates,
        failed={n: why for n, why in errors.items() if not study.candidates[n].report},
        notes=[*_notes(study, general), *overlap.notes(study, folder, tasks.prompts)],
    )


def write(found: CandidatesFile, out: Path) -> list[Path]:
    """Write the page and the picture, and study.json last; the files."""
    text = json.dumps(found.as_dict(), indent=1, ensure_ascii=False, allow_nan=False)
    with together(out, _FILES) as stage:
        (stage / "study.json").write_text(text + "\n", encoding="utf-8")
        if found.scored:
            (stage / "study.md").write_text(page(found), encoding="utf-8")
            picture.write(forest_figure(found), stage / PICTURE)
    return [out / name for name in _FILES if (out / name).exists()]


def _notes(study: Study, general: Scored | None) -> Iterator[str]:
    if general is None:
        yield f"{study.general}, that all are compared to, failed: there are no differences"
    trained = [name for name, one in study.candidates.items() if one.train is not None]
    if trained and len(study.seeds) == 1:
        yield (
            f"one seed ({study.seeds[0]}): how much another training of {', '.join(trained)} would "
            "differ is not known; intervals are over rows alone"
        )
    elif trained:
        yield (
            f"{len(study.seeds)} seeds: a row's value is their mean, and intervals and p are over "
            f"rows alone; how much another training of {', '.join(trained)} would differ is not in "
            "them, see the scores by seed"
        )


def _costs(
    own: Sequence[Step], steps: Mapping[str, Step], out: Path, *, is_scored: bool
) -> dict[str, Any]:
    """Parameters, training and scoring of a candidate's variants, and where its runs are."""
    empty: dict[str, Any] = {"chosen": {}, "parameters": None, "runs": {}}
    if not is_scored:
        return {
            **empty,
            "training_tokens": None,
            "training_seconds": None,
            "scoring_seconds": None,
        }
    scoring = [step for step in own if step.kind == SCORE]
    facts = read_json(scoring[0].output / FACTS)
    trained = [_trained(step, steps) for step in scoring]
    tokens, seconds = (
        None if any(value is None for value in values) else sum(values) / len(values)
        for values in zip(*trained, strict=True)
    )
    results = [_seconds(step.output) for step in scoring]
    return {
        "chosen": {s.variant.label: _chosen(s.output) for s in own if s.kind == CHOOSE},
        "parameters": Parameters(**facts) if facts else None,
        "training_tokens": None if tokens is None else round(tokens),
        "training_seconds": seconds,
        "scoring_seconds": sum(results) / len(results),
        "runs": {
            _seed(step.variant): str((step.output / RESULTS / PLACE).relative_to(out))
            for step in scoring
        },
    }


def _seed(variant: Variant) -> str:
    return "" if variant.seed is None else str(variant.seed)


def _seconds(scored: Path) -> float:
    files = (scored / RESULTS / PLACE).glob("*/results_*.json")
    return sum(float(read_json(file)["total_evaluation_time_seconds"]) for file in files)


def _chosen(folder: Path) -> str:
    """The first line of the recipe that was chosen, which says what and how."""
    first = (folder / "best.yml").read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("# ")


def _trained(step: Step, steps: Mapping[str, Step]) -> tuple[int | None, float | None]:
    """The tokens and seconds of all trainings behind a step.

    Both are None where nothing was trained. A router is fitted on prompts that the frozen base has
    read: it has seconds, and no tokens of its own.
    """
    behind: dict[str, Step] = {}
    waiting = list(step.needs)
    while waiting:
        name = waiting.pop()
        if name not in behind:
            behind[name] = steps[name]
            waiting += steps[name].needs
    folders = [one.output for one in behind.values() if one.kind == TRAIN]
    if not folders:
        return None, None
    tokens: int | None = None
    seconds = 0.0
    for file in (file for folder in folders for file in folder.rglob("figures.json")):
        told = read_json(file)
        settings = file.with_name("run.json")
        training = read_json(settings)["settings"].get("training", {}) if settings.exists() else {}
        if "training_tokens" in told:
            epochs = float(training.get("epochs", 1))
            tokens = (tokens or 0) + round(told["training_tokens"] * epochs)
        seconds += float(told.get("seconds", 0.0))
    return tokens, seconds
