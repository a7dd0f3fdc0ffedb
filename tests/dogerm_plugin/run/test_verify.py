"""An output that is not what was planned is found before it takes its place."""

import json
from collections.abc import Callable
from pathlib import Path

import merging
import pytest
import torch
from mergekit.io.tensor_writer import TensorWriter
from merging import Trio

from dogerm_plugin.errors import MergeError
from dogerm_plugin.host.writer import StreamingWriter
from dogerm_plugin.run.verify import verify

HEAD = {"score.weight": torch.tensor([[0.0, -0.0, 1.5]])}
STATE = HEAD | {"model.a": torch.ones(2), "model.b": torch.ones(3)}


def write(folder: Path, state: dict, safe: bool = True, size: int = 1 << 30) -> None:
    writer = TensorWriter(str(folder), size, safe_serialization=safe)
    for name, tensor in state.items():
        writer.save_tensor(name, tensor)
    writer.finalize()


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("size", [8, 1 << 30])
def test_a_right_output_passes(tmp_path: Path, safe: bool, size: int) -> None:
    """One file or several, safetensors or pickles."""
    write(tmp_path, STATE, safe, size)
    verify(tmp_path, set(STATE), HEAD)
    with pytest.raises(MergeError, match="lacks or adds"):
        verify(tmp_path, {*STATE, "model.c"}, HEAD)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.a": torch.tensor([1.0, float("nan")])}, "model.a has NaN or Inf"),
        ({"score.weight": torch.tensor([[0.0, 0.0, 1.5]])}, "head score.weight"),
        ({"score.weight": HEAD["score.weight"].double()}, "head score.weight"),
        ({"score.weight": HEAD["score.weight"].view(3, 1)}, "head score.weight"),
        ({"model.c": torch.ones(1)}, "adds 1 tensors"),
    ],
)
def test_a_wrong_tensor(tmp_path: Path, changes: dict, words: str) -> None:
    """NaN, a head that differs in a sign of zero, dtype or shape, a tensor too many."""
    write(tmp_path, STATE | changes)
    with pytest.raises(MergeError, match=words):
        verify(tmp_path, set(STATE), HEAD)


@pytest.mark.parametrize(
    "damage",
    [
        lambda index: index.unlink(),
        lambda index: index.write_text(json.dumps({"weight_map": {"model.a": "x.safetensors"}})),
    ],
    ids=["gone", "wrong"],
)
def test_a_wrong_index(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    """Several files need an index that names them."""
    write(tmp_path, STATE, size=8)
    damage(tmp_path / "model.safetensors.index.json")
    with pytest.raises(MergeError, match="index doesn't match"):
        verify(tmp_path, set(STATE), HEAD)


def test_a_writer_that_loses_a_tensor(
    trio: Trio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault in the host: the merge fails, and nothing is at the target."""
    save = StreamingWriter.save_tensor

    def lossy(self: StreamingWriter, name: str, tensor: torch.Tensor, clone: bool = False) -> None:
        if "layers.2.mlp" not in name:
            save(self, name, tensor, clone)

    monkeypatch.setattr(StreamingWriter, "save_tensor", lossy)
    message = merging.refused(tmp_path, merging.recipe(trio.rm, (trio.lm, 0.3)))
    assert "model.layers.2.mlp" in message
    assert {path.name for path in tmp_path.iterdir()} == {"recipe.yml"}
