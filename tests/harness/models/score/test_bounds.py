"""A block that works for ever or asks for all memory is ended; what was set before is set again."""

from __future__ import annotations

import resource
import signal
import sys
import threading

import pytest

from harness.models.score import bounds


def test_the_main_thread_is_stopped_in_a_single_long_operation() -> None:
    """`10**10**9` is one operation; no look at a clock between operations would end it."""
    with pytest.raises(bounds.TookTooLong), bounds.bounded(0.2):
        int("10") ** int("10") ** 9


def test_another_thread_is_stopped() -> None:
    ended: list[BaseException] = []

    def endless() -> None:
        try:
            with bounds.bounded(0.2):
                for_ever()
        except BaseException as error:
            ended.append(error)

    def for_ever() -> None:
        while True:
            pass

    thread = threading.Thread(target=endless)
    thread.start()
    thread.join()
    assert [type(error) for error in ended] == [bounds.TookTooLong]


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_memory_is_bounded_by_what_the_process_has() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(MemoryError), bounds.bounded(60):
        bytes(2 * bounds.MEMORY)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert len(bytes(2 * bounds.MEMORY)) == 2 * bounds.MEMORY


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_threads_leave_no_limit_behind() -> None:
    """The one that comes first may go first."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    first_in, second_in = threading.Event(), threading.Event()

    def other() -> None:
        with bounds.bounded(60):
            first_in.set()
            second_in.wait()

    thread = threading.Thread(target=other)
    thread.start()
    first_in.wait()
    with bounds.bounded(60):
        assert resource.getrlimit(resource.RLIMIT_AS)[0] != before[0]
        second_in.set()
        thread.join()
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_somebody_elses_alarm_goes_on() -> None:
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    signal.setitimer(signal.ITIMER_REAL, 100)
    try:
        with bounds.bounded(50):
            pass
        left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
        assert 50 < left <= 100
        signal.raise_signal(signal.SIGALRM)
        assert rung == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, before)
