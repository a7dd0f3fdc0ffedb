"""Ctrl-C is told as such wherever it arrives, and never lost."""

from __future__ import annotations

import signal
import threading
import weakref
from typing import Any

import pytest

from harness.study import interrupt


class _Thing:
    pass


def _press(*_: Any) -> None:
    signal.raise_signal(signal.SIGINT)


def _lost() -> None:
    """Pressed in a weak reference's callback: Python prints the exception and goes on."""
    thing = _Thing()
    weakref.finalize(thing, _press)
    reference = weakref.ref(thing, _press)
    del thing, reference


def _turned() -> None:
    """Pressed where it comes out as another error."""
    try:
        _press()
    except KeyboardInterrupt:
        raise OSError("can't read a slice") from None


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard() -> Any:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("press", [_press, _lost, _turned])
def test_it_stops_with_a_message(press: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.unraisablehook", lambda _: None)
    said: list[str] = []
    kept = False
    with pytest.raises(SystemExit) as stopped, interrupt.stoppable(said.append, "stopped"):
        press()
        interrupt.check()
        kept = True
    assert (stopped.value.code, said, kept) == (130, ["stopped"], False)
    interrupt.check()  # over


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_it_stops_at_the_end_at_the_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.unraisablehook", lambda _: None)
    with pytest.raises(SystemExit), interrupt.stoppable(print, "stopped"):
        _lost()


def test_mistakes_pass() -> None:
    with pytest.raises(OSError, match="no such"), interrupt.stoppable(print, "stopped"):
        raise OSError("no such file")


def test_ignored_it_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupt.stoppable(print, "stopped"):
            _press()
    finally:
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_beside_the_main_thread() -> None:
    done = []

    def work() -> None:
        with interrupt.stoppable(print, "stopped"):
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done
