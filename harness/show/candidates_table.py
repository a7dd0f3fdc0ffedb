# SPDX-License-Identifier: Apache-2.0
"""The candidates of a study side by side: the table on the terminal and on its page."""

from __future__ import annotations

from collections.abc import Iterator

from harness.compare.statistics import SIGN_FLIP
from harness.show import numbers
from harness.show.candidates_file import Against, CandidateScores, CandidatesFile
from harness.show.text_table import aligned

Rows = list[list[str]]


def scores(study: CandidatesFile) -> Rows:
    """Scores and differences, a candidate a row, below the heading."""
    head = ["candidate"]
    for group in study.groups:
        head += [group, f"− {study.general}", "95% interval", "p (Holm)"]
    return [head, *(_scores(study, one) for one in study.scored)]


def _scores(study: CandidatesFile, one: CandidateScores) -> list[str]:
    cells = [one.name]
    for group in study.groups:
        score, against = one.groups[group], one.against.get(group)
        cells.append(numbers.score(score.score, score.stderr))
        cells += ["", "", ""] if against is None else _against(against)
    return cells


def _against(one: Against) -> list[str]:
    drawn = "~" if one.test == SIGN_FLIP else ""
    ends = numbers.ends(one.low, one.high)
    return [f"{one.difference:+.3f}", ends, f"{drawn}{numbers.p_value(one.p_holm)}"]


def costs(study: CandidatesFile) -> Rows:
    """What each takes, a candidate a row, below the heading."""
    head = ["candidate", "stored", "active", "trained on", "training", "scoring"]
    return [head, *(_costs(one) for one in study.scored)]


def _costs(one: CandidateScores) -> list[str]:
    size, tokens = one.parameters, one.training_tokens
    seconds = (one.training_seconds, one.scoring_seconds)
    return [
        one.name,
        *([f"{n / 1e6:.1f}M" for n in (size.stored, size.active)] if size else ["-", "-"]),
        "-" if tokens is None else f"{tokens:,} tokens",
        *("-" if one is None else numbers.duration(one) for one in seconds),
    ]


def seeds(study: CandidatesFile) -> Rows:
    """Every seed's scores, below the heading; nothing but that where there are none."""
    rows = [["candidate", "seed", *study.groups]]
    for one in study.scored:
        for seed in one.seeds:
            cells = (f"{one.groups[group].by_seed[str(seed)]:.3f}" for group in study.groups)
            rows.append([one.name, str(seed), *cells])
    return rows


def tasks(study: CandidatesFile) -> Rows:
    """Every task's scores, below the heading."""
    names = [(group, task) for group, sizes in study.groups.items() for task in sizes]
    rows = [["candidate", *(task for _, task in names)]]
    for one in study.scored:
        rows.append([one.name, *(f"{one.groups[g].tasks[t]:.3f}" for g, t in names)])
    return rows


def failed(study: CandidatesFile) -> Iterator[tuple[str, str]]:
    """What has no result, and why."""
    yield from ((one.name, one.error) for one in study.candidates if one.error is not None)
    yield from study.failed.items()


def explained(study: CandidatesFile) -> str:
    """What the numbers of the table are, in a paragraph."""
    sizes = "; ".join(
        f"{group}: {', '.join(f'{task} ({rows} rows)' for task, rows in of.items())}"
        for group, of in study.groups.items()
    )
    return (
        f"{study.metric} ± its standard error over rows, the mean over seeds; the difference to "
        f"{study.general} on the same rows with its 95% interval over rows, and p corrected by "
        "Holm over the candidates (~: by sign-flips). A group is the plain mean of its tasks. "
        f"{sizes}."
    )


def text(study: CandidatesFile) -> str:
    """All of it for a terminal."""
    parts = [aligned(scores(study))]
    if len(seeds(study)) > 1:
        parts.append(aligned(seeds(study)))
    parts.append(aligned(costs(study)))
    parts.append([explained(study)])
    parts.append([f"note: {note}" for note in study.notes])
    parts.append([f"failed: {name}: {why}" for name, why in failed(study)])
    return "\n\n".join("\n".join(lines) for lines in parts if lines)
