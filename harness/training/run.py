# SPDX-License-Identifier: Apache-2.0
"""One run of `dogerm train`: the steps that every kind of training by a trainer has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from harness.training import folder as runs
from harness.training.adapter import save_adapter
from harness.training.config import Config
from harness.training.figures import read_figures, write_figures
from harness.training.gather import Part
from harness.training.machine import settle
from harness.training.processes import Processes
from harness.training.trainer import save_model, train, trainer_arguments

Ids = list[dict[str, Any]]


class Training(ABC):
    """What is a kind of training's own.

    `run` calls the methods in the order in which they stand here.

    Attributes:
        kind: its name in figures.json.
        without: section of the config -> why it would have no effect.
        config: of the run.
        data_folder: relative file names start here.
        source: the model to start from: folder or Hub id.
        dtype: that it computes in; as the config has it, until the run is about to begin.
    """

    kind: ClassVar[str]
    without: ClassVar[Mapping[str, str]] = {}

    def __init__(self, config: Config, data_folder: Path, source: str, dtype: str) -> None:
        self.config = config
        self.data_folder = data_folder
        self.source = source
        self.dtype = dtype
        self.training: list[Part] = []
        self.validation: list[Part] = []

    @property
    def whole(self) -> bool:
        """Whether the run ends in a whole model, and not in an adapter."""
        return self.config.lora is None

    @abstractmethod
    def gather(self) -> tuple[list[Part], list[Part]]:
        """Training and validation rows with their token ids."""

    @abstractmethod
    def learned(self, ids: Ids) -> list[list[Any]]:
        """All that is learned of each row, as one list: what tells its data from others."""

    def identity(self) -> dict[str, str]:
        """What else makes two runs the same, beside code, settings and rows."""
        return {}

    @abstractmethod
    def load(self) -> Any:
        """The model; random numbers are drawn from the run's seed."""

    @abstractmethod
    def trainer(self, model: Any, arguments: dict[str, Any], ids: Ids, output: Path) -> Any:
        """A trainer of these rows; `arguments` are those that all of TRL's trainers share."""

    def fit(self, trainer: Any, checkpoint: Path | None) -> float:
        """Train; give the seconds that it took."""
        return train(trainer, checkpoint)

    @abstractmethod
    def figures(self, trainer: Any, ids: Ids, output: Path) -> dict[str, Any]:
        """Validate."""

    def save(self, trainer: Any, output: Path) -> int:
        """Write what was trained; give its bytes."""
        if self.whole:
            return save_model(trainer.model, trainer.processing_class, output)
        return save_adapter(trainer.model, self.config.model, output)


def run(
    kind: Callable[[Config, Path, str, str], Training],
    config: Config,
    output: Path,
    data_folder: Path,
    model_folder: str | None = None,
) -> dict[str, Any]:
    """Claim a folder, gather rows, train, validate, save; return the figures.

    Args:
        kind: of training: its class, or what else makes one.
        config: of the run.
        output: its folder; a killed run in it goes on.
        data_folder: relative file names start here.
        model_folder: where the config's model lies; None takes its name.

    Raises:
        HarnessError: see the message.
    """
    processes = Processes()
    with processes.told_once():
        return _run(kind, config, output, data_folder, model_folder or config.model, processes)


def _run(
    kind: Callable[[Config, Path, str, str], Training],
    config: Config,
    output: Path,
    data_folder: Path,
    source: str,
    processes: Processes,
) -> dict[str, Any]:
    from transformers import set_seed

    batch = processes.share_of(config.training.batch_size)
    one = kind(config, data_folder, source, config.training.dtype)
    for section, why in one.without.items():
        config.refuse(section, why)
    one.dtype = settle(one.dtype)
    one.training, one.validation = one.gather()
    ids = [row for part in one.training for row in part.ids]
    made_with = runs.made_with(type(one).__module__, one.learned(ids)) | {"dtype": one.dtype}
    made_with |= runs.of_model(source) | one.identity()
    processes.first_alone(lambda: runs.claim(output, config.as_dict(), made_with), lambda: None)
    checkpoint = runs.to_go_on_from(output, runs.WHOLE_MODEL if one.whole else runs.ADAPTER)
    set_seed(config.training.seed)
    model = one.load()
    arguments = trainer_arguments(config, runs.checkpoints(output), len(ids), one.dtype, batch)
    trainer = one.trainer(model, arguments, ids, output)
    seconds = one.fit(trainer, checkpoint)
    return processes.first_alone(
        lambda: _finish(one, trainer, seconds, ids, output),
        lambda: read_figures(output),
    )


def _finish(
    one: Training,
    trainer: Any,
    seconds: float,
    ids: Ids,
    output: Path,
) -> dict[str, Any]:
    """Validate and save."""
    history = trainer.state.log_history
    losses = [entry["train_loss"] for entry in history if "train_loss" in entry]
    figures = {
        "kind": one.kind,
        "seconds": round(seconds),  # of this process: a resumed run counts from the checkpoint
        **one.figures(trainer, ids, output),
        "training_rows": {part.name: len(part.rows) for part in one.training},
        "training_loss": losses[-1] if losses else None,
        "bytes": one.save(trainer, output),
    }
    write_figures(output, figures, history)
    runs.remove_checkpoints(output)
    return figures
