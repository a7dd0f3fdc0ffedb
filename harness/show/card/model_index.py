# SPDX-License-Identifier: Apache-2.0
"""The figures as the Hub's model-index metadata."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from huggingface_hub import EvalResult
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from harness.errors import HarnessError
from harness.show.card.figures import Figures

KEY = "model-index"
# Tells this command's entries from those that others wrote, which stay.
TASK_NAME = "Preference evaluation (dogerm card)"
# lm-eval's metrics by the Hub's names, where these differ.
_METRICS = {"acc": "accuracy"}


def eval_results(figures: Sequence[Figures], architecture: str) -> list[EvalResult]:
    """The scores as results of the Hub's, data set by data set.

    RewardBench's own uploader calls the task ``preference_evaluation``, which is no task of the
    Hub's; a reward model is a text classifier there.

    Args:
        architecture: of the model, as in config.json.
    """
    task = "text-generation" if architecture.endswith("ForCausalLM") else "text-classification"
    results = [result for one in figures for result in _eval_results(one, task)]
    return sorted(results, key=lambda result: _order(results, result))


def _order(results: list[EvalResult], result: EvalResult) -> int:
    """The place of the first of its data set: the model-index has each data set once."""
    keys = [other.unique_identifier for other in results]
    return keys.index(result.unique_identifier)


def _eval_results(figures: Figures, task: str) -> Iterator[EvalResult]:
    for score in figures.scores:
        if score.chose:
            continue
        benchmark = figures.benchmarks[score.name]
        error = "" if score.stderr is None else f", standard error {score.stderr:.3f}"
        yield EvalResult(
            task_type=task,
            task_name=TASK_NAME,
            dataset_type=benchmark.id,
            dataset_name=benchmark.id.rpartition("/")[2],
            dataset_config=benchmark.config,
            dataset_split=benchmark.split,
            dataset_args={"data_dir": benchmark.folder} if benchmark.folder else None,
            metric_type=_METRICS.get(score.metric, score.metric),
            metric_name=f"{score.label}: {score.metric} "
            f"({benchmark.items(score.items)} items{error})",
            metric_value=score.value,
        )


def with_results(
    existing: Any, name: str, results: list[EvalResult], where: str
) -> list[dict[str, Any]]:
    """The model-index with these results in place of this command's earlier ones.

    Args:
        existing: the card's model-index; None where it has none.
        name: of the model, where there is no model-index.

    Raises:
        HarnessError: the card's model-index is none.
    """
    new = eval_results_to_model_index(name, results)
    if not existing:
        return new
    try:
        model_index_to_eval_results(existing)
        first, *others = existing
        kept = [entry for entry in first["results"] if entry["task"].get("name") != TASK_NAME]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise HarnessError(
            f"{where}: its model-index can't be read ({error!r}), expected a list of models with "
            "name and results: mend it or remove that key"
        ) from error
    return [{**first, "results": [*kept, *new[0]["results"]]}, *others]
