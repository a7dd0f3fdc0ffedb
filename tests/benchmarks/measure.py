# SPDX-License-Identifier: Apache-2.0
"""Two things measured side by side, and what a child process takes.

A time by itself says little on a machine that others use; a ratio of two times taken one after the
other says much. So everything here comes in pairs.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

# A process's peak memory starts at its parent's at the time of the fork, so a child of a test
# process that holds a model would seem as large. This small process stands between the two.
_LAUNCH = """
import json, os, sys, time
out, command = sys.argv[1], sys.argv[2:]
began = time.perf_counter()
child = os.posix_spawnp(command[0], command, os.environ)
_, status, usage = os.wait4(child, 0)
seconds = time.perf_counter() - began
unit = 1 if sys.platform == "darwin" else 1024
processor = usage.ru_utime + usage.ru_stime
found = [os.waitstatus_to_exitcode(status), seconds, usage.ru_maxrss * unit, processor]
with open(out, "w") as file:
    json.dump(found, file)
"""


@dataclass(frozen=True)
class Pairs:
    """What ours and a peer took, pair by pair, in seconds or bytes.

    Attributes:
        inverse: the ratio is how many times less ours takes: the peer's by ours.
    """

    ours: list[float]
    peer: list[float]
    unit: str = "s"
    inverse: bool = False

    @property
    def swapped(self) -> Pairs:
        """The same, its ratio the other way round."""
        return replace(self, inverse=not self.inverse)

    @property
    def ratios(self) -> list[float]:
        """Ours by the peer's, of each pair."""
        pairs = zip(self.ours, self.peer, strict=True)
        return [b / a if self.inverse else a / b for a, b in pairs]

    @property
    def ratio(self) -> float:
        """The median of the pairs' ratios, ours by the peer's: below 1, ours takes less."""
        return statistics.median(self.ratios)

    @property
    def low(self) -> float:
        """The smallest ratio of a pair."""
        return min(self.ratios)

    @property
    def high(self) -> float:
        """The largest ratio of a pair."""
        return max(self.ratios)


def alternate(
    ours: Callable[[], object],
    peer: Callable[[], object],
    pairs: int = 5,
    clock: Callable[[], float] = time.perf_counter,
    *,
    warm_up: bool = True,
) -> Pairs:
    """Run both in turn, after one run of each to warm up.

    Args:
        ours: what is measured.
        peer: what it is held against.
        pairs: how many times.
        clock: in seconds; ``time.process_time`` for what other work must not disturb.
        warm_up: False where a smaller run has done so.
    """

    def seconds(run: Callable[[], object]) -> float:
        gc.collect()
        began = clock()
        run()
        return clock() - began

    if warm_up:
        ours(), peer()
    taken = [(seconds(ours), seconds(peer)) for _ in range(pairs)]
    return Pairs([a for a, _ in taken], [b for _, b in taken])


class Child(NamedTuple):
    """What a child process took.

    Attributes:
        seconds: wall-clock time, from its start to its end.
        peak_bytes: the largest resident memory of the process, or of the largest process that it
            waited for itself; mapped files count as far as they are resident.
        output: its standard output.
        processor: the processor's seconds, those in the kernel and of all threads included; without
            what the kernel does for it later, such as writing dirty pages to the disk.
    """

    seconds: float
    peak_bytes: int
    output: str
    processor: float


def in_process(
    command: str | Sequence[str | os.PathLike[str]],
    *arguments: str | os.PathLike[str],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
) -> Child:
    """Run a command, or Python code, in a process of its own.

    Args:
        command: an argument list; a string is code for this interpreter.
        arguments: more arguments: the code's ``sys.argv[1:]``.
        env: variables in addition to this process's.
        cwd: its folder; this process's where None.
        timeout: seconds until it is given up.

    Raises:
        RuntimeError: it fails; with the end of what it wrote.
    """
    argv = [sys.executable, "-c", command] if isinstance(command, str) else [*command]
    argv = [os.fspath(argument) for argument in (*argv, *arguments)]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "taken.json"
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _LAUNCH, str(out), *argv],
            env={**os.environ, **(env or {})},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if not out.exists():  # the command cannot be started
            raise RuntimeError(f"{argv[0]}: {done.stderr[-2000:]}")
        status, seconds, peak, processor = json.loads(out.read_text(encoding="utf-8"))
    if status:
        raise RuntimeError(f"{argv[0]} ended with {status}:\n{(done.stdout + done.stderr)[-2000:]}")
    return Child(seconds, peak, done.stdout, processor)


def alternate_processes(
    ours: Callable[[], Child], peer: Callable[[], Child], pairs: int = 5
) -> tuple[Pairs, Pairs]:
    """Run two commands in turn, after one run of each: their seconds and their peak bytes."""
    ours(), peer()
    taken = [(ours(), peer()) for _ in range(pairs)]
    seconds = Pairs([a.seconds for a, _ in taken], [b.seconds for _, b in taken])
    peaks = Pairs(
        [float(a.peak_bytes) for a, _ in taken], [float(b.peak_bytes) for _, b in taken], "bytes"
    )
    return seconds, peaks
