# SPDX-License-Identifier: Apache-2.0
"""What every measurement depends on beside rows and weights: code, libraries, files, device."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

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

# What of this project a score depends on; the rest (tables, plots) may change beside results.
_CODE = (
    "../dogerm_plugin/*.py",
    "*.py",
    "bon/answers.py",
    "bon/expected.py",
    "models/*.py",
    "tasks/**/*.py",
    "tasks/**/*.yaml",
    "sweep/bench.py",
    "sweep/evaluate.py",
    "sweep/live.py",
    "search/remembering.py",
    "search/worker.py",
)
# Beside what `dogerm_plugin.files.model_files` knows as parts of a model.
_OF_A_MODEL = (
    "*.safetensors",
    "*.bin",
    "*.json",
    "*.jinja",
    "additional_chat_templates/*.jinja",
    "*.py",
)


def as_line(value: Any) -> str:
    """Settings as one line of text, the same for the same settings."""
    return json.dumps(value, sort_keys=True, default=str)


def code_digest() -> str:
    """Changes with the code that merges and scores."""
    here = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for file in sorted({file for pattern in _CODE for file in here.glob(pattern)}):
        digest.update(f"{file.relative_to(here.parent)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def software() -> dict[str, str]:
    """The versions of what a score depends on."""
    found = {name: version(name) for name in LIBRARIES if _is_installed(name)}
    return {"dogerm": f"{version('dogerm')} ({code_digest()})", **found}


def model_files(folders: Iterable[Path]) -> dict[str, str]:
    """The digest of each file of a model in these folders, by path: weights, configs, tokenizer."""
    from dogerm_plugin.files.model_files import OF_A_MODEL

    found = {}
    for folder in folders:
        wanted = {file for one in (*OF_A_MODEL, *_OF_A_MODEL) for file in folder.glob(one)}
        for file in sorted(wanted):
            if file.is_file() and file.name != "mergekit_config.yml":
                found[str(file)] = _digest(file)
    return found


def argument_files(arguments: Mapping[str, Any]) -> dict[str, str]:
    """The digests of files that model arguments name, such as a chat template."""
    return {
        f"file {name}={value}": _digest(Path(value).expanduser())
        for name, value in arguments.items()
        if isinstance(value, str) and _is_file(value)
    }


def device(arguments: Mapping[str, Any]) -> str:
    """Where scores are computed, ``cpu`` or ``cuda``: their rounding is not the same."""
    import torch

    given = arguments.get("device") or ("cuda" if torch.cuda.is_available() else "cpu")
    return str(given).partition(":")[0]


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]


def _is_file(text: str) -> bool:
    try:
        return Path(text).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):  # a template's text is no path
        return False


def _is_installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None
