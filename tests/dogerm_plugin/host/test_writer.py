"""What is written at once is what mergekit's own writer would have written."""

import errno
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from mergekit.io.tensor_writer import TensorWriter
from safetensors.torch import load_file

from dogerm_plugin.host import writer as module
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


def test_what_waits_for_the_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more waits than is allowed, and a tensor that is cloned is written when it is saved."""
    monkeypatch.setattr(module, "SMALL", 0)
    monkeypatch.setattr(module, "WAITING", 20)
    waiting: list[int] = []
    submit = ThreadPoolExecutor.submit

    def watched(self: ThreadPoolExecutor, *arguments: Any) -> Any:
        waiting.append(sum(size for size, _ in writer._given))
        return submit(self, *arguments)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", watched)
    writer = StreamingWriter(str(tmp_path), [str(n) for n in range(9)], 0)
    for number in range(8):
        writer.save_tensor(str(number), torch.full((2,), float(number)))
    assert max(waiting) == 8  # beside the 8 bytes that come
    changing = torch.ones(2)
    writer.save_tensor("8", changing, clone=True)
    changing.zero_()
    writer.finalize()
    found = load_file(tmp_path / "model.safetensors")
    assert [found[str(n)][0] for n in range(9)] == [*range(8), 1]


def test_a_write_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread's error is that of a later call, and of `finalize` at the latest."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_write_all", full)
    writer = StreamingWriter(str(tmp_path), ["a"], 0)
    writer.save_tensor("a", torch.ones(2))
    with pytest.raises(OSError, match="No space left"):
        writer.finalize()
    writer.close()
