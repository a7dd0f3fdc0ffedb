"""A finished merge or none: real kills, full disks, and folders that must not be replaced."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import merging
import pytest
import tiny
import torch
from merging import Trio
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from dogerm_plugin.errors import MergeError
from dogerm_plugin.run import output
from tests import warm


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".out")]


def good(trio: Trio, **more: object) -> dict:
    return merging.recipe(trio.rm, (trio.lm, 0.3), **more)


def test_stale_shards_and_files_do_not_survive(trio: Trio, tmp_path: Path) -> None:
    """Many shards, then one: the second output is what it is in a new folder."""
    merging.merged(tmp_path, good(trio), "--out-shard-size", "20k")
    merging.merged(tmp_path, good(trio))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    (tmp_path / "new").mkdir()
    merging.merged(tmp_path / "new", good(trio))
    assert names == {path.name for path in (tmp_path / "new" / "out").iterdir()}
    assert not leftovers(tmp_path)


def test_the_users_own_files_survive(trio: Trio, tmp_path: Path) -> None:
    """Notes, folders, links, a safetensors file of another name."""
    out = tmp_path / "out"
    (out / "runs" / "deep").mkdir(parents=True)
    (out / "runs" / "deep" / "log.txt").write_text("log")
    (out / "notes.md").write_text("mine")
    (out / "data.bin").write_bytes(b"rows")
    (out / "link").symlink_to("notes.md")
    (out / "dangling").symlink_to("/nowhere")
    assert merging.command(tmp_path, good(trio), out, "--no-write-model-card").exit_code == 0
    assert (out / "runs" / "deep" / "log.txt").read_text() == "log"
    assert (out / "notes.md").read_text() == "mine" and (out / "data.bin").read_bytes() == b"rows"
    assert (out / "link").readlink() == Path("notes.md") and (out / "dangling").is_symlink()
    assert (out / "model.safetensors").exists()


def test_a_failed_merge_leaves_the_old_output(own_trio: Trio, tmp_path: Path) -> None:
    """Found late (in the tensors) or early (in the recipe): byte for byte as it was."""
    merging.merged(tmp_path, good(own_trio))
    (tmp_path / "out" / "notes.md").write_text("mine")
    before = merging.digest(tmp_path / "out")
    merging.edit(own_trio.lm, model__norm__weight=torch.full((32,), float("nan")))
    merging.refused(tmp_path, good(own_trio))
    merging.refused(tmp_path, good(own_trio, dtype="int8"))
    assert merging.digest(tmp_path / "out") == before and not leftovers(tmp_path)


def test_one_error_line_in_a_real_process(own_trio: Trio, tmp_path: Path) -> None:
    """stderr of the installed command: one Error line, no traceback, exit status 1."""
    file = own_trio.lm / "model.safetensors"
    file.write_bytes(file.read_bytes()[:3000])
    run = warm.run("mergekit-yaml", merging.write(tmp_path, good(own_trio)), tmp_path / "out")
    errors = run.stderr
    assert run.returncode == 1 and "Traceback" not in errors
    assert [line.startswith("Error: ") for line in errors.splitlines()].count(True) == 1
    assert str(own_trio.lm) in errors and not (tmp_path / "out").exists()


def test_bad_input_makes_no_parent_folders(trio: Trio, tmp_path: Path) -> None:
    """`out` may lie in folders that don't exist yet; a refused merge doesn't make them."""
    models = (Path("/nowhere/lm"), 0.3)
    merging.refused(tmp_path, merging.recipe(trio.rm, models), out=tmp_path / "a" / "b" / "out")
    assert not (tmp_path / "a").exists()
    result = merging.command(tmp_path, good(trio), tmp_path / "a" / "b" / "out")
    assert result.exit_code == 0


def test_target_is_a_file(trio: Trio, tmp_path: Path) -> None:
    """It is left alone."""
    (tmp_path / "out").write_text("mine")
    assert "is a file" in merging.refused(tmp_path, good(trio))
    assert (tmp_path / "out").read_text() == "mine"


def test_target_below_a_file(trio: Trio, tmp_path: Path) -> None:
    """A parent that can't be made."""
    (tmp_path / "file").write_text("mine")
    message = merging.refused(tmp_path, good(trio), out=tmp_path / "file" / "out")
    assert "can't write the output there" in message


