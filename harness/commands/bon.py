# SPDX-License-Identifier: Apache-2.0
"""The command line of `dogerm bon`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click

from harness.commands.options import FILE, FOLDER, output
from harness.errors import HarnessError, told_in_one_line


@click.group()
def bon() -> None:
    """Best-of-N: collect a policy's candidates, and plot what reward models choose.

    \b
      lm_eval --model hf ... --tasks gsm8k_16 --log_samples --output_path policy/
      dogerm bon collect policy/*/samples_*.jsonl --filter flexible-extract \\
        --include-path my_tasks/ -o data/bon_gsm8k.jsonl
      DOGERM_DATA_DIR=data lm_eval --model reward ... --tasks bon_gsm8k --output_path out/
      dogerm bon plot out/ -o bon.png
    """


@bon.command()
@click.argument("samples", nargs=-1, required=True, type=FILE)
@output("The file to write, such as bon_gsm8k.jsonl.", required=True)
@click.option("--filter", metavar="NAME", help="Whose scores to take, where a task has several.")
@click.option("--metric", metavar="NAME", help="The metric that is 1 or 0 (default: the usual).")
@click.option(
    "--prompt",
    metavar="COLUMN",
    help="The question: a column of the data set, or a template such as '{{question}}'.",
)
@click.option("--task", metavar="NAME", help="The task, where a file's name does not say it.")
@click.option("--include-path", type=FOLDER, help="Folder of your own tasks' YAML.")
def collect(
    samples: Sequence[Path],
    output: Path,
    filter: str | None,
    metric: str | None,
    prompt: str | None,
    task: str | None,
    include_path: Path | None,
) -> None:
    """Make a file of candidates from the SAMPLES that lm_eval --log_samples wrote.

    Several runs of one task, each with one response to a question, are joined; their scores are
    taken as they are. One run with several responses (`repeats`) is scored again, one by one, by
    the task's own filters and metric. Files of several tasks make one file with a column subset.
    """
    from harness.bon.collect import rows_of_task, summary, write_rows
    from harness.bon.samples import read_run
    from harness.runs.atomic import make_folder

    with told_in_one_line():
        if output.suffix != ".jsonl":
            raise HarnessError(f"{output}: the file is JSONL, so its name must end with .jsonl")
        if output.resolve() in [path.resolve() for path in samples]:
            raise HarnessError(f"{output} is also one of the inputs; choose another name")
        make_folder(output)
        runs = [read_run(path, task=task, filter=filter, metric=metric) for path in samples]
        rows = []
        for name in dict.fromkeys(run.task for run in runs):
            of_task = [run for run in runs if run.task == name]
            collected = rows_of_task(
                of_task, prompt=prompt, include_path=include_path, progress=_progress
            )
            click.echo(f"{name}, {of_task[0].metric} ({of_task[0].filter}): {summary(collected)}")
            rows += collected
        write_rows(rows, output)
    click.echo(f"{output}: {len(rows)} rows")


def _progress(items: Sequence[int]) -> Iterable[int]:
    """Shows on a terminal how far it is; scoring repeats again can take minutes."""
    if not sys.stderr.isatty():
        return items

    def steps() -> Iterator[int]:
        with click.progressbar(items, label="Scoring", file=sys.stderr) as shown:
            yield from shown

    return steps()


@bon.command()
@click.argument("results", nargs=-1, required=True)
@output("The picture to write: .png, .pdf or .svg.", required=True)
def plot(results: Sequence[str], output: Path) -> None:
    """Draw accuracy against N, and print it, for one or several reward models.

    RESULTS are results_*.json of lm_eval, or folders that have such files; LABEL=RESULTS names the
    model. All models must have been measured on the same file of candidates.
    """
    from harness.bon import curves, show
    from harness.runs.atomic import make_folder
    from harness.show import picture

    with told_in_one_line():
        picture.check_format(output)
        make_folder(output)
        tasks = curves.read_curves(results)
        for task, of_task in tasks.items():
            click.echo(show.table(task, of_task) + "\n")
        show.plot(tasks, output)
    click.echo(output)
