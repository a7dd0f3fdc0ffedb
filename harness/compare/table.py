# SPDX-License-Identifier: Apache-2.0
"""A comparison as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.bon.output import complete
from harness.compare.comparison import Flip, Report
from harness.compare.statistics import MCNEMAR, SIGN_FLIP
from harness.compare.verdicts import Section
from harness.runs.results import Run
from harness.text_table import aligned

_RUN_KEYS = ("date", "git_hash", "lm_eval_version", "transformers_version", "model_name")
_CONFIG_KEYS = ("model", "model_args", "model_dtype", "batch_size", "device", "limit")


def text(report: Report, a: Run, b: Run) -> str:
    """The table, with what one must know to read it."""
    return "\n".join([*_head(report, a, b), "", *_rows(report), "", *_foot(report)])


def _head(report: Report, a: Run, b: Run) -> Iterator[str]:
    for side, run, kinds in zip("AB", (a, b), report.kinds, strict=True):
        model = " ".join(filter(None, map(_plain, _described(run)["model"].values())))
        kind = f", {', '.join(kinds)}" if kinds else ""
        yield f"{side}: {run.path}{kind}{f' ({model})' if model else ''}"
    better = "" if report.higher_is_better else ", lower is better"
    yield f"{report.metric}{better}; difference = B − A"


def _plain(value: Any) -> str:
    """A model's arguments as they are typed: ``pretrained=out,dtype=bfloat16``."""
    if isinstance(value, dict):
        return ",".join(f"{key}={given}" for key, given in value.items())
    return str(value or "")


def _rows(report: Report) -> Iterator[str]:
    interval = f"{100 * report.confidence:g}% interval"
    table = [
        ["section", "items", "A", "B", "B − A", interval, "gained", "lost", "p", "p (Holm)", ""]
    ]
    table += [_row(section) for section in report.sections]
    yield from aligned(table, left=(0, len(table[0]) - 1))


def _row(section: Section) -> list[str]:
    found = section.comparison
    return [
        "  " * section.depth + section.name,
        str(found.items),
        f"{found.a:.3f}",
        f"{found.b:.3f}",
        f"{found.difference:+.3f}",
        f"[{found.low:+.3f}, {found.high:+.3f}]",
        str(section.gained),
        str(section.lost),
        ("~" if found.test == SIGN_FLIP else "") + _p(found.p),
        _p(section.p_holm),
        section.verdict,
    ]


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.0005 else "<0.001"


def _foot(report: Report) -> Iterator[str]:
    tasks = sum(not section.is_group for section in report.sections)
    yield f"Interval: paired bootstrap within each task, {report.resamples:,} resamples."
    used = {section.comparison.test for section in report.sections}
    tests = {
        MCNEMAR: "exact McNemar",
        SIGN_FLIP: f"~ sign-flip test, {report.resamples:,} draws, where items are not just right "
        "or wrong or do not count the same",
    }
    yield f"p: {'; '.join(text for test, text in tests.items() if test in used)}."
    families = f"{tasks} tasks"
    if tasks < len(report.sections):
        families += f" and, apart, over {len(report.sections) - tasks} groups"
    alpha = 1 - report.confidence
    yield f"Holm: over {families}. noise: p (Holm) is not below {alpha:.3g}."
    if report.metric.partition(",")[0] == "margin":
        yield "Note: each model's margins are in its own unit of reward; scale alone can differ."
    for note in report.notes:
        yield f"Note: {note}"


def flips(report: Report, most: int) -> Iterator[str]:
    """The items on which the models differ: of each task the `most` whose margin changed most."""
    for task, found in report.flips.items():
        if found:
            yield f"{task}: {len(found)} items differ{', of them:' if len(found) > most else ''}"
        for flip in sorted(found, key=_change, reverse=True)[:most]:
            margins = ""
            if flip.margin_a is not None and flip.margin_b is not None:
                margins = f"  margin {flip.margin_a:+.3f} -> {flip.margin_b:+.3f}"
            yield f"  {flip.doc_id:>5}  {flip.a:g} -> {flip.b:g}{margins}  {flip.prompt}"


def _change(flip: Flip) -> float:
    if flip.margin_a is None or flip.margin_b is None:
        return abs(flip.b - flip.a)
    return abs(flip.margin_b - flip.margin_a)


def as_json(report: Report, a: Run, b: Run) -> dict[str, Any]:
    """Everything in the table and behind it, JSON types only."""
    return {
        "dogerm_version": version("dogerm"),
        "a": _described(a),
        "b": _described(b),
        **asdict(report),
    }


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write the file, complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with complete(path) as partial:
        partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _described(run: Run) -> dict[str, Any]:
    """Which files and which model; the model as its newest results file has it."""
    newest = list(run.results.values())[-1] if run.results else {}
    config = newest.get("config", {})
    return {
        "path": str(run.path),
        "samples": {task: str(file) for task, file in run.leaves.items()},
        "model": {key: config.get(key) for key in ("model", "model_args")},
        "run": {key: newest.get(key) for key in _RUN_KEYS}
        | {key: config.get(key) for key in _CONFIG_KEYS},
    }
