# SPDX-License-Identifier: Apache-2.0
"""One model on one task by lm-eval's own evaluator, kept in the files of an lm-eval run.

So official scores and standard errors are lm-eval's, and whatever reads its runs (dogerm compare,
dogerm bon plot) reads these. A sample keeps what those read: rewards, metrics, the beginning of the
prompt; not the texts, which are the same for every weight.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.sweep.rows import Rows

PROMPT = 100  # characters
# Of the model's life so far, not of this run.
_COUNTERS = ("scored_rows", "truncated_rows")


def evaluate(
    model: Any,
    rows: Rows,
    about: Mapping[str, Any],
    peak_memory: Callable[[], int],
    folder: Path,
    *,
    warn: bool = True,
) -> None:
    """Score the rows, and write ``results_<date>.json`` and ``samples_<task>_<date>.jsonl``.

    Args:
        model: an lm-eval model.
        rows: what to score.
        about: the run's ``config``: model, arguments, weights.
        peak_memory: in bytes; asked when the rows are scored.
        folder: where to; it exists.
        warn: let lm-eval's warnings through; they are the same for every weight.

    Raises:
        HarnessError: a row can't be scored; the message has the weights.
    """
    from lm_eval.evaluator import evaluate as run
    from lm_eval.utils import handle_non_serializable

    began = datetime.now()
    with _told(logging.WARNING if warn else logging.ERROR):
        try:
            results: Any = run(model, rows.loaded, log_samples=True)
        except HarnessError as error:
            raise HarnessError(f"merged with weights {about['weights']}: {error}") from error
    samples = results.pop("samples")
    date = began.isoformat().replace(":", "-")
    info = _plain(model.get_model_info())
    results["config"] = {**info, **about, "peak_memory": peak_memory()}
    results["date"] = began.timestamp()
    results["total_evaluation_time_seconds"] = str((datetime.now() - began).total_seconds())
    for leaf, found in samples.items():
        lines = (
            json.dumps(_slim(sample), ensure_ascii=False, default=handle_non_serializable)
            for sample in found
        )
        path = folder / f"samples_{leaf}_{date}.jsonl"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    text = json.dumps(results, indent=1, ensure_ascii=False, default=handle_non_serializable)
    (folder / f"results_{date}.json").write_text(text + "\n", encoding="utf-8")


def _slim(sample: dict[str, Any]) -> dict[str, Any]:
    from lm_eval.utils import sanitize_list

    prompt = sample["arguments"][0][0] if sample["arguments"] else ""
    sample = {k: v for k, v in sample.items() if k not in ("doc", "arguments", "resps", "target")}
    sample["doc"] = {"prompt": " ".join(str(prompt).split())[:PROMPT]}
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


@contextmanager
def _told(level: int) -> Iterator[None]:
    logger = logging.getLogger("lm_eval")
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
