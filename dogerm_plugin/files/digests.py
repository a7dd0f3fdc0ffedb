# SPDX-License-Identifier: Apache-2.0
"""Digests of a model's files: the same for the same model, wherever its folder lies."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from dogerm_plugin.files.model_files import OF_A_MODEL

# Beside what `model_files` knows as parts of a model.
_ALSO = (
    "*.safetensors",
    "*.bin",
    "*.json",
    "*.jinja",
    "additional_chat_templates/*.jinja",
    "*.py",
)
_LENGTH = 16


def parts(folder: Path) -> list[Path]:
    """The files that make a model: weights, configs, tokenizer, code; sorted."""
    wanted = {file for one in (*OF_A_MODEL, *_ALSO) for file in folder.glob(one)}
    return [f for f in sorted(wanted) if f.is_file() and f.name != "mergekit_config.yml"]


def of_file(file: Path) -> str:
    """The digest of a file's content."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:_LENGTH]


def of_text(text: str) -> str:
    """The digest of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_LENGTH]


def of_model(folder: Path) -> str:
    """The digest of all files of a model."""
    return of_text(json.dumps(sorted([file.name, of_file(file)] for file in parts(folder))))
