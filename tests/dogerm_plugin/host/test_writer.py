"""What is written at once is what mergekit's own writer would have written."""

import json
from pathlib import Path

import pytest
import torch
from mergekit.io.tensor_writer import TensorWriter
from safetensors.torch import load_file

from dogerm_plugin.host.writer import StreamingWriter

STATE = {
    "odd": torch.arange(3, dtype=torch.bfloat16),
    "scalar": torch.tensor(7),
    "empty": torch.zeros(0, 4),
    "byte": torch.tensor([True]),
    "a" * 300: torch.arange(8.0).view(2, 4).T,
    "single": torch.tensor([1.5]),
    "double": torch.tensor([0.5], dtype=torch.float64),
}


def folder(writer: TensorWriter) -> dict[str, torch.Tensor]:
    """Write STATE; all that is read back, and the index against it."""
    for name, tensor in STATE.items():
        writer.save_tensor(name, tensor)
    writer.finalize()
    out = Path(writer.out_path)
    files = {file.name: load_file(file) for file in sorted(out.glob("*.safetensors"))}
    found = {name: file for file, state in files.items() for name in state}
    if len(files) > 1:
        index = json.loads((out / "model.safetensors.index.json").read_text())
        assert index["weight_map"] == found
        assert index["metadata"]["total_size"] == sum(t.nbytes for t in STATE.values())
    return {name: tensor for state in files.values() for name, tensor in state.items()}


@pytest.mark.parametrize("size", [0, 1, 20, 1 << 30])
def test_as_mergekit_writes(size: int, tmp_path: Path) -> None:
    """Names, dtypes, shapes, values, files; each tensor at a multiple of its element's size."""
    ours = folder(StreamingWriter(str(tmp_path / "ours"), STATE, size))
    plain = folder(TensorWriter(str(tmp_path / "plain"), size))
    assert ours.keys() == plain.keys() == STATE.keys()
    for name, tensor in STATE.items():
        assert ours[name].dtype == tensor.dtype and torch.equal(ours[name], tensor)
    names = [sorted(p.name for p in (tmp_path / one).iterdir()) for one in ("ours", "plain")]
    assert names[0] == names[1]
    for file in (tmp_path / "ours").glob("*.safetensors"):
        raw = file.read_bytes()
        length = int.from_bytes(raw[:8], "little")
        for name, entry in json.loads(raw[8 : 8 + length]).items():
            if name != "__metadata__":
                start = 8 + length + entry["data_offsets"][0]
                assert start % STATE[name].element_size() == 0


def test_a_header_without_room(tmp_path: Path) -> None:
    """Tensors beyond the names that were announced do not overwrite the others."""
    writer = StreamingWriter(str(tmp_path), [], 0)
    for number in range(20):
        writer.save_tensor(f"tensor {number}", torch.zeros(8))
    with pytest.raises(RuntimeError, match="not planned"):
        writer.finalize()
