# SPDX-License-Identifier: Apache-2.0
"""The command line of `dogerm check`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from harness.errors import HarnessError, told_in_one_line

# Columns whose values may be sections: short texts or numbers, of which few differ.
LONGEST_NAME = 40
MOST_NAMES = 200


@click.command()
@click.argument("data", metavar="DATA")
@click.option(
    "--columns",
    metavar="YAML",
    help="As in a task's YAML: '{prompt: question, chosen: good, rejected: bad}'.",
)
@click.option("--model", metavar="MODEL", help="Render the rows as this model's tokenizer does.")
@click.option("--chat-template", metavar="NAME", help="As chat_template= of --model_args.")
@click.option("--split", default="test", show_default=True, help="Of a data set on the Hub.")
@click.option("--name", help="A configuration of a data set on the Hub.")
@click.option("--limit", type=click.IntRange(1), help="Read so many rows at most.")
def check(data: str, **given: Any) -> None:
    """Say what a file of preferences holds, and what a task would make of it.

    DATA is a file (.jsonl, .json, .csv, each also .gz or .zst, or .parquet), a data set on the Hub,
    or the YAML of a task. The exit status is 0 where a task would take all rows.
    """
    with told_in_one_line():
        fits = _check(data, **given)
    sys.exit(0 if fits else 1)


def _check(
    data: str,
    columns: str | None,
    model: str | None,
    chat_template: str | None,
    split: str,
    name: str | None,
    limit: int | None,
) -> bool:
    from harness.check import page
    from harness.check.source import of_yaml
    from harness.check.survey import Survey
    from harness.rows.source import Source

    is_yaml = Path(data).suffix in (".yaml", ".yml")
    source = of_yaml(Path(data)) if is_yaml else Source(data, split, name)
    rows = source.rows()
    stopped = None
    survey: Survey | None = None
    seen = _model(model, chat_template, source.allow_markup)
    values: dict[str, Counter[str]] = {}
    try:
        for number, (place, row) in enumerate(rows):
            if limit is not None and number == limit:
                break
            if survey is None:
                survey = _survey(row, columns, source.columns)
            _note_values(row, values)
            both = survey.see(place, row)
            if seen is not None and both:
                seen.see(place, both[:1] if survey.one_answer else both)
        if survey is not None:
            survey.passed.refuse_missing()
    except HarnessError as error:
        if survey is None:
            raise
        stopped = str(error)
    if survey is None:
        raise HarnessError(f"{data} holds no rows; expected pairs to compare")
    for line in page.lines(source, survey, seen, stopped):
        click.echo(line)
    faults = survey.misfits.rows + (seen.faults() if seen is not None else 0)
    fits = not faults and stopped is None
    if survey.one_answer:
        click.echo("An entry of `data` for it, in a configuration of `dogerm train sft`:")
        click.echo(page.training_entry(source, survey.columns))
        said = "`dogerm train sft` takes" if fits else "`dogerm train sft` would not take"
        click.echo(f"\n{said} this file: one answer a row, in {survey.columns.chosen}.")
        return fits
    click.echo("A task for it, as a .yaml file beside it:" if source.is_file else "A task for it:")
    for line in page.task_yaml(source, survey.columns, source.allow_markup):
        click.echo(line)
    used = {name for name in survey.columns[:-1] if name is not None}
    hint = page.section_hint(survey, {k: v for k, v in values.items() if k not in used})
    if hint and survey.columns.section is None:
        click.echo(f"  # {hint}")
    click.echo()
    if fits:
        click.echo("A task takes this file.")
        if seen is None:
            click.echo("Not looked at without --model: chat markup, the chat template, length.")
    else:
        rows_told = f"{faults} rows" if faults != 1 else "one row"
        click.echo(
            "A task would not take this file: "
            + (f"{rows_told} do not fit" if faults else "it can't be read to its end")
            + "; see above."
        )
    return fits


def _survey(row: Mapping[str, Any], given: str | None, of_task: Any) -> Any:
    """How to read rows that look like the first one."""
    from harness.check import guess
    from harness.check.survey import Survey
    from harness.rows.columns import Columns

    if given is not None or of_task is not None:
        return Survey(Columns.of(_mapping(given) if given is not None else of_task))
    names = [str(name) for name in row]
    columns = guess.pair_columns(names)
    if columns is not None:
        return Survey(columns)
    answer = guess.answer_column(names)
    if answer is None:
        raise HarnessError(
            f"no columns chosen and rejected (there are: {', '.join(names)}); name them, as in "
            "--columns '{prompt: question, chosen: good, rejected: bad}'"
        )
    prompt = next((key for key in guess.PROMPTS if key in names and key != answer), None)
    return Survey(Columns(prompt, answer, answer), one_answer=True)


def _mapping(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise HarnessError(f"--columns is {text!r}, which is no YAML: {reason}") from error


def _model(name: str | None, chat_template: str | None, allow_markup: bool) -> Any:
    if name is None:
        if chat_template is not None:
            raise HarnessError("--chat-template is a model's: name it with --model")
        return None
    from harness.check.model import SeenByModel

    return SeenByModel(name, chat_template, allow_markup)


def _note_values(row: Mapping[str, Any], values: dict[str, Counter[str]]) -> None:
    """Count the values of columns that may hold sections."""
    for name, value in row.items():
        counts = values.setdefault(str(name), Counter())
        if len(counts) < MOST_NAMES:
            short = isinstance(value, str | int) and len(str(value)) <= LONGEST_NAME
            counts[str(value) if short else f"row {sum(counts.values())}"] += 1
