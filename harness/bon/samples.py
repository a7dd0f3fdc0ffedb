# SPDX-License-Identifier: Apache-2.0
"""The files that ``lm_eval --log_samples`` writes for a generation task.

A file is a run of one task. It has a line for each document and filter, with all responses to the
document (``resps``; several under ``repeats``) and the metrics that the task gave for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.rows.local_files import read
from harness.runs.results import DATED, check_saved, results_beside

COLUMNS = ("doc_id", "doc", "resps", "filtered_resps", "filter", "metrics", "doc_hash")

# What most tasks call right or wrong, taken in this order where a file has several metrics.
USUAL_METRICS = ("exact_match", "pass@1", "pass_at_1", "acc")


class Sample(NamedTuple):
    """What a run says of one document: the line of one filter.

    Attributes:
        doc: the document's columns, as the task made them.
        doc_hash: lm-eval's hash of them.
        responses: what the model generated, ``repeats`` times.
        filtered: what the filter made of them.
        score: the metric's value, for the first or for all responses as the filter has it.
    """

    doc: Mapping[str, Any]
    doc_hash: str
    responses: list[str]
    filtered: Any
    score: Any


@dataclass(frozen=True)
class Run:
    """A samples file of one task, read: the filter and the metric that were taken, and the items.

    Attributes:
        task: lm-eval's name of the task.
        filter: the filter whose scores were taken.
        metric: the metric that was taken.
        samples: by ``doc_id``.
    """

    path: Path
    task: str
    filter: str
    metric: str
    samples: dict[int, Sample]


def read_run(
    path: Path, *, task: str | None = None, filter: str | None = None, metric: str | None = None
) -> Run:
    """Read a samples file of a policy's run.

    Args:
        path: a file named ``samples_<task>_<date>.jsonl``, or any other name with `task`.
        task: the task's name, where the file's name does not say it.
        filter: one of the file's filters; None where it has only one.
        metric: one of its metrics; None takes the usual one.

    Raises:
        HarnessError: not such a file, cut, not a generation task, or a choice is needed.
    """
    named = DATED.fullmatch(path.stem)
    if task is None and named and named["name"].startswith("samples_") and path.suffix == ".jsonl":
        task = named["name"].removeprefix("samples_")
    if task is None:
        raise HarnessError(
            f"{path}: the name is not samples_<task>_<date>.jsonl, as lm_eval --log_samples writes "
            "it; give the task's name with --task"
        )
    if named and named["name"].startswith("samples_"):
        check_saved(path, named["name"].removeprefix("samples_"), results_beside(path))
    lines = list(read(path))
    if not lines:
        raise HarnessError(f"{path} is empty")
    for number, line in enumerate(lines, start=1):
        if missing := [column for column in COLUMNS if column not in line]:
            raise HarnessError(
                f"{path}, line {number}: no {', '.join(missing)}; expected a file that lm_eval "
                "--log_samples wrote"
            )
        if not _generated(line["resps"]):
            raise HarnessError(
                f"{path}, doc_id {line['doc_id']}: resps is not a list of generated texts; only "
                "generation tasks (output_type: generate_until) have candidates"
            )
    filter = _choose("filter", filter, list(dict.fromkeys(line["filter"] for line in lines)), path)
    lines = [line for line in lines if line["filter"] == filter]
    metrics = list(lines[0]["metrics"])
    usual = next((name for name in USUAL_METRICS if name in metrics), None)
    metric = _choose("metric", metric or usual, metrics, path)
    samples: dict[int, Sample] = {}
    for line in lines:
        doc_id = line["doc_id"]
        if doc_id in samples:
            raise HarnessError(f"{path}: doc_id {doc_id} is there twice for filter {filter}")
        if metric not in line:
            raise HarnessError(f"{path}, doc_id {doc_id}: no metric {metric}")
        (responses,) = line["resps"]
        filtered = line["filtered_resps"][0]
        samples[doc_id] = Sample(line["doc"], line["doc_hash"], responses, filtered, line[metric])
    return Run(path, task, filter, metric, samples)


def _choose(what: str, given: str | None, there: list[str], path: Path) -> str:
    if given is None and len(there) == 1:
        return there[0]
    if given not in there:
        problem = f"no {what} {given}" if given is not None else f"several {what}s"
        raise HarnessError(
            f"{path} has {problem}; choose with --{what}: {', '.join(there) or 'none'}"
        )
    return given


def _generated(resps: Any) -> bool:
    """Whether there is one request, answered by texts (other requests are answered by pairs)."""
    if not isinstance(resps, list) or len(resps) != 1 or not isinstance(resps[0], list):
        return False
    return bool(resps[0]) and all(isinstance(response, str) for response in resps[0])


def check_same_documents(one: Run, other: Run) -> None:
    """Raise a `HarnessError` where two runs cannot be joined question by question."""
    if differing := sorted(one.samples.keys() ^ other.samples.keys()):
        missing, there = (one, other) if differing[0] in other.samples else (other, one)
        raise HarnessError(
            f"{missing.path} has no doc_id {differing[0]}, {there.path} has it ({len(differing)} "
            "such documents); collect runs with the same --limit"
        )
    for doc_id, sample in one.samples.items():
        if sample.doc_hash != other.samples[doc_id].doc_hash:
            raise HarnessError(
                f"doc_id {doc_id} is one document in {one.path} and another in {other.path}; "
                "collect runs over the same version of the data set"
            )
    if (one.filter, one.metric) != (other.filter, other.metric):
        raise HarnessError(
            f"{one.path} has {one.metric} ({one.filter}), {other.path} {other.metric} "
            f"({other.filter}); choose with --metric and --filter"
        )


def check_sampled(runs: Sequence[Run]) -> None:
    """Raise a `HarnessError` where there is nothing to choose from.

    Greedy decoding, or two runs with one seed, give the same text again and again.
    """
    texts = [[sample.responses for sample in run.samples.values()] for run in runs]
    for number, text in enumerate(texts):
        if text in texts[:number]:
            raise HarnessError(
                f"{runs[texts.index(text)].path} and {runs[number].path} hold the same responses: "
                "give each run another --seed"
            )
    if len(runs) == 1 and all(_one_text(sample) for sample in runs[0].samples.values()):
        raise HarnessError(
            f"{runs[0].path}: there is one response to every question, or the same one again; "
            "sample several with --gen_kwargs do_sample=true,temperature=1 and `repeats: N` in the "
            "task's YAML, or in several runs, each with another --seed"
        )


def _one_text(sample: Sample) -> bool:
    return len(set(sample.responses)) == 1
