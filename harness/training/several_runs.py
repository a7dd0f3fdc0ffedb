# SPDX-License-Identifier: Apache-2.0
"""Several reward models in one folder, one after the other: of domains, or of an ensemble."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from harness.errors import HarnessError
from harness.models.load.processes import started_processes
from harness.training.config import Config
from harness.training.figures import trained


def train_each(
    train: Callable[[Config, Path], dict[str, Any]],
    word: str,
    configs: Mapping[str, Config],
    output: Path,
    beside: Sequence[str] = (),
) -> dict[str, Any]:
    """Train what is not finished yet; return all figures by name.

    Args:
        train: a run in a folder.
        word: what each is called in messages.
        configs: by the name of its folder.
        output: the folder of all.
        beside: what else may be there.

    Raises:
        HarnessError: `output` holds other things, several processes, or a run's own.
    """
    if started_processes() > 1:
        raise HarnessError(f"each {word} is trained by one process: start it without a launcher")
    if output.exists() and not output.is_dir():
        raise HarnessError(f"{output} is a file: choose another folder")
    there = [path.name for path in output.iterdir()] if output.is_dir() else []
    for name in there:
        if name[0] != "." and name not in (*configs, *beside):
            raise HarnessError(
                f"{output} holds {name}, which is none of the {word}s ({', '.join(configs)}): "
                "choose another folder"
            )
    figures: dict[str, Any] = {}
    for name, config in configs.items():
        click.echo(f"{word} {name}", err=True)
        try:
            figures[name] = trained(
                partial(train, config, output / name), output / name, f"{word} {name}"
            )
        except HarnessError as error:
            raise HarnessError(f"{word} {name}: {error}") from error
    return figures
