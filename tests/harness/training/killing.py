"""A real training that is killed."""

from __future__ import annotations

import time
from pathlib import Path

from harness.training.folder import last_checkpoint
from tests import warm


def kill_at_the_first_checkpoint(arguments: list[str], out: Path) -> None:
    """Start `dogerm train` in a process, and kill it as soon as it has something to go on from.

    Args:
        arguments: of `dogerm train`, but for `out`, which comes last.
        out: the run's folder.
    """
    environment = {"CUDA_VISIBLE_DEVICES": ""}
    running = warm.Process(*("-m", "harness", "train"), *arguments, out, environment=environment)
    deadline = time.monotonic() + 600
    while last_checkpoint(out) is None:
        assert running.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "no checkpoint after ten minutes"
        time.sleep(0.02)
    running.kill()
    running.communicate()
