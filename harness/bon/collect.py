# SPDX-License-Identifier: Apache-2.0
"""From the samples of a policy's runs in lm-eval to the file that the tasks `bon*` read.

Labels are lm-eval's own scores: those in the files, where a run gave one response to a document;
the task's own filters and metric on each response, where it gave several (`harness.bon.rescore`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.bon.rescore import Rescorer
from harness.bon.samples import Run, check_same_documents, check_sampled
from harness.errors import HarnessError
from harness.rows.conversation import messages_of
from harness.runs.atomic import complete
from harness.tasks.bon.expected import oracle

# The column with the bare question, taken in this order.
PROMPT_COLUMNS = ("question", "problem", "instruction", "prompt", "text")
# What lm-eval's filter `regex` gives where it finds nothing.
NO_ANSWER = "[invalid]"

Row = dict[str, Any]
Progress = Callable[[Sequence[int]], Iterable[int]]


class Candidate(NamedTuple):
    """A response, whether it is correct (1 or 0), and what the task's filter took from it."""

    response: str
    label: int
    filtered: Any


def rows_of_task(
    runs: Sequence[Run],
    *,
    prompt: str | None = None,
    include_path: Path | None = None,
    progress: Progress = iter,
) -> list[Row]:
    """One row a question, with the candidates of all runs of one task in the runs' order.

    Args:
        runs: runs of the same task over the same documents.
        prompt: the column of the document with the question, or a Jinja template over its columns;
            None takes the first of `PROMPT_COLUMNS`.
        include_path: folder with the user's own tasks.
        progress: shows how far the loop over the documents has come.

    Raises:
        HarnessError: the runs do not belong together, a score is neither 0 nor 1, there is no
            question, or nothing was sampled.
    """
    first = runs[0]
    for run in runs[1:]:
        check_same_documents(first, run)
    check_sampled(runs)
    rescorers = {
        run.path: Rescorer(
            run.task,
            [sample.doc for sample in run.samples.values()],
            run.filter,
            run.metric,
            include_path,
        )
        for run in runs
        if any(len(sample.responses) > 1 for sample in run.samples.values())
    }
    rows: list[Row] = []
    kept: list[list[Candidate]] = []
    for doc_id in progress(sorted(first.samples)):
        candidates = [
            candidate
            for run in runs
            for candidate in _candidates(run, doc_id, rescorers.get(run.path))
        ]
        kept.append(candidates)
        rows.append(
            {
                "id": f"{first.task}-{doc_id}",
                "subset": first.task,
                "prompt": _prompt(first, doc_id, prompt),
                "responses": [candidate.response for candidate in candidates],
                "labels": [candidate.label for candidate in candidates],
            }
        )
    everything = [candidate for candidates in kept for candidate in candidates]
    # A filter that finds the answer in the response gives a text other than the response.
    if all(isinstance(candidate.filtered, str) for candidate in everything) and any(
        candidate.filtered != candidate.response for candidate in everything
    ):
        for row, candidates in zip(rows, kept, strict=True):
            filtered = [candidate.filtered for candidate in candidates]
            row["answers"] = [None if answer == NO_ANSWER else answer for answer in filtered]
    return rows


def _candidates(run: Run, doc_id: int, rescorer: Rescorer | None) -> list[Candidate]:
    sample = run.samples[doc_id]
    if len(sample.responses) == 1 or rescorer is None:
        label = _label(run, doc_id, sample.score)
        return [Candidate(sample.responses[0], label, sample.filtered)]
    again, _ = rescorer.score(sample.doc, sample.responses)
    if not _equal(again, sample.score):
        raise HarnessError(
            f"{run.path}, doc_id {doc_id}: {run.metric} is {sample.score!r}, but the task "
            f"{run.task} that is installed gives {again!r} for the same responses; score with the "
            "version and options of lm-eval that made the samples"
        )
    candidates = []
    for response in sample.responses:
        score, filtered = rescorer.score(sample.doc, [response])
        candidates.append(Candidate(response, _label(run, doc_id, score), filtered))
    return candidates


def _equal(one: Any, other: Any) -> bool:
    try:
        return math.isclose(one, other, abs_tol=1e-9)
    except TypeError:
        return bool(one == other)


def _label(run: Run, doc_id: int, score: Any) -> int:
    if not isinstance(score, (bool, int, float)) or score not in (0, 1):
        raise HarnessError(
            f"{run.path}, doc_id {doc_id}: {run.metric} is {score!r}, expected 1 (correct) or 0; "
            "choose a metric that says right or wrong with --metric"
        )
    return int(score)


def _prompt(run: Run, doc_id: int, wanted: str | None) -> Any:
    from jinja2 import TemplateError
    from lm_eval.utils import apply_template

    doc = run.samples[doc_id].doc
    if wanted is None:
        wanted = next((column for column in PROMPT_COLUMNS if column in doc), None)
    if wanted is None or (wanted not in doc and "{" not in wanted):
        raise HarnessError(
            f"{run.path}: no column {wanted or ', '.join(PROMPT_COLUMNS)} with the question (found:"
            f" {', '.join(doc)}); name one with --prompt, or give a template such as "
            "'{{question}}'"
        )
    try:
        prompt = doc[wanted] if wanted in doc else apply_template(wanted, dict(doc))
        messages_of(prompt)
    except (TemplateError, TypeError, ValueError) as error:
        raise HarnessError(f"{run.path}, doc_id {doc_id}, --prompt {wanted}: {error}") from error
    return prompt


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write the file, which appears when it is complete."""
    with complete(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def summary(rows: Sequence[Row]) -> str:
    """Questions, candidates, and how often one, or any, of them is correct."""
    counts = sorted({len(row["labels"]) for row in rows})
    mean = math.fsum(sum(row["labels"]) / len(row["labels"]) for row in rows) / len(rows)
    best = math.fsum(oracle(row["labels"], len(row["labels"])) for row in rows) / len(rows)
    distinct = sum(len(set(row["responses"])) for row in rows)
    each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    useless = "" if best else "; no candidate is correct, so nothing can be chosen among them"
    return (
        f"{len(rows)} questions with {each} candidates ({distinct} distinct texts): mean "
        f"correctness {mean:.3f}, oracle {best:.3f}{useless}"
    )
