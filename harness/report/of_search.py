# SPDX-License-Identifier: Apache-2.0
"""The report of a search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.report.blocks import Block, Facts, Page, Part, Table, Text
from harness.report.form import Search, SideBySide, Top
from harness.report.numbers import duration, score
from harness.report.parts import apart, compared, how_made, notes, the_merge, verdicts
from harness.sweep.naming import lambda_is


def page(search: Search) -> Page:
    """What the search found, the verdict first."""
    models = " and ".join(Path(model).name for model in search["domain_models"])
    return Page(
        title=f"Search: {Path(search['reward_model']).name} with {models}",
        lead=list(_lead(search)),
        parts=[
            Part("What is lost from selection to report", _top(search)),
            Part("What it is worth", list(_proofs(search))),
            the_merge(search),
            Part("Trials", _trials(search)),
            how_made(search),
            *notes(search),
        ],
    )


def _lead(search: Search) -> Iterator[Block]:
    best = search["top"][0]
    yield Text(f"Best on the selection rows: trial {best['number']} ({_params(best['params'])}).")
    if search["proof"]:
        yield from verdicts(search["proof"], "the reward model")
    if search["proof_baseline"]:
        yield from verdicts(search["proof_baseline"], "the best single λ of a plain sweep")


def _params(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {_value(value)}" for key, value in params.items())


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _top(search: Search) -> list[Block]:
    top, baseline = search["top"], search["baseline"]
    names = _names(top)
    rows = [
        [
            f"trial {found['number']}",
            *_side_by_side(search, found),
            *(_value(found["params"].get(name, "-")) for name in names),
        ]
        for found in top
    ]
    plain = [f"plain sweep, {lambda_is(baseline['label'])}", *_side_by_side(search, baseline)]
    rows.append(plain + [""] * len(names))
    table = Table(
        caption=f"The ten best on the selection rows, and the best single λ ({search['metric']} ± "
        "standard error)",
        head=["weights", "selection", "held out", "lost", *names],
        rows=rows,
        marked=frozenset({0}),
    )
    reading = (
        "lost: by how much the score on the held-out report rows is worse than the one that was "
        "selected on. The best of many trials owes some of its selection score to luck. Where "
        "selection and report are different tasks, part of the loss is that one is harder: compare "
        "with what the plain sweep loses, which had fewer chances to be lucky."
    )
    return [Text(apart(search)), table, Text(reading)]


def _names(found: list[Top]) -> list[str]:
    return list(dict.fromkeys(name for one in found for name in one["params"]))


def _side_by_side(search: Search, found: SideBySide) -> list[str]:
    lost = found["select"] - found["report"]
    return [
        score(found["select"], found["select_stderr"]),
        score(found["report"], found["report_stderr"]),
        f"{lost if search['higher_is_better'] else -lost:+.3f}",
    ]


def _proofs(search: Search) -> Iterator[Block]:
    best = f"trial {search['top'][0]['number']}"
    if search["proof"]:
        yield from compared(search["proof"], "the reward model", best)
    if search["proof_baseline"]:
        label = lambda_is(search["baseline"]["label"])
        yield from compared(search["proof_baseline"], f"the plain sweep's {label}", best)


def _trials(search: Search) -> list[Block]:
    trials = search["trials"]
    names = list(dict.fromkeys(name for trial in trials for name in trial["params"]))
    states = ("complete", "pruned", "failed")
    counts = [f"{sum(t['state'] == state for t in trials)} {state}" for state in states]
    table = Table(
        caption=f"All trials: {search['metric']} on the selection rows ± standard error; of a "
        "pruned trial, on the part of them that it saw",
        head=["trial", "state", "score", *names, "time"],
        rows=[
            [
                str(trial["number"]),
                trial["state"],
                score(trial["score"], trial["stderr"]),
                *(_value(trial["params"].get(name, "-")) for name in names),
                "-" if trial["seconds"] is None else duration(trial["seconds"]),
            ]
            for trial in trials
        ],
        left=frozenset({0, 1}),
    )
    facts = Facts(
        [
            ("sampler", search["sampler"]),
            ("trials", ", ".join(counts)),
            ("storage", search["storage"]),
        ]
    )
    return [facts, table]
