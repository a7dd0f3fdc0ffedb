# SPDX-License-Identifier: Apache-2.0
"""One model on one task by lm-eval's own evaluator, as the files of an lm-eval run.

So official scores and standard errors are lm-eval's, and whatever reads its runs (dogerm compare,
dogerm bon plot) reads these. A sample keeps what those read: rewards, metrics, the beginning of the
prompt and a digest of all of it; not the texts, which are the same at every point.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from harness.compare.samples import ASKED, asked_by
from harness.errors import at
from harness.runs.quiet import at_level
from harness.study import machine
from harness.study.rows import Rows

PROMPT = 100  # characters
# Of the model's life so far, not of this run.
_COUNTERS = ("scored_rows", "truncated_rows")


@dataclass(frozen=True)
class Evaluation:
    """What lm-eval's evaluator gives for one model on one task or group.

    Attributes:
        results: of a results file.
        files: name -> content: ``results_<date>.json`` and ``samples_<task>_<date>.jsonl``.
    """

    results: dict[str, Any]
    files: dict[str, bytes]


def evaluate(
    model: Any,
    rows: Rows,
    about: Mapping[str, Any],
    *,
    told_as: str,
    warn: bool = True,
    chat_template: bool = False,
) -> Evaluation:
    """Score the rows of a task or group by lm-eval's evaluator.

    Args:
        model: an lm-eval model.
        rows: what to score.
        about: the run's ``config``: model, arguments, the point.
        told_as: what is scored, for messages.
        warn: let lm-eval's warnings through; they are the same at every point.
        chat_template: as lm-eval's ``--apply_chat_template``.

    Raises:
        HarnessError: a row can't be scored; the message has the point.
    """
    from lm_eval.evaluator import evaluate as run
    from lm_eval.utils import handle_non_serializable

    began = datetime.now()
    level = logging.WARNING if warn else logging.ERROR
    with at_level("lm_eval", level), at(told_as):
        results: Any = run(model, rows.loaded, log_samples=True, apply_chat_template=chat_template)
    samples = results.pop("samples")
    date = began.isoformat().replace(":", "-")
    info = _plain(model.get_model_info()) if hasattr(model, "get_model_info") else {}
    results["config"] = {**info, **about, "peak_memory": machine.peak_memory()}
    results["date"] = began.timestamp()
    results["total_evaluation_time_seconds"] = str((datetime.now() - began).total_seconds())
    files = {}
    for leaf, answered in samples.items():
        lines = (
            json.dumps(_slim(sample), ensure_ascii=False, default=handle_non_serializable)
            for sample in answered
        )
        files[f"samples_{leaf}_{date}.jsonl"] = "".join(f"{line}\n" for line in lines).encode()
    text = json.dumps(results, indent=1, ensure_ascii=False, default=handle_non_serializable)
    files[f"results_{date}.json"] = f"{text}\n".encode()
    return Evaluation(json.loads(text), files)


def _slim(sample: dict[str, Any]) -> dict[str, Any]:
    from lm_eval.utils import sanitize_list

    prompt = sample["arguments"][0][0] if sample["arguments"] else ""
    asked = asked_by(sample)  # many prompts begin alike
    sample = {k: v for k, v in sample.items() if k not in ("doc", "arguments", "resps", "target")}
    sample["doc"] = {"prompt": " ".join(str(prompt).split())[:PROMPT]}
    sample[ASKED] = asked
    sample["filtered_resps"] = sanitize_list(sample["filtered_resps"])  # as lm-eval writes it
    return sample


def _plain(info: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in info.items()
        if name not in _COUNTERS
        and (
            isinstance(value, str | int | bool | None)
            or (isinstance(value, float) and math.isfinite(value))
        )
    }
