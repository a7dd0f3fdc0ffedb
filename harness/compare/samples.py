# SPDX-License-Identifier: Apache-2.0
"""The items in a file that `lm_eval --log_samples` writes: one line an item and filter."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from harness.compare import prompt_pairs
from harness.compare.paired import ALSO
from harness.errors import HarnessError
from harness.rows.answer import LIKELIHOOD
from harness.rows.documents import TRANSLATION_OF
from harness.tasks.base.metrics import COUNTS

# What a sample without its document has in place of it: `asked_by` of the whole sample.
ASKED = "asked"
_KIND = re.compile(r"['\"]kind['\"]: ['\"]([^'\"]+)")


class Item(NamedTuple):
    """One document's outcome, or that of several that have a score together only.

    Attributes:
        document: lm-eval's hash of the document, or of each.
        value: of the metric.
        margin: chosen − rejected in units of reward, where the task gives it.
        prompt: the prompt's beginning, on one line.
        asked: a digest of all of the prompt, and one of what it is a translation of; items with one
            in common are no independent trials.
        documents: how many.
    """

    document: str
    value: float
    margin: float | None
    prompt: str
    asked: str
    documents: int = 1


@dataclass(frozen=True)
class Leaf:
    """The items of one task in one run, by lm-eval's ``doc_id``.

    Attributes:
        metric: with the filter, as in the results file: ``accuracy,none``.
        kinds: what the scores are (`harness.rows.answer`); empty where it is a generation task.
    """

    file: Path
    metric: str
    items: dict[int, Item]
    kinds: frozenset[str]


def read_leaf(file: Path, metric: str) -> Leaf | None:
    """The items of one samples file; None where the metric is not there, or no number an item.

    The prompts of RewardBench 2's Ties are items by twos: see `harness.compare.prompt_pairs`.

    Args:
        metric: its name, or ``name,filter`` where the task has several filters.

    Raises:
        HarnessError: not such a file, an item twice, a value that is not finite, or several filters
            and none chosen.
        AloneError: a prompt of Ties lacks its partner.
    """
    name, _, wanted = metric.partition(",")
    items: dict[int, Item] = {}
    prompts: dict[int, Any] = {}
    filters: set[str] = set()
    kinds: set[str] = set()
    given: set[str] = set()
    for number, sample in _lines(file):
        given.update(sample["metrics"])
        if name not in sample["metrics"] or wanted not in ("", sample["filter"]):
            continue
        filters.add(sample["filter"])
        if len(filters) > 1:
            raise HarnessError(
                f"{file.name} has {name} of several filters: choose one, e.g. "
                f"--metric {name},{min(filters)}"
            )
        if sample["doc_id"] in items:
            raise HarnessError(f"{file}, line {number}: doc_id {sample['doc_id']} is there twice")
        if prompt_pairs.is_prompt(name, sample[name]):
            prompts[sample["doc_id"]] = sample[name]
            value: float | None = math.nan  # none of its own
        elif isinstance(sample[name], int | float):
            value = _number(sample[name])
        else:
            return None
        if value is None:
            raise HarnessError(
                f"{file}, line {number}: {name} is {sample[name]}, not a finite number, so it has "
                "no mean; choose another --metric or repair the model"
            )
        kinds.update(_kinds(sample["filtered_resps"]))
        items[sample["doc_id"]] = Item(
            sample["doc_hash"],
            value,
            _number(sample.get("margin")),
            _beginning(_prompt(sample)),
            asked_by(sample),
        )
    if not given:
        raise HarnessError(f"{file} is empty")
    if prompts:
        items = _paired(items, prompt_pairs.pair_scores(name, prompts))
    return Leaf(file, f"{name},{filters.pop()}", items, frozenset(kinds)) if items else None


def asked_by(sample: dict[str, Any]) -> str:
    """What tells a sample's prompt from others: a digest of all of it; see `Item`."""
    if isinstance(sample.get(ASKED), str):
        return str(sample[ASKED])
    prompt = _prompt(sample)
    if not prompt:  # it does not say: each document by itself
        return str(sample["doc_hash"])
    doc = sample.get("doc")
    original = doc.get(TRANSLATION_OF) if isinstance(doc, dict) else None
    told = [prompt] if original is None else [prompt, {TRANSLATION_OF: original}]
    return ALSO.join(sha256(json.dumps(one, sort_keys=True).encode()).hexdigest() for one in told)


def _paired(items: dict[int, Item], scores: dict[tuple[int, int], float]) -> dict[int, Item]:
    """Pairs as items, by the doc_id of the first of the two."""
    return {
        min(ids): Item(
            " ".join(items[doc_id].document for doc_id in ids),
            score,
            None,
            items[min(ids)].prompt,
            items[min(ids)].asked,
            len(ids),
        )
        for ids, score in scores.items()
    }


def comparable_metrics(file: Path) -> list[str]:
    """The metrics of the first item that can be compared, as `--metric` takes them."""
    for _, sample in _lines(file):
        return [
            name
            for name in sample["metrics"]
            if name not in COUNTS
            and (
                isinstance(sample[name], int | float) or prompt_pairs.is_prompt(name, sample[name])
            )
        ]
    return []


def _lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                sample = json.loads(line)
                missing = {"doc_id", "doc_hash", "filter", "metrics", "filtered_resps"} - set(
                    sample
                )
            except (ValueError, TypeError) as error:
                raise HarnessError(f"{file}, line {number}: not a JSON object: {error}") from error
            if missing:
                raise HarnessError(
                    f"{file}, line {number}: lacks {', '.join(sorted(missing))}; not a file that "
                    "lm_eval --log_samples writes"
                )
            yield number, sample


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _kinds(answers: Any) -> set[str]:
    """What kinds of score the answers are; lm-eval has turned what they hold into texts."""
    scored = [answer for answer in answers if isinstance(answer, list) and len(answer) >= 2]
    told = [_KIND.search(str(answer[2])) if len(answer) > 2 else None for answer in scored]
    return {kind[1] if kind else LIKELIHOOD for kind in told}


def _prompt(sample: dict[str, Any]) -> Any:
    """What a sample asks: messages or a text; where its document does not say, what was sent."""
    doc = sample.get("doc")
    prompt = doc.get("prompt") if isinstance(doc, dict) else None
    if isinstance(prompt, str | list):
        return prompt
    sent = sample.get("arguments")
    return sent.get("gen_args_0", {}).get("arg_0", "") if isinstance(sent, dict) else ""


def _beginning(prompt: Any, length: int = 100) -> str:
    """Of the last turn, on one line."""
    if isinstance(prompt, list) and prompt and isinstance(prompt[-1], dict):
        prompt = prompt[-1].get("content")
    return " ".join(str(prompt).split())[:length]
