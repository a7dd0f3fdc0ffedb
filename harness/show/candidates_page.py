# SPDX-License-Identifier: Apache-2.0
"""The page of a study, study.md."""

from __future__ import annotations

from collections.abc import Iterator

from harness.show import candidates_table, markdown
from harness.show.blocks import Block, Code, Facts, Items, Page, Part, Picture, Table, Text
from harness.show.candidates_file import CandidatesFile
from harness.show.forest_plot import forest_figure

PICTURE = "study.png"


def page(study: CandidatesFile) -> str:
    """As Markdown, with the picture beside it."""
    best = _best(study)
    lead: list[Block] = [Text(best)] if best else []
    picture = Picture(
        PICTURE,
        f"Difference to {study.general}",
        f"Every candidate's {study.metric} by group of tasks, less that of {study.general}",
        forest_figure(study),
    )
    parts = [
        Part("Candidates", [*_candidates(study), picture]),
        Part("What it costs", list(_costs(study))),
        Part("Details", list(_details(study))),
    ]
    return markdown.render(Page("Study", lead, parts), {PICTURE: PICTURE})


def _candidates(study: CandidatesFile) -> Iterator[Block]:
    head, *rows = candidates_table.scores(study)
    yield Table(f"{study.metric}, against {study.general}", head, rows)
    yield Text(candidates_table.explained(study))
    failed = [f"{name} failed: {why}" for name, why in candidates_table.failed(study)]
    if failed:
        yield Items(failed)


def _costs(study: CandidatesFile) -> Iterator[Block]:
    head, *rows = candidates_table.costs(study)
    yield Table("Parameters and time", head, rows)
    yield Text(
        "Stored: parameters in memory. Active: those that work on an answer. Training: what this "
        "study trained for the candidate, the mean over seeds, what it was made of included; "
        "models that were there before count nothing. Scoring: all tasks, once."
    )


def _details(study: CandidatesFile) -> Iterator[Block]:
    for caption, (head, *rows) in (
        ("Every seed", candidates_table.seeds(study)),
        ("Every task", candidates_table.tasks(study)),
    ):
        if rows:
            yield Table(caption, head, rows)
    chosen = [f"{name}: {how}" for one in study.scored for name, how in one.chosen.items()]
    if chosen:
        yield Items(chosen)
    if study.notes:
        yield Items(study.notes)
    made = study.made
    machine = made["machine"]
    told = {
        "command": made["command"],
        "date": made["date"],
        "machine": f"{machine['cpu']}, {machine['cores']} cores, GPU: {machine['gpu'] or 'none'}",
        "versions": ", ".join(f"{name} {v}" for name, v in made["versions"].items()),
    }
    yield Facts(list(told.items()))
    yield Code("The study's file", study.study)


def _best(study: CandidatesFile) -> str:
    """What a reader is to know first, in a sentence."""
    group = next(iter(study.groups))
    sign = 1 if study.higher_is_better else -1
    better = [
        one
        for one in study.scored
        if group in one.against
        and sign * one.against[group].difference > 0
        and one.against[group].p_holm < 1 - study.confidence
    ]
    if not better:
        return f"No candidate is better than {study.general} on {group} by more than chance."
    first = max(better, key=lambda one: sign * one.against[group].difference)
    told = []
    for name, one in first.against.items():
        interval = f"{one.low:+.3f} to {one.high:+.3f}"
        told.append(f"{one.difference:+.3f} on {name} (95% {interval})")
    return (
        f"The most is gained on {group} by {first.name}, against {study.general}: "
        f"{'; '.join(told)}."
    )
