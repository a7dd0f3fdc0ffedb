# SPDX-License-Identifier: Apache-2.0
"""What a step was made with, and whether what it made is still that.

A step's record lies outside its folder, which belongs to the command that fills it. It is written
before the command starts and again when it has come to its end; a folder without the first is
moved away, and a command that was killed goes on in its own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from dogerm_plugin.files import digests
from dogerm_plugin.files.atomic import write_text
from harness.errors import HarnessError
from harness.runs.identity import differences

_LONGEST = 1000  # characters of a text that may be a path


class Record:
    """The record of a step, ``steps/NAME.json``.

    Args:
        out: the study's folder.
        name: of the step.
    """

    def __init__(self, out: Path, name: str) -> None:
        self._file = out / "steps" / f"{name}.json"
        self._earlier = out / "earlier"
        self._name = name

    def read(self) -> dict[str, Any]:
        """Its content; empty where there is none, or a kill left it unreadable."""
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def is_finished(self, made_with: Mapping[str, str], output: Path) -> bool:
        """Whether the step has come to its end with the same things."""
        content = self.read()
        return (
            content.get("made_with") == made_with
            and "seconds" in content
            and (output.is_dir() and any(output.iterdir()))
        )

    def changed(self, made_with: Mapping[str, str]) -> list[str]:
        """What is not as it was when the step began last, a few words each."""
        before = self.read().get("made_with")
        return differences(before, made_with) if before else []

    def begin(self, made_with: Mapping[str, str], output: Path, *, keeps: bool) -> None:
        """Note what a step is made with; what its folder holds of another is moved away.

        Args:
            made_with: part -> its text or digest.
            output: the folder.
            keeps: its command knows what is in it, and sees to that itself.
        """
        if output.exists() and not keeps and self.read().get("made_with") != made_with:
            aside = self._earlier / self._name
            shutil.rmtree(aside, ignore_errors=True)
            aside.parent.mkdir(parents=True, exist_ok=True)
            output.rename(aside)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_text(self._file, json.dumps({"made_with": made_with}, indent=1) + "\n")

    def finish(self, made_with: Mapping[str, str], seconds: float) -> None:
        """Note that a step has come to its end.

        Args:
            made_with: as `begin` was given.
            seconds: that it took, here.
        """
        content = {"made_with": made_with, "seconds": round(seconds, 1)}
        write_text(self._file, json.dumps(content, indent=1) + "\n")


def files_of(value: Any, folder: Path) -> dict[str, str]:
    """The files and models that settings name, where they are on this machine: name -> digest.

    Args:
        value: texts, lists and mappings; what a YAML file among them names counts, too.
        folder: where relative names start.
    """
    found: dict[str, str] = {}
    for text in sorted(set(_texts(value))):
        path = folder / Path(text).expanduser()
        if not _is_there(path):
            continue
        found[f"file {text}"] = _digest(path)
        if path.suffix in (".yml", ".yaml"):
            found |= files_of(_content(path), path.parent)
    return found


def read_yaml(path: Path) -> Any:
    """The content of a recipe or a config.

    Raises:
        HarnessError: it can't be read, or is no YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path}: not YAML: {' '.join(str(error).split())}") from error


def _content(path: Path) -> Any:
    """Of a task's YAML, which names functions, nothing: its rows count by themselves."""
    try:
        return read_yaml(path)
    except HarnessError:
        return None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if len(value) <= _LONGEST and value.strip() and "\n" not in value and "${" not in value:
            yield value
            for mark in ";+=":
                parts = value.split(mark)
                if len(parts) > 1:
                    yield from (part for part in map(str.strip, parts) if part)
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long for a path
        return False


@cache
def _digest(path: Path) -> str:
    if path.is_file():
        return digests.of_file(path)
    files = {*digests.parts(path), *path.glob("*.yml"), *path.glob("*.yaml")}
    return digests.of_text(repr(sorted((f.name, digests.of_file(f)) for f in files)))
