"""Which files of an input are read: those that transformers loads; and what is refused unopened."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import merging
import pytest
import torch
from mergekit.common import ModelReference
from mergekit.options import MergeOptions
from merging import Trio
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from dogerm_plugin.anatomy.checkpoint import open_checkpoint
from dogerm_plugin.errors import MergeError

NAME = "model.layers.0.mlp.up_proj.weight"
HEAD = "score.weight"


def put(file: Path, state: dict[str, torch.Tensor]) -> None:
    """Tensors in either format."""
    if file.suffix == ".bin":
        torch.save(state, file)
    else:
        save_file(state, file, metadata={"format": "pt"})


def shard(folder: Path, state: dict[str, torch.Tensor], stem: str, ending: str) -> None:
    """Two shards and their index."""
    names = sorted(state)
    parts = {f"{stem}-{n + 1}-of-2{ending}": names[n::2] for n in range(2)}
    for file, held in parts.items():
        put(folder / file, {name: state[name] for name in held})
    weight_map = {name: file for file, held in parts.items() for name in held}
    index = folder / f"{stem}{ending}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def opened(folder: Path) -> dict[str, torch.Tensor]:
    """All that a merge reads of a folder."""
    model = ModelReference.model_validate(str(folder))
    found = open_checkpoint(model, MergeOptions())
    return {name: found.loader.get_tensor(name).clone() for name in found.tensors}


def loaded(folder: Path) -> dict[str, torch.Tensor]:
    """All that transformers reads of it."""
    return dict(AutoModelForSequenceClassification.from_pretrained(folder).state_dict())


FORMS = {
    "model.safetensors": lambda folder, state: put(folder / "model.safetensors", state),
    "model.safetensors.index.json": lambda folder, state: shard(
        folder, state, "model", ".safetensors"
    ),
    "pytorch_model.bin": lambda folder, state: put(folder / "pytorch_model.bin", state),
    "pytorch_model.bin.index.json": lambda folder, state: shard(
        folder, state, "pytorch_model", ".bin"
    ),
    "model.fp16.safetensors": lambda folder, state: put(folder / "model.fp16.safetensors", state),
    "consolidated.safetensors": lambda folder, state: put(
        folder / "consolidated.safetensors", state
    ),
}


@pytest.mark.parametrize("second", FORMS)
@pytest.mark.parametrize("first", list(FORMS)[:4])
def test_of_two_forms_the_one_that_transformers_loads(
    own_trio: Trio, first: str, second: str
) -> None:
    if first == second:
        pytest.skip("one form")
    state = load_file(own_trio.rm / "model.safetensors")
    (own_trio.rm / "model.safetensors").unlink()
    FORMS[first](own_trio.rm, state)
    FORMS[second](own_trio.rm, {name: tensor + 1 for name, tensor in state.items()})
    wanted = loaded(own_trio.rm)
    found = opened(own_trio.rm)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("which", ["rm", "lm"])
def test_a_merge_takes_the_single_file_and_says_so(
    own_trio: Trio, tmp_path: Path, which: str, caplog: pytest.LogCaptureFixture
) -> None:
    content = merging.recipe(own_trio.rm, (own_trio.lm, 0.5))
    alone = merging.merged(tmp_path, content)
    folder = getattr(own_trio, which)
    state = load_file(folder / "model.safetensors")
    shard(folder, {name: tensor * 0 for name, tensor in state.items()}, "model", ".safetensors")
    shutil.rmtree(tmp_path / "out")
    both = merging.merged(tmp_path, content)
    assert all(torch.equal(both[name], alone[name]) for name in alone)
    assert f"{folder / 'model.safetensors'}: taken" in caplog.text


def test_a_file_that_the_config_names(own_trio: Trio, tmp_path: Path) -> None:
    state = load_file(own_trio.rm / "model.safetensors")
    put(own_trio.rm / "best.safetensors", {name: tensor + 1 for name, tensor in state.items()})
    edit_config(own_trio.rm, transformers_weights="best.safetensors")
    wanted = loaded(own_trio.rm)
    assert torch.equal(opened(own_trio.rm)[NAME], wanted[NAME])
    assert torch.equal(wanted[NAME], state[NAME] + 1)
    merging.merged(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, 0.5)))
    assert "transformers_weights" not in json.loads((tmp_path / "out/config.json").read_text())


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def two_shards(trio: Trio) -> tuple[Path, dict]:
    """The reward model in two shards; its folder and its index."""
    state = load_file(trio.rm / "model.safetensors")
    (trio.rm / "model.safetensors").unlink()
    shard(trio.rm, state, "model", ".safetensors")
    return trio.rm, json.loads((trio.rm / "model.safetensors.index.json").read_text())


@pytest.mark.parametrize("differ", [False, True])
def test_a_tensor_in_two_shards(own_trio: Trio, tmp_path: Path, differ: bool) -> None:
    folder, index = two_shards(own_trio)
    holder = index["weight_map"][NAME]
    other = next(file for file in index["weight_map"].values() if file != holder)
    value = load_file(folder / holder)[NAME]
    put(folder / other, load_file(folder / other) | {NAME: value + differ})
    content = merging.recipe(own_trio.rm, (own_trio.lm, 0.5))
    if not differ:
        assert NAME in merging.merged(tmp_path, content)
        return
    line = merging.refused(tmp_path, content)
    assert NAME in line and holder in line and other in line and "another value" in line


def test_an_index_that_names_the_wrong_shard(own_trio: Trio, tmp_path: Path) -> None:
    folder, index = two_shards(own_trio)
    holder = index["weight_map"][NAME]
    other = next(file for file in index["weight_map"].values() if file != holder)
    index["weight_map"][NAME] = other
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    line = merging.refused(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, 0.5)))
    assert f"{other}: lacks tensor {NAME}" in line and f"{holder} has it" in line


def test_tensors_and_files_that_the_index_does_not_name(own_trio: Trio) -> None:
    """transformers loads the whole of a shard that is named, and no other file."""
    folder, index = two_shards(own_trio)
    del index["weight_map"][HEAD]
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    put(folder / "model-3-of-3.safetensors", {HEAD: torch.ones(1, 32)})
    assert torch.equal(opened(folder)[HEAD], loaded(folder)[HEAD])


INDICES = {
    "a list": ("[1, 2]", "JSON list"),
    "no weight_map": ('{"metadata": {}}', "no weight_map"),
    "an empty weight_map": ('{"weight_map": {}}', "no weight_map"),
    "a number for a file": ('{"weight_map": {"a": 3}}', "no file name but 3"),
    "another folder": ('{"weight_map": {"a": "../lm/model.safetensors"}}', "inside"),
    "hidden dots": ('{"weight_map": {"a": "x/../../lm/model.safetensors"}}', "inside"),
    "an absolute path": ('{"weight_map": {"a": "/etc/passwd"}}', "inside"),
    "too deep": ("[" * 100_000, "nested too deep"),
    "a long number": ('{"metadata": {"total_size": ' + "9" * 5000 + "}}", "not JSON"),
    "bytes": (b'{"weight_map": {"\xff": "a"}}', "not UTF-8"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "byte order mark"),
    "cut short": ('{"weight_map": {"a"', "truncated"),
}


@pytest.mark.parametrize("file", ["model.safetensors.index.json", "config.json"])
@pytest.mark.parametrize("kind", INDICES)
def test_damaged_json(own_trio: Trio, tmp_path: Path, kind: str, file: str) -> None:
    text, words = INDICES[kind]
    if file == "config.json" and ("weight_map" in words or "file" in words or words == "inside"):
        pytest.skip("of an index")
    if file != "config.json":
        (own_trio.lm / "model.safetensors").unlink()
    (own_trio.lm / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    line = merging.refused(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, 0.5)))
    assert str(own_trio.lm / file) in line and words in line, line
    assert len(line) < 600


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link_to_nothing(path: Path) -> None:
    path.symlink_to(path.parent / "blobs/gone")


def listening(path: Path) -> None:
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(path.parent)  # a socket's path may be no longer than 107 bytes
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.fchdir(here)
        os.close(here)


def link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


THINGS: dict[str, tuple[Callable[[Path], None], str]] = {
    "fifo": (fifo, "a FIFO"),
    "folder": (Path.mkdir, "a folder"),
    "socket": (listening, "a socket"),
    "device": (link_to_a_device, "a device"),
    "link": (link_to_nothing, "does not exist"),
}


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("thing", THINGS)
def test_what_is_no_file(own_trio: Trio, tmp_path: Path, thing: str, name: str) -> None:
    make, words = THINGS[thing]
    (own_trio.lm / name).unlink()
    make(own_trio.lm / name)
    line = merging.refused(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, 0.5)))
    assert str(own_trio.lm / name) in line and words in line


@pytest.mark.parametrize("name", ["model.safetensors.index.json", "model-1-of-2.safetensors"])
def test_a_fifo_in_place_of_an_index_or_a_shard(own_trio: Trio, tmp_path: Path, name: str) -> None:
    folder, _ = two_shards(own_trio)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    line = merging.refused(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, 0.5)))
    assert f"{folder / name}: is a FIFO" in line


def test_links_are_followed(own_trio: Trio, tmp_path: Path) -> None:
    """The Hub's cache holds nothing else."""
    blobs = own_trio.rm / "blobs"
    blobs.mkdir()
    for file in [file for file in own_trio.rm.iterdir() if file.is_file()]:
        file.rename(blobs / file.name)
        file.symlink_to(Path("blobs") / file.name)
    merging.merged(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, 0.5)))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.fp16.safetensors", "variant="),
        ("consolidated.safetensors", "does not load by itself"),
        ("adapter_model.safetensors", "is an adapter"),
        ("model.gguf", "gguf_file="),
    ],
)
def test_weights_of_another_name(own_trio: Trio, tmp_path: Path, name: str, words: str) -> None:
    (own_trio.lm / "model.safetensors").rename(own_trio.lm / name)
    line = merging.refused(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, 0.5)))
    assert "no model.safetensors" in line and name in line and words in line


