# SPDX-License-Identifier: Apache-2.0
"""The report of a search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.show import paired_table
from harness.show.blocks import Block, Facts, Page, Part, Table, Text
from harness.show.naming import lambda_is
from harness.show.numbers import duration, score
from harness.show.page_parts import apart, how_made, notes, the_merge
from harness.show.search_text import sides
from harness.show.study_file import SearchFile


def page(search: SearchFile) -> Page:
    """What the search found, the verdict first."""
    models = " and ".join(Path(model).name for model in search.domain_models)
    return Page(
        title=f"Search: {Path(search.reward_model).name} with {models}",
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


def _lead(search: SearchFile) -> Iterator[Block]:
    best = search.top[0]
    yield Text(f"Best on the selection rows: trial {best.number} ({_params(best.params)}).")
    if search.proof:
        yield from paired_table.verdicts(search.proof, "the reward model")
    if search.proof_baseline:
        against = "the best single λ of a plain sweep"
        yield from paired_table.verdicts(search.proof_baseline, against)


def _params(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {_value(value)}" for key, value in params.items())


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _names(params: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for one in params for name in one))


def _top(search: SearchFile) -> list[Block]:
    baseline = search.baseline
    names = _names([top.params for top in search.top])
    rows = [
        [
            f"trial {top.number}",
            *sides(search, top),
            *(_value(top.params.get(name, "-")) for name in names),
        ]
        for top in search.top
    ]
    plain = [f"plain sweep, {lambda_is(baseline.label)}", *sides(search, baseline)]
    rows.append(plain + [""] * len(names))
    table = Table(
        caption=f"The ten best on the selection rows, and the best single λ ({search.metric} ± "
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


def _proofs(search: SearchFile) -> Iterator[Block]:
    best = f"trial {search.top[0].number}"
    if search.proof:
        yield from paired_table.blocks(search.proof, "the reward model", best)
    if search.proof_baseline:
        label = lambda_is(search.baseline.label)
        yield from paired_table.blocks(search.proof_baseline, f"the plain sweep's {label}", best)


def _trials(search: SearchFile) -> list[Block]:
    trials = search.trials
    names = _names([trial.params for trial in trials])
    states = ("complete", "pruned", "failed")
    counts = [f"{sum(t.state == state for t in trials)} {state}" for state in states]
    table = Table(
        caption=f"All trials: {search.metric} on the selection rows ± standard error; of a "
        "pruned trial, on the part of them that it saw",
        head=["trial", "state", "score", *names, "time"],
        rows=[
            [
                str(trial.number),
                trial.state,
                score(trial.score, trial.stderr),
                *(_value(trial.params.get(name, "-")) for name in names),
                "-" if trial.seconds is None else duration(trial.seconds),
            ]
            for trial in trials
        ],
        left=frozenset({0, 1}),
    )
    facts = Facts(
        [
            ("sampler", search.sampler),
            ("trials", ", ".join(counts)),
            ("storage", search.storage),
        ]
    )
    return [facts, table]
