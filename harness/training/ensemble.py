# SPDX-License-Identifier: Apache-2.0
"""`dogerm train reward --ensemble K`: the LoRA ensemble of arXiv 2401.16635.

out/1, out/2, ...    adapters with a head each, for `--model reward-ensemble` with adapters=

Each has a random start and an order of the rows of its own: the seeds `training.seed`, and the
numbers after it. The paper starts them from a trunk that was trained for reward before; an exported
reward model as `model` does that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.errors import HarnessError
from harness.training import folder as runs
from harness.training.config import Config
from harness.training.figures import read_figures
from harness.training.reward import train_reward


def train_ensemble(
    config: Config, count: int, output: Path, data_folder: Path, model_folder: str | None = None
) -> dict[str, Any]:
    """Train what is not finished yet, one member after the other; return their figures by name.

    Raises:
        HarnessError: whole models are to be trained, or see the message.
    """
    if config.lora is None:
        raise HarnessError("`lora: null` trains a whole model, and --ensemble trains adapters")
    names = [str(number + 1) for number in range(count)]
    if output.exists():
        there = [path.name for path in output.iterdir() if path.name[0] != "."]
        strange = [name for name in there if name not in names]
        if strange:
            raise HarnessError(
                f"{output} holds {strange[0]}, which is none of the {count} members: choose "
                "another folder"
            )
    figures: dict[str, Any] = {}
    for number, name in enumerate(names):
        click.echo(f"member {name} of {count}", err=True)
        seeded = {"seed": config.training.seed + number}
        own = config.model_copy(update={"training": config.training.model_copy(update=seeded)})
        try:
            figures[name] = train_reward(own, output / name, data_folder, model_folder)
        except runs.FinishedError:
            click.echo(f"member {name}: finished already", err=True)
            figures[name] = read_figures(output / name)
        except HarnessError as error:
            raise HarnessError(f"member {name}: {error}") from error
    return figures
