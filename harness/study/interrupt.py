# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C that can't get lost.

Python raises ``KeyboardInterrupt`` wherever it happens to be. In a weak reference's callback, or
where compiled code asks Python something (pydantic's ``isinstance``, safetensors reading a slice),
it is printed and forgotten, or comes out as some other error; the run would go on, or tell a
mistake that nobody made. So it is also noted, and looked up before a measurement is kept.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_asked = threading.Event()


def check() -> None:
    """Stop here if Ctrl-C was pressed, whatever became of it.

    Raises:
        KeyboardInterrupt: it was, inside `stoppable`.
    """
    if _asked.is_set():
        raise KeyboardInterrupt


@contextmanager
def stoppable(say: Callable[[str], None], message: str) -> Iterator[None]:
    """A command's work: Ctrl-C ends it with a message and exit status 130, as shells have it.

    Where Ctrl-C is ignored (a shell's job in the background) it stays so; beside the main thread,
    where Python lets nobody listen, only what arrives as ``KeyboardInterrupt`` counts.

    Raises:
        SystemExit: it was pressed.
    """

    def note(number: int, frame: Any) -> None:
        _asked.set()
        raise KeyboardInterrupt

    listens = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if listens:
        signal.signal(signal.SIGINT, note)
    try:
        yield
        check()
    except BaseException as error:
        if not (isinstance(error, KeyboardInterrupt) or _asked.is_set()):
            raise
        say(message)
        raise SystemExit(130) from None
    finally:
        if listens:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        _asked.clear()
