# SPDX-License-Identifier: Apache-2.0
"""What the reference gives each answer: computed once, with the model as training starts from it.

So no second model is in memory while the first one learns. The sums are kept in the run's folder as
they come, by a digest of their tokens; a run that is killed asks for what is not there yet.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from dogerm_plugin.files.atomic import write_text
from dogerm_plugin.files.digests import of_text
from harness.errors import HarnessError
from harness.training.policy import Answer, AnswerLogProbs

FILE = "reference.jsonl"
_MODEL = "model"  # of the first line: digest of the weights


def reference_log_probs(
    of_start: AnswerLogProbs, answers: Sequence[Answer], folder: Path
) -> list[float]:
    """log pi_ref of each answer, from the run's folder or else computed now.

    Args:
        of_start: by the model as it starts.
        answers: of the run's rows.
        folder: the run's.

    Raises:
        HarnessError: the folder's are of another model, or a sum is not finite.
    """
    file = folder / FILE
    known = _kept(file, _digest(of_start))
    keys = [of_text(repr(answer)) for answer in answers]
    missing = {key: answer for key, answer in zip(keys, answers, strict=True) if key not in known}
    new = list(missing)
    if new:
        more = f", {len(known)} kept" if known else ""
        click.echo(f"reference log-probabilities: {len(new)} answers{more}", err=True)
    with file.open("a", encoding="utf-8") as opened:

        def keep(sums: Mapping[int, float]) -> None:
            for place, value in sums.items():
                if not math.isfinite(value):
                    raise HarnessError(
                        f"the reference gives an answer the log-probability {value}, expected a "
                        "number: the start model's weights overflow; use another `dtype`"
                    )
                known[new[place]] = value
                opened.write(json.dumps({"answer": new[place], "log_prob": value}) + "\n")
            opened.flush()

        of_start(list(missing.values()), keep)
    return [known[key] for key in keys]


def _kept(file: Path, model: str) -> dict[str, float]:
    """The sums of an earlier start; the file has whole lines alone from then on."""
    if not file.is_file():
        write_text(file, json.dumps({_MODEL: model}) + "\n")
        return {}
    text = file.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:  # a kill has cut the last line
        write_text(file, whole)
    try:
        first, *lines = map(json.loads, whole.splitlines())
        before = first[_MODEL]
        sums = {line["answer"]: float(line["log_prob"]) for line in lines}
    except (ValueError, KeyError, TypeError) as error:
        raise HarnessError(f"{file} is damaged: remove it to have it computed again") from error
    if before != model:
        raise HarnessError(
            f"{file} is of a model with other weights than the start model has now: choose another "
            "folder, or remove this one to start again"
        )
    return sums


def _digest(of_start: AnswerLogProbs) -> str:
    """Of the weights, as they are in memory."""
    import torch

    made = hashlib.sha256()
    for module in (of_start.trunk, of_start.head.module):
        for name, tensor in module.state_dict().items():
            made.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            made.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return made.hexdigest()