@pytest.mark.parametrize("inside", [".", "model", "model/.."])
def test_target_is_or_holds_an_input(own_trio: Trio, tmp_path: Path, inside: str) -> None:
    """The input is not destroyed."""
    before = merging.digest(own_trio.rm)
    target = {".": tmp_path, "model": own_trio.rm, "model/..": own_trio.lm / ".."}[inside]
    assert "holds the input model" in merging.refused(tmp_path, good(own_trio), out=target)
    assert merging.digest(own_trio.rm) == before


def test_target_is_an_input_by_a_link(own_trio: Trio, tmp_path: Path) -> None:
    """Links are followed before folders are compared."""
    (tmp_path / "link").symlink_to(own_trio.lm)
    before = merging.digest(own_trio.lm)
    message = merging.refused(tmp_path, good(own_trio), out=tmp_path / "link")
    assert "holds the input model" in message and merging.digest(own_trio.lm) == before


def test_target_is_the_current_folder(
    trio: Trio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shell would be left in a folder that is gone."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for target in (".", "", "..", "/"):
        message = merging.refused(tmp_path, good(trio), out=target or "./")
        assert "name a folder inside it" in message or "holds the input" in message
    merging.merged(tmp_path, good(trio))


def test_target_is_a_link_to_a_folder(trio: Trio, tmp_path: Path) -> None:
    """The folder behind the link is replaced, the link stays."""
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    merging.merged(tmp_path, good(trio))
    assert (tmp_path / "out").is_symlink() and (tmp_path / "real" / "model.safetensors").exists()


@pytest.mark.parametrize("name", ["out [1]*?", "ou t", "ö", "a" * 200])
def test_names_of_the_target(trio: Trio, tmp_path: Path, name: str) -> None:
    """Letters that mean something in a pattern, and long names."""
    for _ in range(2):
        result = merging.command(tmp_path, good(trio), tmp_path / name)
        assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "recipe.yml"])


