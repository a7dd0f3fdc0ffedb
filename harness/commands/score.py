# SPDX-License-Identifier: Apache-2.0
"""The command line of `dogerm score`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands import options
from harness.errors import HarnessError, told_in_one_line
from harness.models import NAMES

if TYPE_CHECKING:
    from harness.models.row_files.finish import Outcome


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("data", metavar="DATA")
@options.output("The file to write: .jsonl or .parquet.", required=True)
@click.option("--column", metavar="NAME", help="The column to add (default: reward).")
@click.option(
    "--columns",
    metavar="YAML",
    help="Your columns' names: '{prompt: question, response: answer}'; also responses, messages, "
    "chosen, rejected, system, tools, documents.",
)
@click.option("--best-of", is_flag=True, help="Write each prompt's best response only.")
@click.option("--threshold", type=float, help="Write rows of at least this reward (pairs: margin).")
@click.option("--top", type=click.IntRange(1), help="Write so many rows, the best.")
@click.option(
    "--calibration",
    type=options.NEW_FILE,
    metavar="FILE",
    help="Write the mean and standard deviation of all rewards, for RewardFunction(calibration=).",
)
@click.option(
    "--model",
    "kind",
    type=click.Choice(sorted(NAMES)),
    default="reward",
    show_default=True,
    help="As lm_eval's.",
)
@click.option(
    "--model_args",
    "--model-args",
    default="",
    help="As lm_eval's, without pretrained: dtype=bfloat16,max_length=4096.",
)
@click.option(
    "--batch_size", "--batch-size", default="auto", show_default=True, help="As lm_eval's."
)
@click.option("--split", default="train", show_default=True, help="Of a data set on the Hub.")
@click.option("--name", help="A configuration of a data set on the Hub.")
@click.option("--limit", type=click.IntRange(1), help="Read so many rows at most.")
@click.option("--allow-markup", is_flag=True, help="Special tokens may stand in texts.")
@click.option("--overwrite", is_flag=True, help="Replace an output that is there.")
@click.option("--ray", metavar="ADDRESS", help="Score on Ray: local, auto, or a cluster's address.")
@click.option("--workers", type=click.IntRange(1), help="How many Ray workers.")
def score(model: str, data: str, **given: Any) -> None:
    """Add rewards by MODEL to the rows of DATA.

    DATA is a file (.jsonl, .json, .csv, each also .gz or .zst, or .parquet) or a data set on the
    Hub. A row holds prompt and response, prompt and responses, messages, or chosen and rejected. A
    killed run goes on where it was. The exit status is 1 where a row could not be scored.

    \b
      dogerm score merged/ rows.jsonl -o scored.jsonl
      dogerm score merged/ rows.jsonl -o best.parquet --best-of --top 10000
      accelerate launch -m harness score merged/ rows.parquet -o scored.parquet
    """
    with told_in_one_line():
        outcome = _score(model, data, **given)
    if outcome is None:
        return
    if given["calibration"] is not None:
        with told_in_one_line():
            _write_scale(outcome, given["calibration"])
    options.say(_told(outcome, given["output"]))
    for line in outcome.named:
        options.say(f"  {line}")
    if outcome.bad > len(outcome.named):
        options.say(f"  and {outcome.bad - len(outcome.named)} more")
    sys.exit(1 if outcome.bad else 0)


def _score(model: str, data: str, **given: Any) -> Outcome | None:
    import yaml

    from harness.models.row_files import run
    from harness.models.row_files.forms import Names
    from harness.models.row_files.loading import Wanted
    from harness.models.row_files.order import Order
    from harness.models.row_files.selection import Filter
    from harness.rows.source import Source

    try:
        columns = yaml.safe_load(given["columns"] or "null")
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise HarnessError(f"--columns is {given['columns']!r}, no YAML: {reason}") from error
    order = Order(
        Source(data, given["split"], given["name"]),
        Wanted(
            model,
            given["kind"],
            options.model_arguments(given["model_args"]),
            options.batch_size(given["batch_size"]),
        ),
        given["output"],
        Names.of(columns),
        given["column"],
        given["allow_markup"],
        Filter(given["best_of"], given["threshold"], given["top"]),
        given["overwrite"],
        given["limit"],
    )
    _refuse_taken(data, given["output"], given["calibration"])
    if given["ray"] is None:
        if given["workers"] is not None:
            raise HarnessError("--workers is for --ray local or --ray auto")
        return run.score(order, options.say)
    from harness.models.row_files import workers

    return workers.score(order, given["ray"], given["workers"], options.say)


def _refuse_taken(data: str, output: Path, calibration: Path | None) -> None:
    """Refuse to write the scale over the rows, before anything is scored."""
    for name, file in (("output", output), ("input", Path(data).expanduser())):
        if calibration is not None and calibration.resolve() == file.resolve():
            raise HarnessError(f"--calibration {calibration} is the {name}; name another file")


def _write_scale(outcome: Outcome, path: Path) -> None:
    import json

    from harness.runs.atomic import write_text

    if outcome.within_row:
        raise HarnessError(
            f"{path} is not written: rewards of this model compare within a row alone (ranks, or "
            "experts without a calibration), so they have no mean"
        )
    if outcome.mean is None or not outcome.std:
        raise HarnessError(f"{path} is not written: the rewards are all alike, or there are none")
    write_text(path, json.dumps({"mean": outcome.mean, "std": outcome.std}) + "\n")


def _told(outcome: Outcome, output: Path) -> str:
    parts = [f"{output}: {outcome.written} of {outcome.rows} rows"]
    if outcome.mean is not None:
        parts.append(f"all rewards: mean {outcome.mean:.4g}, standard deviation {outcome.std:.4g}")
    if outcome.truncated:
        parts.append(f"conversations too long, which lost their beginning: {outcome.truncated}")
    if outcome.empty:
        parts.append(f"empty responses, scored as they are: {outcome.empty}")
    if outcome.bad:
        parts.append(f"without a reward: {outcome.bad}, see {outcome.error_column}:")
    return "; ".join(parts)
