"""The output folder of a run: whose run it is, where its checkpoints are, whether it is finished.

out/run.json        the configuration as used, and what the run is made with
out/checkpoints/    removed when the run is finished
out/adapter_model.safetensors, adapter_config.json, figures.json, figures.png
or, of a run that ends in a whole model, that in place of the adapter; config.json comes last
"""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import click

from dogerm_plugin.files import digests
from harness.errors import HarnessError
from harness.runs import identity

_RUN = "run.json"
_DATA = "training data"
_LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "peft", "jinja2", "trl")
ADAPTER = "adapter_model.safetensors"
WHOLE_MODEL = "config.json"
FIGURES = "figures.json"
_GENERATED = b"generated_from_trainer"  # a tag of the model cards that trainers write


class FinishedError(HarnessError):
    """The folder holds this very run, finished: what it gave is there to read."""


def made_with(module: str, training_ids: list[list[int]]) -> dict[str, str]:
    """What makes two runs the same beside their settings: code, versions, every trained token.

    Args:
        module: whose loop trains.
        training_ids: of all rows.
    """
    data = sha256()
    for ids in training_ids:
        data.update(repr(ids).encode())
    return {
        "kind of training": module.rpartition(".")[2],
        _DATA: data.hexdigest(),
        **identity.software(_LIBRARIES),
        **identity.code(module),
    }


def of_model(source: str) -> dict[str, str]:
    """What a run is made with of the model that it starts from; nothing of a Hub id."""
    folder = Path(source)
    return {"model's files": digests.of_model(folder)} if folder.is_dir() else {}


def claim(folder: Path, settings: dict[str, Any], made_with: dict[str, str]) -> None:
    """Make `folder` this run's own; what this very run has left there stays.

    Args:
        folder: need not exist.
        settings: the configuration.
        made_with: see `made_with`.

    Raises:
        HarnessError: the folder holds another run, or things that are no run, or can't be written.
    """
    record = folder / _RUN
    if record.is_file():
        earlier = _read(record)
        before = earlier.get("settings", {}), earlier.get("made_with", {})
        if before != (json.loads(json.dumps(settings)), made_with):
            raise HarnessError(
                f"{folder} holds a run with another configuration or other data "
                f"({_difference(before[0], settings) or _other(before[1], made_with)}): choose "
                "another folder or remove it"
            )
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise HarnessError(f"{folder} is not empty and holds no run: choose another folder")
    content = {"made_with": made_with, "settings": settings}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise HarnessError(
            f"{folder} can't be written ({error.strerror}): choose another folder with -o"
        ) from error


def to_go_on_from(folder: Path, result: str = ADAPTER) -> Path | None:
    """The checkpoint of a claimed folder that a run goes on from, which it tells; None: at 0.

    Args:
        folder: the run's own.
        result: the file that a run saves last but for its figures.

    Raises:
        FinishedError: the run has come to its end.
    """
    if (folder / result).is_file() and (folder / FIGURES).is_file():
        raise FinishedError(f"{folder}: this run is finished already")
    checkpoint = last_checkpoint(folder)
    if checkpoint is not None:
        click.echo(f"going on from {checkpoint.name}", err=True)
    return checkpoint


def checkpoints(folder: Path) -> Path:
    """Where the trainer keeps its checkpoints."""
    return folder / "checkpoints"


def remove_checkpoints(folder: Path) -> None:
    """Drop the checkpoints of a finished run; what else was put there stays."""
    kept = checkpoints(folder)
    for path in kept.glob("checkpoint-*"):
        if path.name.removeprefix("checkpoint-").isdecimal():
            shutil.rmtree(path, ignore_errors=True)
    card = kept / "README.md"  # the trainer's own, beside its checkpoints
    if card.is_file() and _GENERATED in card.read_bytes():
        card.unlink()
    if kept.is_dir() and not any(kept.iterdir()):
        kept.rmdir()


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint: a kill may have left the last one half-written."""
    complete = [
        path
        for path in checkpoints(folder).glob("checkpoint-*")
        if path.name.removeprefix("checkpoint-").isdecimal()
        and (path / "optimizer.pt").is_file()
        and _is_whole(path / "trainer_state.json")
    ]
    return max(complete, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _is_whole(trainer_state: Path) -> bool:
    """Whether the file that the trainer writes last (`Trainer._save_checkpoint`) is there in full.

    It is written in place: a kill at the wrong moment leaves it empty or cut.
    """
    try:
        return isinstance(json.loads(trainer_state.read_text(encoding="utf-8")), dict)
    except (OSError, ValueError):
        return False


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise HarnessError(f"{path} is damaged: remove its folder to start again") from error
    return content if isinstance(content, dict) else {}


def _other(before: dict[str, str], now: dict[str, str]) -> str:
    """What else than the settings differs: the data alone, if they do."""
    if not before:
        return "of an earlier version of dogerm"
    if before.get(_DATA) != now[_DATA]:
        return "other data"
    return "; ".join(identity.differences(before, now))


def _difference(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> str | None:
    for key in sorted(set(old) | set(new)):
        one, other = old.get(key), new.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            inner = _difference(one, other, f"{prefix}{key}.")
            if inner is not None:
                return inner
        elif json.dumps(one) != json.dumps(other):
            shown = f"`{prefix}{key}` was {json.dumps(one)}, is {json.dumps(other)}"
            return shown if len(shown) < 200 else f"`{prefix}{key}` differs"
    return None