def test_parent_that_cannot_be_written(
    trio: Trio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that names it (a file system that refuses: root may write anywhere else)."""

    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(output.tempfile, "mkdtemp", read_only)
    message = merging.refused(tmp_path, good(trio))
    assert "Read-only file system" in message and "name a folder elsewhere" in message


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB; the output needs more."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("can't mount a tmpfs here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("options", [(), ("--async-write",), ("--no-safe-serialization",)])
def test_full_disk(trio: Trio, tmp_path: Path, small_disk: Path, options: tuple[str, ...]) -> None:
    """The old output stays, the half-made one goes."""
    (small_disk / "out").mkdir()
    (small_disk / "out" / "config.json").write_text("old")
    merging.refused(tmp_path, good(trio), *options, out=small_disk / "out")
    assert merging.digest(small_disk).keys() == {"out/config.json"}
    assert not leftovers(small_disk)


def test_target_is_a_mount_point(trio: Trio, tmp_path: Path, small_disk: Path) -> None:
    """It can't be renamed: said before the work, not after it."""
    assert "is a mount point" in merging.refused(tmp_path, good(trio), out=small_disk)


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A recipe of about 60 MB in many shards: long enough to be killed in the middle."""
    folder = tmp_path_factory.mktemp("big")
    sizes = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 14}
    config = tiny.tiny_config("llama", num_labels=1, **sizes)
    tiny.save_random(folder / "rm", AutoModelForSequenceClassification, config, 0)
    tiny.save_random(folder / "lm", AutoModelForCausalLM, config, 1)
    return merging.recipe(folder / "rm", (folder / "lm", 0.3))


def kill_in_the_middle(folder: Path, recipe: dict, number: int) -> None:
    """Start a merge to `folder/out`, and kill it while its staging folder fills."""
    options = ("--out-shard-size", "1M")
    run = warm.Process("mergekit-yaml", merging.write(folder, recipe), folder / "out", *options)
    end = time.monotonic() + 600
    while not list(folder.glob(".out.merging-*/out/*.safetensors")):
        assert run.poll() is None and time.monotonic() < end, run.communicate()
        time.sleep(0.002)
    run.send_signal(number)
    run.communicate(timeout=600)
    assert run.returncode != 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_while_writing(
    trio: Trio, tmp_path: Path, big: dict, number: signal.Signals
) -> None:
    """A real kill: old output untouched, no new one; the next merge clears what was left."""
    merging.merged(tmp_path, good(trio))
    before = merging.digest(tmp_path / "out")
    kill_in_the_middle(tmp_path, big, number)
    assert merging.digest(tmp_path / "out") == before
    assert bool(leftovers(tmp_path)) == (number == signal.SIGKILL)
    merging.merged(tmp_path, good(trio))
    assert merging.digest(tmp_path / "out") == before and not leftovers(tmp_path)


@pytest.mark.slow
def test_killed_without_an_old_output(tmp_path: Path, big: dict) -> None:
    """Nothing stands at the target that looks like a model."""
    kill_in_the_middle(tmp_path, big, signal.SIGKILL)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_two_merges_to_one_target(trio: Trio, tmp_path: Path, big: dict) -> None:
    """At the same time: each is whole, the one that ends last stands."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    recipes = [merging.write(tmp_path / "one", big), merging.write(tmp_path / "two", good(trio))]
    runs = [warm.Process("mergekit-yaml", path, tmp_path / "out") for path in recipes]
    for run in runs:
        _, errors = run.communicate(timeout=600)
        assert run.returncode == 0, errors
    found = merging.digest(tmp_path / "out")
    for number, content in enumerate((big, good(trio))):
        alone = tmp_path / f"alone{number}"
        alone.mkdir()
        merging.merged(alone, content)
        if merging.digest(alone / "out")["model.safetensors"] == found["model.safetensors"]:
            assert merging.digest(alone / "out").keys() == found.keys()
            break
    else:
        pytest.fail("the output is neither merge's")
    assert not leftovers(tmp_path)


def test_a_running_merge_is_not_cleaned_up(tmp_path: Path) -> None:
    """Its folder is locked while it works, and nobody's once it has died."""
    target = str(tmp_path / "out")
    with output.staged(target) as first:
        (first / "config.json").write_text("first")
        with output.staged(target) as second:
            (second / "config.json").write_text("second")
        assert (tmp_path / "out" / "config.json").read_text() == "second"
        assert (first / "config.json").read_text() == "first"
    assert (tmp_path / "out" / "config.json").read_text() == "first"
    (tmp_path / ".out.merging-dead" / "out").mkdir(parents=True)
    with output.staged(target):
        assert not (tmp_path / ".out.merging-dead").exists()


@pytest.mark.parametrize("exchange", [True, False])
def test_the_swap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool) -> None:
    """With and without the system's own exchange of two folders."""
    if not exchange:
        monkeypatch.setattr(output, "_exchange", lambda *_: False)
    for text in ("one", "two"):
        with output.staged(str(tmp_path / "out")) as stage:
            (stage / "config.json").write_text(text)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "config.json").read_text() == "two"


def test_the_swap_is_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Linux no moment passes without an output: nothing is renamed away first."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not output._exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system can't exchange two folders")
    assert (tmp_path / "a" / "b").exists() and (tmp_path / "b" / "a").exists()
    (tmp_path / "out").mkdir()

    def no_rename(*_: object) -> None:
        raise AssertionError("renamed")

    monkeypatch.setattr(Path, "rename", no_rename)
    with output.staged(str(tmp_path / "out")) as stage:
        (stage / "config.json").write_text("new")
    assert (tmp_path / "out" / "config.json").read_text() == "new"


def test_a_swap_that_was_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where folders can't be exchanged in one step: killed between two renames."""
    pid = os.fork()
    if pid == 0:
        try:
            output._exchange = lambda *_: False
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "config.json").write_text("old")
            rename = Path.rename

            def die_on_second(self: Path, target: Path) -> Path:
                if self.parent.name.startswith(".out.merging"):
                    os.kill(os.getpid(), signal.SIGKILL)
                return rename(self, target)

            Path.rename = die_on_second
            with output.staged(str(tmp_path / "out")) as stage:
                (stage / "config.json").write_text("new")
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    with pytest.raises(MergeError), output.staged(str(tmp_path / "out")):
        raise MergeError("the next merge fails")
    assert (tmp_path / "out" / "config.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
