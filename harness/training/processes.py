# SPDX-License-Identifier: Apache-2.0
"""Several processes that train together: `accelerate launch` or `torchrun` starts them.

The first one claims the folder, validates in the end and saves; all of them train.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from harness.errors import HarnessError
from harness.models.load.processes import started_processes

Result = TypeVar("Result")


class Processes:
    """What this process is among those of its launcher.

    Attributes:
        count: of them; 1 without a launcher.
        first: whether this one is the first.
    """

    def __init__(self) -> None:
        import torch

        self.count = started_processes()
        self._state: Any = None
        if self.count > 1:
            from accelerate import PartialState

            # as the trainer will ask for it: there is one state for all
            self._state = PartialState(cpu=not torch.cuda.is_available())
        self.first = self._state is None or bool(self._state.is_main_process)

    @property
    def device(self) -> Any:
        """Where the trainer of this process will put its model."""
        import torch

        if self._state is not None:
            return self._state.device
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def share_of(self, batch_size: int) -> int:
        """How many of a step's rows each process takes.

        Raises:
            HarnessError: they can't be shared equally.
        """
        if batch_size % self.count:
            raise HarnessError(
                f"`batch_size` is {batch_size}, the rows of all processes together, and can't be "
                f"shared by {self.count}: give a multiple of {self.count}"
            )
        return batch_size // self.count

    def first_alone(self, do: Callable[[], Result], then: Callable[[], Result]) -> Result:
        """Let the first process do something, and the others `then` do something else."""
        if self.first:
            result = do()
            self.wait()
            return result
        self.wait()
        return then()

    def wait(self) -> None:
        """For all of them."""
        if self._state is not None:
            self._state.wait_for_everyone()

    @contextlib.contextmanager
    def told_once(self) -> Iterator[None]:
        """What is said on stderr, by the first process alone; errors are every one's own."""
        if self.first:
            yield
        else:
            with contextlib.redirect_stderr(io.StringIO()):
                yield
