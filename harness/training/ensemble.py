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

from harness.errors import HarnessError
from harness.training.config import Config
from harness.training.reward import train_reward
from harness.training.several_runs import train_each


def train_ensemble(
    config: Config, count: int, output: Path, data_folder: Path, model_folder: str | None = None
) -> dict[str, Any]:
    """Train what is not finished yet, one member after the other; return their figures by name.

    Raises:
        HarnessError: whole models are to be trained, or see the message.
    """
    if config.lora is None:
        raise HarnessError("`lora: null` trains a whole model, and --ensemble trains adapters")
    configs = {}
    for number in range(count):
        seeded = {"seed": config.training.seed + number}
        own = config.training.model_copy(update=seeded)
        configs[str(number + 1)] = config.model_copy(update={"training": own})
    return train_each(
        lambda own, folder: train_reward(own, folder, data_folder, model_folder),
        "member",
        configs,
        output,
    )
