# SPDX-License-Identifier: Apache-2.0
"""Runs mergekit's tasks one output tensor after another, in time linear in their number.

mergekit's own executor sorts all tasks into one schedule, keeps what every finished task gave
until the last one has run, and goes through all of it after each: time in the square of the number
of tensors. A merge needs no schedule: each tensor is read, merged and written before the next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import tqdm
from mergekit.graph import Executor, Task, TaskUniverse


class SequentialExecutor(Executor):
    """mergekit's `Executor` for targets that share little.

    Args:
        targets: run in this order, each after the tasks that it needs.
        math_device: where tasks that ask for an accelerator find their tensors.
        storage_device: where results are moved to.
        known: tasks that need not run, with their values.
        watch: told every task that runs, and its arguments, before it does.
    """

    def __init__(
        self,
        targets: Sequence[Task],
        math_device: torch.device | str = "cpu",
        storage_device: torch.device | str = "cpu",
        known: Mapping[Task, Any] | None = None,
        watch: Callable[[Task, Mapping[str, Any]], None] = lambda task, arguments: None,
    ) -> None:
        super().__init__([], torch.device(math_device), torch.device(storage_device))
        self._watch = watch
        self.universe = TaskUniverse([*targets, *(known or {})])
        numbers = self.universe.task_to_index
        self._order = [numbers[target] for target in targets]
        self._values = {numbers[task]: value for task, value in (known or {}).items()}
        # How often a value will be asked for, by a task or by the caller; then it is dropped.
        self._uses = Counter(self._order)
        for number, arguments in self.universe.task_arguments.items():
            if number not in self._values:
                self._uses.update(arguments.values())

    def run(self, quiet: bool = False, desc: str | None = None) -> Iterator[tuple[Task, Any]]:
        """Yield each target and its value."""
        desc = desc or "Merging tensors"
        for number in tqdm.tqdm(self._order, disable=quiet, desc=desc):
            yield self.universe.tasks[number], self._value(number)

    def _value(self, number: int) -> Any:
        if number not in self._values:
            task = self.universe.tasks[number]
            arguments = {
                name: self._value(needed)
                for name, needed in self.universe.task_arguments[number].items()
            }
            if task.uses_accelerator():
                arguments = self._move_tensors(arguments, self.math_device)
            self._watch(task, arguments)
            result = task.execute(**arguments)
            self._values[number] = self._move_tensors(result, self.storage_device)
        self._uses[number] -= 1
        return self._values[number] if self._uses[number] else self._values.pop(number)
