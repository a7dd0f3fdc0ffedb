# SPDX-License-Identifier: Apache-2.0
"""A bound on the seconds and on the memory that a chat template takes for one conversation.

A chat template is a program from a checkpoint. Jinja's sandbox keeps it from files and from the
interpreter, not from working for ever or from asking for all memory (``{{ 'a' * 10**10 }}``), and
not while it is compiled either, when constants are folded.

Time: the system's timer, whose signal also ends a single long operation (``10**10**10``); no
process, no thread, a few microseconds a conversation. Signals reach the main thread only, and not
every system has them: elsewhere the template's steps are traced, several times slower, and a single
long operation has to end by itself. Memory: the system's limit on address space, for as long as the
template runs, so that whatever asks for more, operator, filter or method, gets Python's own
`MemoryError`; a list of operations to look after would never be complete. It holds on Linux, and
not beside threads that compute (`beside_others`): it would be theirs, too.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

# Seconds until the timer fires again: Python loses what is raised in some places (a destructor, a
# weak reference's callback).
_AGAIN = 1.0

# Bytes that a template may take beyond what the process has.
MEMORY = 1 << 30

_alone: ContextVar[bool] = ContextVar("no other thread computes", default=True)

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0


class TookTooLong(BaseException):
    """A template ran out of time. No `Exception`: Jinja swallows those where it folds constants."""


@contextlib.contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Run a block with bounds on its seconds and on its memory.

    Raises:
        TookTooLong: it ran for more than `seconds`.
        MemoryError: it asked for more than `MEMORY`.
    """
    has_timer = hasattr(signal, "setitimer")
    here = threading.current_thread() is threading.main_thread()
    timed = _timer(seconds) if has_timer and here else _traced(seconds)
    with _memory(), timed:
        yield


@contextlib.contextmanager
def beside_others() -> Iterator[None]:
    """Other threads compute meanwhile: this one bounds the seconds of its templates alone.

    Else an allocation of theirs would fail whenever a template runs here.
    """
    before = _alone.set(False)
    try:
        yield
    finally:
        _alone.reset(before)


@contextlib.contextmanager
def _timer(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: Any) -> None:
        raise TookTooLong

    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, stop)
    try:
        left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, handler)
    if left:  # somebody else's timer goes on
        passed = time.monotonic() - began
        signal.setitimer(signal.ITIMER_REAL, max(left - passed, 1e-3), interval)


@contextlib.contextmanager
def _traced(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds

    def look(frame: Any, event: str, argument: Any) -> Any:
        if time.monotonic() > end:
            raise TookTooLong
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        yield
    finally:
        sys.settrace(before)


@contextlib.contextmanager
def _memory() -> Iterator[None]:
    has = _address_space() if _alone.get() else None
    if has is None:
        yield
        return
    _limit.enter(has + MEMORY)
    try:
        yield
    finally:
        _limit.leave()


class _Limit:
    """The process's limit on address space: lowered by the first thread, restored by the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = (0, 0)

    def enter(self, most: int) -> None:
        import resource

        with self._lock:
            if self._inside == 0:
                self._before = soft, hard = resource.getrlimit(resource.RLIMIT_AS)
                lower = most if soft == resource.RLIM_INFINITY else min(most, soft)
                resource.setrlimit(resource.RLIMIT_AS, (lower, hard))
            self._inside += 1

    def leave(self) -> None:
        import resource

        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                resource.setrlimit(resource.RLIMIT_AS, self._before)


_limit = _Limit()


def _address_space() -> int | None:
    """Bytes of address space that this process has; None where the system does not tell."""
    opened = _statm(os.getpid())
    return None if opened is None else int(os.pread(opened, 32, 0).split()[0]) * _PAGE


@functools.lru_cache(1)
def _statm(process: int) -> int | None:
    """The file, kept open: opening it takes longer than a short template."""
    try:
        return os.open(f"/proc/{process}/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
