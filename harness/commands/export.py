# SPDX-License-Identifier: Apache-2.0
"""The command line of `dogerm export`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from harness.commands.options import FILE, FOLDER, NEW_FOLDER, output
from harness.errors import told_in_one_line


@click.command()
@click.argument("model", metavar="MODEL", type=FOLDER)
@click.option(
    "--for",
    "name",
    required=True,
    metavar="NAME",
    help="transformers, trl, vllm, sglang, openrlhf, verl or nemo-rl.",
)
@click.option(
    "--calibration",
    type=FILE,
    help="For openrlhf: the mean and deviation of the rewards, as `dogerm score` takes them.",
)
@output("Folder for the copy.", to=NEW_FOLDER, required=True)
def export(model: Path, name: str, calibration: Path | None, output: Path) -> None:
    """Write a reward model as a trainer or server reads it.

    MODEL is the folder of a reward model. No weight changes: keys of config.json do, and names. The
    files of which nothing changes are hard links. `dogerm doctor --model MODEL` says who needs it.
    """
    from harness.check.consumers import declared
    from harness.check.consumers import export as exporting
    from harness.models.reward_function import read_scale
    from harness.runs.quiet import quiet

    with told_in_one_line(), quiet():
        consumer = declared.consumer(name)
        scale = None if calibration is None else read_scale(calibration)
        answer, changed = exporting.export(consumer, model, output, scale)
    for one in changed or ["nothing: it was right as it was"]:
        click.echo(f"changed: {one}")
    state = f"{answer.state}: {answer.why}" if answer.why else str(answer.state)
    click.echo(f"{consumer.title}: {state}")
    click.echo(consumer.command.format(model=shlex.quote(str(output))))