def test_an_adapter_beside_the_whole_model(own_trio: Trio, tmp_path: Path) -> None:
    (own_trio.lm / "adapter_config.json").write_text("{}")
    line = merging.refused(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, 0.5)))
    assert "adapter_config.json" in line and "transformers would add it" in line


def test_a_distributed_checkpoint(own_trio: Trio, tmp_path: Path) -> None:
    name = "shard-00000-model-00000-of-00001.safetensors"
    shutil.copy(own_trio.lm / "model.safetensors", own_trio.lm / name)
    line = merging.refused(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, 0.5)))
    assert name in line and "distributed" in line


class Hostile:
    def __reduce__(self) -> tuple:
        return os.system, ("touch hostile-was-here",)


@pytest.mark.parametrize("form", ["zip", "legacy", "plain pickle"])
def test_a_hostile_pickle(
    own_trio: Trio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (own_trio.lm / "model.safetensors").unlink()
    file = own_trio.lm / "pytorch_model.bin"
    if form == "plain pickle":
        file.write_bytes(pickle.dumps({"a": Hostile()}))
    else:
        torch.save({"a": Hostile()}, file, _use_new_zipfile_serialization=form == "zip")
    line = merging.refused(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, 0.5)))
    assert str(file) in line and "safetensors" in line and "weights_only" not in line
    assert not (tmp_path / "hostile-was-here").exists()


