# SPDX-License-Identifier: Apache-2.0
"""What a kept result was made with: code, libraries, files, device, as a mapping part -> text.

A result is stale where any part is another one now.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from dogerm_plugin.files import digests
from harness.runs import source

# What a score depends on.
LIBRARIES = (
    "torch",
    "transformers",
    "tokenizers",
    "mergekit",
    "lm_eval",
    "safetensors",
    "peft",
    "jinja2",
)

_PROJECT, _CODE = "version of dogerm", "code of "
_LONGEST, _LISTED = 120, 3
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class Change(NamedTuple):
    """A part that is not as it was; None where it was not, or is not, there."""

    part: str
    before: str | None
    now: str | None


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """The parts that differ, in order; all code of this project is told with its version."""
    parts = sorted(part for part in {*before, *now} if before.get(part) != now.get(part))
    code = [part.removeprefix(_CODE) for part in parts if part.startswith(_CODE)]
    told = [Change(p, before.get(p), now.get(p)) for p in parts if not p.startswith(_CODE)]
    if code and _PROJECT not in parts:
        more = f" and {len(code) - _LISTED} more" if len(code) > _LISTED else ""
        files = f"other code ({', '.join(code[:_LISTED])}{more})"
        told.append(Change(_PROJECT, before.get(_PROJECT), files))
    return sorted(told)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The parts that differ, for a message: a few words each."""
    return [_in_words(change) for change in changes(before, now)]


def _in_words(change: Change) -> str:
    part, before, now = change
    if now is None:
        return f"{part} is gone"
    if before is None:
        return f"{part} is new"
    text = f"{part}: {before} -> {now}"
    return text if len(text) <= _LONGEST or part == _PROJECT else f"{part} has changed"


def digest(value: Any) -> str:
    """A short digest of an identity or of any settings: the same for the same ones."""
    return digests.of_text(as_text(value))


def as_text(value: Any) -> str:
    """Settings as one line of JSON: the same text for the same value in every process."""
    return json.dumps(value, sort_keys=True, default=_plain)


def _plain(value: Any) -> Any:
    """A value that JSON has no type for, as one that it has."""
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if callable(value):
        return f"{value.__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    return _ADDRESS.sub("", str(value))


def code(*modules: str) -> dict[str, str]:
    """The source of this project that these modules need; see `source.digests`."""
    return {f"{_CODE}{file}": file_digest for file, file_digest in source.digests(*modules).items()}


def methods(*names: str) -> dict[str, str]:
    """The source of merge methods that are a user's own, or another package's; by name."""
    from dogerm_plugin.methods import registry

    files = {name: registry.files(name) for name in names}
    return {
        f"code of merge method {name}": digest([digests.of_file(file) for file in found])
        for name, found in files.items()
        if found
    }


def software(libraries: Iterable[str] = LIBRARIES) -> dict[str, str]:
    """The versions of this project and of the libraries that are installed."""
    there = (name for name in libraries if find_spec(name) is not None)
    return {f"version of {name}": version(name) for name in ("dogerm", *there)}


def model_files(folders: Iterable[Path]) -> dict[str, str]:
    """The digest of each file of a model in these folders, by path: weights, configs, tokenizer."""
    return {str(f): digests.of_file(f) for folder in folders for f in digests.parts(folder)}


def argument_files(arguments: Mapping[str, Any]) -> dict[str, str]:
    """The digests of files that model arguments name, such as a chat template."""
    return {
        f"file {name}={value}": digests.of_file(Path(value).expanduser())
        for name, value in arguments.items()
        if isinstance(value, str) and _is_file(value)
    }


def device(arguments: Mapping[str, Any]) -> str:
    """Where scores are computed, ``cpu`` or ``cuda``: their rounding is not the same."""
    import torch

    given = arguments.get("device") or ("cuda" if torch.cuda.is_available() else "cpu")
    return str(given).partition(":")[0]


def _is_file(text: str) -> bool:
    try:
        return Path(text).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):  # a template's text is no path
        return False
