# SPDX-License-Identifier: Apache-2.0
"""Long measurements, as commands that a user types: what is finished is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml


def run(folder: Path, name: str, *command: str, cwd: Path | None = None, **extra: str) -> None:
    """Run a command once; its log is kept.

    Args:
        folder: for the log and for what says that it is finished.
        name: of both.
        command: its words.
        cwd: where it runs.
        extra: of its environment.
    """
    done = folder / f"{name}.done"
    if done.exists():
        return
    print(f"{name}: {' '.join(command)}", file=sys.stderr, flush=True)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", **extra}
    with (folder / f"{name}.log").open("a") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log, env=environment, cwd=cwd)
    done.touch()


def write(path: Path, content: Any) -> Path:
    """A file as its name ends: rows as JSON lines, JSON or YAML."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        text = "".join(json.dumps(row) + "\n" for row in content)
    elif path.suffix == ".json":
        text = json.dumps(content)
    else:
        text = yaml.safe_dump(content, sort_keys=False)
    path.write_text(text, "utf-8")
    return path
