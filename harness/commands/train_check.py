# SPDX-License-Identifier: Apache-2.0
"""The command line of `dogerm train check`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness.commands.options import NEW_FILE, NEW_FOLDER
from harness.errors import told_in_one_line


@click.command()
@click.argument("config", type=NEW_FILE)
@click.option(
    "--data",
    "data_folder",
    type=NEW_FOLDER,
    help="Where relative file names start (default: the config's folder).",
)
@click.option("--model", metavar="FOLDER", help="Where the config's model lies on this machine.")
@click.option(
    "--kind",
    type=click.Choice(["reward", "sft"]),
    help="What would be trained (default: as the first source has pairs or not).",
)
@click.option(
    "--against",
    multiple=True,
    metavar="TASK",
    help="Look for its prompts among those that are trained on: a task, group or YAML; several.",
)
def check(
    config: Path,
    data_folder: Path | None,
    model: str | None,
    kind: str | None,
    against: tuple[str, ...],
) -> None:
    """Read all data of a CONFIG as a training would, and say what they hold, without training.

    Of `dogerm train customized`, each stage that has data. The exit status is 0 where all rows
    fit.
    """
    from harness.check.training_data import TrainingData, lines
    from harness.study import rows as tasks
    from harness.training.read_config import read_each
    from harness.training.stages_config import LANGUAGE_MODEL

    fit = True
    with told_in_one_line():
        runs = read_each(config)
        evaluated = {one.name: one.prompts() for one in tasks.load(against, ())} if against else {}
        for stage, settings in runs.items():
            wanted = ("sft" if stage == LANGUAGE_MODEL else "reward") if stage else kind
            source = model or settings.model
            data = TrainingData(settings, wanted, data_folder or config.parent, source)
            if stage:
                click.echo(f"Stage {stage}")
            for line in lines(data, evaluated):
                click.echo(line)
            fit = fit and data.fits
    sys.exit(0 if fit else 1)