def test_a_pickle_of_something_else(own_trio: Trio, tmp_path: Path) -> None:
    (own_trio.lm / "model.safetensors").unlink()
    torch.save({"step": 3}, own_trio.lm / "pytorch_model.bin")
    line = merging.refused(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, 0.5)))
    assert "holds int under 'step'" in line


ROPES = {
    "llama": {"rope_parameters": {"rope_type": "yam", "factor": 2.0, "rope_theta": 1e4}},
    "older": {"rope_scaling": {"type": "yam", "factor": 2.0}},
}


@pytest.mark.parametrize("which", ["rm", "lm"])
@pytest.mark.parametrize("form", ROPES)
def test_a_rope_type_that_does_not_exist(
    own_trio: Trio, tmp_path: Path, form: str, which: str
) -> None:
    edit_config(getattr(own_trio, which), **{"rope_parameters": None} | ROPES[form])
    line = merging.refused(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, 0.5)))
    assert str(getattr(own_trio, which)) in line and "'yam'" in line and "yarn" in line


def test_the_state_is_that_of_before(own_trio: Trio) -> None:
    model = ModelReference.model_validate(str(own_trio.rm))
    found = open_checkpoint(model, MergeOptions())
    found.stamps.check()
    os.utime(own_trio.rm / "tokenizer.json", ns=(0, 0))
    with pytest.raises(MergeError, match=r"tokenizer\.json: changed"):
        found.stamps.check()
