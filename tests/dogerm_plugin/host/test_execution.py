"""Tasks run one target after another, shared ones once, and no value is kept longer than needed."""

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import merging
import pytest
import torch
from mergekit.graph import Task
from merging import Trio

from dogerm_plugin.host.execution import SequentialExecutor
from dogerm_plugin.host.writer import StreamingWriter

RAN: list[str] = []


class Value:
    alive = 0

    def __init__(self) -> None:
        Value.alive += 1

    def __del__(self) -> None:
        Value.alive -= 1


class Step(Task[Any]):
    name: str
    needs: tuple[Any, ...] = ()

    def arguments(self) -> dict[str, Task]:
        return {one.name: one for one in self.needs}

    def execute(self, **kwargs: Any) -> Any:
        assert set(kwargs) == {one.name for one in self.needs}
        RAN.append(self.name)
        return Value()


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    RAN.clear()
    yield


def test_order_and_lifetime() -> None:
    """The shared task runs once, though equal copies of it are asked for; values go when used."""
    steps = [Step(name=f"target {i}", needs=(Step(name="shared"), Step(name=f"own {i}")))
             for i in range(3)]  # fmt: skip
    alive = []
    for task, value in SequentialExecutor(steps).run(quiet=True):
        assert task.name == RAN[-1] and isinstance(value, Value)
        del value
        alive.append(Value.alive)
    assert RAN == ["shared", "own 0", "target 0", "own 1", "target 1", "own 2", "target 2"]
    assert max(alive) <= 2 and Value.alive == 0


def test_known_values_are_not_computed() -> None:
    shared = Step(name="shared")
    list(
        SequentialExecutor([Step(name="target", needs=(shared,))], known={shared: 1}).run(
            quiet=True
        )
    )
    assert RAN == ["target"]


def test_a_merge_holds_no_tensor_that_is_written(
    trio: Trio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = StreamingWriter.save_tensor
    written: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []

    def watched(self: StreamingWriter, name: str, tensor: torch.Tensor, clone: bool) -> None:
        alive.append(sum(one() is not None for one in written))
        written.append(weakref.ref(tensor))
        save(self, name, tensor, clone)

    monkeypatch.setattr(StreamingWriter, "save_tensor", watched)
    out = merging.merged(tmp_path, merging.recipe(trio.rm, (trio.lm, 0.3)))
    assert len(alive) == len(out) and set(alive) == {0}
