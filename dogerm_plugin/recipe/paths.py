# SPDX-License-Identifier: Apache-2.0
"""The folders that a recipe names: `~`, and relative paths as seen from here or from the recipe.

mergekit takes a relative path as seen from the current folder, and so does this project; where
nothing is there, it looks beside the recipe file. What is no folder in either place stays as it is
written: a Hub id, or a mistake that is told later.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from mergekit.common import ModelPath, ModelReference
from mergekit.config import MergeConfiguration
from pydantic import BaseModel

LOG = logging.getLogger("dogerm")

# The keys whose values name a model, anywhere in a recipe.
_KEYS = ("base_model", "model", "lora", "source", "tokenizer_source", "path")
# What tells a folder with a model or an adapter from another one that is called like a Hub id.
_MARKS = ("config.json", "adapter_config.json")
_Parsed = TypeVar("_Parsed")
_FOLDER: ContextVar[Path | None] = ContextVar("folder of the recipe that a command reads")


@contextmanager
def of_file(recipe: str | Path) -> Iterator[None]:
    """While a command works on this recipe file: where its relative paths are looked for too."""
    token = _FOLDER.set(Path(recipe).parent)
    try:
        yield
    finally:
        _FOLDER.reset(token)


def in_configuration(config: MergeConfiguration) -> MergeConfiguration:
    """A recipe with its models' folders as they are found."""
    return in_value(config)


def in_value(value: _Parsed) -> _Parsed:
    """The same for any part of a parsed recipe, such as one model."""
    found: _Parsed = _in_parsed(value, _FOLDER.get(None))
    return found


def in_content(content: Any, folder: Path) -> Any:
    """A recipe's YAML, of a file in `folder`, with its models' folders as they are found."""
    return with_models(content, lambda path, revision: find(path, folder, revision))


def seen_from(content: Any, folder: Path) -> Any:
    """A recipe's YAML, as `in_content` gives it, for a file in `folder`: local paths lead there."""
    return with_models(content, lambda path, _: from_folder(path, folder))


def from_folder(path: str, folder: Path) -> str:
    """A folder that is there as it is reached from another one; a Hub id as it is."""
    if not os.path.isdir(path):
        return path
    return os.path.relpath(os.path.realpath(path), os.path.realpath(folder))


def with_models(content: Any, change: Callable[[str, str], str], key: str = "") -> Any:
    """A recipe's YAML with other paths: `change` is given each one and its revision, or ""."""
    if isinstance(content, dict):
        return {name: with_models(value, change, str(name)) for name, value in content.items()}
    if isinstance(content, list):
        return [with_models(value, change, key) for value in content]
    if not isinstance(content, str) or key not in _KEYS:
        return content
    parts = (one.partition("@") for one in content.split("+"))
    return "+".join(f"{change(path, rev)}{at}{rev}" for path, at, rev in parts)


def _in_parsed(value: Any, folder: Path | None) -> Any:
    if isinstance(value, ModelPath):
        path = find(value.path, folder, value.revision)
        return value if path == value.path else value.model_copy(update={"path": path})
    if isinstance(value, ModelReference):
        parts = {name: _in_parsed(getattr(value, name), folder) for name in ("model", "lora")}
        return value.model_copy(update=parts)
    if isinstance(value, BaseModel):
        fields = {name: _in_parsed(getattr(value, name), folder) for name in value.model_fields_set}
        return value.model_copy(update=fields)
    if isinstance(value, dict):
        return {name: _in_parsed(one, folder) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_in_parsed(one, folder) for one in value)
    return value


def find(path: str, folder: Path | None, revision: str | None = None) -> str:
    """Where a model's path in a recipe leads.

    Args:
        path: a folder or Hub id, as written.
        folder: that of the recipe file; None where the recipe is of no file.
        revision: one is of a Hub id only.
    """
    path = os.path.expanduser(path)
    if folder is None or revision or os.path.isabs(path) or path in ("", "base", "union"):
        return path
    beside = folder / path
    if not any((beside / mark).exists() for mark in _MARKS):
        return path
    if not os.path.exists(path):
        absolute = os.path.abspath(beside)
        LOG.warning("%s: not in the current folder, taken from the recipe's: %s", path, absolute)
        return absolute
    if not os.path.samefile(path, beside):
        LOG.warning(
            "%s: is in the current folder and in the recipe's (%s), and they differ: taken from "
            "the current folder",
            path,
            os.path.abspath(folder),
        )
    return path
