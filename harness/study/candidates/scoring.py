# SPDX-License-Identifier: Apache-2.0
"""One candidate scored on all tasks, in a process that ends and gives its memory back."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dogerm_plugin.files.atomic import write_text
from harness.errors import told_in_one_line
from harness.runs.source import HOOKS
from harness.study.candidates import tasks
from harness.study.candidates.config import Study
from harness.study.remembering import Remembering
from harness.study.store import Store

PLACE, FACTS = "report", "facts.json"
# What gives scores: the hooks bring the models and the tasks.
SCORED_BY = (*HOOKS, "harness.study.candidates.scoring")


def main() -> None:
    """Score what the JSON file that is the only argument says; what is there already is kept."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with told_in_one_line():
        score(job, Path(sys.argv[1]).parents[1])


def score(job: Mapping[str, Any], out: Path) -> None:
    """Load the model if need be, score what is not there yet, and keep it as runs of lm-eval.

    Args:
        job: of `harness.study.candidates.steps`.
        out: the study's folder.

    Raises:
        HarnessError: the model can't be loaded, or a row can't be scored.
    """
    from harness.runs.quiet import quiet
    from harness.study.evaluate import evaluate

    study = Study.model_validate(job["study"])
    folder = out / job["output"]
    store = Store(folder, job["made_with"])
    try:
        for line in store.news():
            print(line, flush=True)
        model: Any = None
        asked: Any = None
        with quiet():
            for rows in tasks.load_reported(study):
                data = rows.digest()
                if store.has(PLACE, rows.name, data):
                    continue
                if model is None:
                    (folder / FACTS).unlink(missing_ok=True)  # of what was there before
                    model = _loaded(job)
                    asked = Remembering(model) if _answers_conversations(model) else model
                about = {"model": job["model"], "model_args": job["model_args"]}
                done = evaluate(
                    asked,
                    rows,
                    about,
                    told_as=job["told"],
                    chat_template=job["apply_chat_template"],
                )
                with store.writing(PLACE, rows.name, data) as partial:
                    for name, content in done.files.items():
                        (partial / name).write_bytes(content)
            if model is None and not (folder / FACTS).exists():  # killed right before its end
                model = _loaded(job)
        if model is not None:
            write_text(folder / FACTS, json.dumps(sizes(model)) + "\n")
    finally:
        store.close()


def _answers_conversations(model: Any) -> bool:
    """Whether an equal conversation of another task is answered as it was in the first.

    DSP's domains, for one, ask for the same five. Not so of a router, which a row's other columns
    may move, and of models that are not this project's: to them a blank before an answer matters,
    which a conversation has not.
    """
    from harness.models.routing.routed_lm import RoutedLM

    return getattr(model, "KEEPS_ANSWERS", False) and not isinstance(model, RoutedLM)


def _loaded(job: Mapping[str, Any]) -> Any:
    """The model as `lm_eval --model MODEL --model_args ...` makes it."""
    import lm_eval.models  # noqa: F401  (they register themselves)
    from lm_eval.api.registry import get_model

    arguments = dict(job["model_args"])
    device = arguments.pop("device", "cuda:0")  # as the command's own; without a GPU the CPU
    more = {"batch_size": job["batch_size"], "max_batch_size": None, "device": device}
    return get_model(job["model"]).create_from_arg_obj(arguments, more)


def sizes(model: Any) -> dict[str, int]:
    """How many parameters are in memory, and how many of them an answer takes.

    Args:
        model: an lm-eval model.

    Returns:
        ``stored`` and ``active``; nothing where the model is not in this process. A routed model
        has one expert work on a row, a mixture some on a token.
    """
    from dogerm_plugin.run.experts import parameters

    networks = list(_networks(model, 0, set()))
    counted = {id(p): p.numel() for network in networks for p in network.parameters()}
    stored = sum(counted.values())
    if not stored:
        return {}
    info = model.get_model_info()
    members = [int(one.get("model_num_parameters") or 0) for one in info.get("members") or ()]
    if "model_num_parameters" in info and members and sum(members) <= stored:  # routed
        return {"stored": stored, "active": stored - sum(members) + max(members)}
    idle, within = 0, set[int]()
    # a body that a model has, too, is no second one
    for network in sorted(networks, key=lambda one: -sum(p.numel() for p in one.parameters())):
        own = {id(p) for p in network.parameters()}
        if own <= within:
            continue
        within |= own
        try:
            count = parameters.count(network)
        except parameters.NotSparseError:
            continue
        idle += count.total - count.active
    return {"stored": stored, "active": stored - idle}


def _networks(value: Any, depth: int, seen: set[int]) -> Iterator[Any]:
    """The networks of an lm-eval model and of the models and parts in it."""
    import torch

    if id(value) in seen or depth > 5:
        return
    seen.add(id(value))
    if isinstance(value, torch.nn.Module):
        yield value
    elif isinstance(value, list | tuple | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _networks(one, depth + 1, seen)
    elif type(value).__module__.partition(".")[0] in ("harness", "lm_eval", "dogerm_plugin"):
        for one in getattr(value, "__dict__", {}).values():
            yield from _networks(one, depth + 1, seen)
