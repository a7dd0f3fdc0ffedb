# SPDX-License-Identifier: Apache-2.0
"""Signs of life of the trials that this process runs.

Optuna's own are for `Study.optimize`, which runs one trial in a thread; here one process asks for
many and waits.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.storages import RDBStorage


class Heartbeat:
    """Tells the storage, again and again, that some trials are being run.

    Args:
        storage: what to tell.
        interval: in seconds.
    """

    def __init__(self, storage: RDBStorage, interval: float) -> None:
        self._storage = storage
        self._interval = interval
        self._running: set[int] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def start(self, trial_id: int) -> None:
        """Begin to tell of a trial, by Optuna's id for it."""
        self._storage.record_heartbeat(trial_id)
        self._running.add(trial_id)

    def stop(self, trial_id: int) -> None:
        """Tell no more of a trial, which is finished."""
        self._running.discard(trial_id)

    def close(self) -> None:
        """Tell of nothing any more, and end the thread."""
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._ended.wait(self._interval):
            for trial_id in list(self._running):
                # A database that is away for a while is no reason to die; should it stay away,
                # the next trial's end tells.
                with contextlib.suppress(Exception):
                    self._storage.record_heartbeat(trial_id)
