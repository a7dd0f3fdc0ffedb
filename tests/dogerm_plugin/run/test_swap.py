"""Every point at which a swap of folders can be killed, and folders that can't be swapped."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import merging
import pytest
from folders import put, texts, write
from merging import Trio

from dogerm_plugin.errors import MergeError
from dogerm_plugin.run import in_place, journal, manifest, output, target

OLD = {"config.json": "old", "model-00001-of-00002.safetensors": "old", "vocab.json": "old"}
NEW = {"config.json": "new", "model.safetensors": "new"}
MINE = {"notes.md": "mine", "runs/log.txt": "mine", "README.md": "mine"}
EVENTS = ("os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "open")


def in_child(work: Callable[[], None]) -> int:
    """Run it in a forked process; its exit status."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            work()
            status = 0
        except MergeError as error:
            print(error, file=sys.stderr)
            status = 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed_at(number: int, out: Path) -> Callable[[], None]:
    """A merge that is killed at its `number`th change of the disk."""

    def work() -> None:
        left = number

        def hook(event: str, arguments: tuple) -> None:
            nonlocal left
            if event not in EVENTS or str(out.parent) not in os.fsdecode(str(arguments[0])):
                return
            if event == "open" and not any(letter in str(arguments[1]) for letter in "wax"):
                return
            left -= 1
            if left == 0:
                os._exit(9)

        sys.addaudithook(hook)
        write(out, {**NEW, "README.md": "card"})

    return work


def not_renamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on an overlay file system: files can be renamed, a folder of the image can't."""
    rename = Path.rename

    def refused(self: Path, other: Path) -> Path:
        if self.name == "out" and Path(other).name == journal.OLD:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", refused)


@pytest.mark.parametrize("way", ["exchange", "two renames", "file by file"])
def test_killed_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """The next merge, to its end or not, finds all of the user's files and one whole output."""
    if way != "exchange":
        monkeypatch.setattr(output, "_exchange", lambda *_: False)
    if way == "file by file":
        not_renamed(monkeypatch)
    whole = (
        {**OLD, **MINE},
        {**{k: v for k, v in MINE.items() if k != "README.md"}, **NEW, "README.md": "card"},
    )
    for number in range(1, 200):
        out = tmp_path / str(number) / "out"
        write(out, {**OLD, "README.md": "card"})
        put(out, MINE)
        status = in_child(killed_at(number, out))
        if status == 0:
            assert number > 10
            break
        assert status == 9
        if way == "exchange":
            standing = {k: v for k, v in texts(out).items() if "before-merge" not in k}
            assert standing in whole
        if way == "file by file" and (out / "config.json").exists():  # else it can't be loaded
            standing = {k: v for k, v in texts(out).items() if "before-merge" not in k}
            assert standing.items() >= OLD.items() or standing.items() >= NEW.items()
        if number % 2:
            with pytest.raises(MergeError), output.staged(str(out)):
                raise MergeError("the next merge fails")
            found = texts(out)
            kept = {name for name, text in found.items() if text == "mine"}
            assert kept >= {"notes.md", "runs/log.txt"} and len(kept) == 3
            standing = {k: v for k, v in found.items() if "before-merge" not in k}
            assert standing in whole
        write(out, {**NEW, "README.md": "card"})
        found = texts(out)
        assert {k: v for k, v in found.items() if v != "mine"} == {**NEW, "README.md": "card"}
        assert {k for k, v in found.items() if v == "mine"} == {
            "notes.md",
            "runs/log.txt",
            "README.md.before-merge",
        }
        assert [path.name for path in out.parent.iterdir()] == ["out"]
    else:
        pytest.fail("never came to the end")


def test_a_folder_made_where_none_stood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between two renames; the user, who sees nothing, makes the folder again."""
    monkeypatch.setattr(output, "_exchange", lambda *_: False)
    out = tmp_path / "out"
    write(out, OLD)
    put(out, MINE)
    rename = Path.rename

    def die(self: Path, other: Path) -> Path:
        if self.parent.name.startswith(".out.merging"):
            os._exit(9)
        return rename(self, other)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", die)
        assert in_child(lambda: write(out, NEW)) == 9
    assert not out.exists()
    put(out, {"notes.md": "second"})
    write(out, NEW)
    found = texts(out)
    assert found == {**MINE, **NEW, "notes.md": "second", "notes.md.before-merge": "mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_large_files_after_a_swap_file_by_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are still known as ours."""
    monkeypatch.setattr(manifest, "HASHED", 1)
    monkeypatch.setattr(output, "_exchange", lambda *_: False)
    not_renamed(monkeypatch)
    out = tmp_path / "out"
    for _ in range(3):
        put(out, {"notes.md": "mine"})
        write(out, NEW)
    assert texts(out) == {**NEW, "notes.md": "mine"}


def test_anothers_leftover_is_left_alone(tmp_path: Path) -> None:
    """A folder whose name only looks like a leftover."""
    mine = tmp_path / ".out.merging-ideas"
    put(mine, {"notes.md": "mine"})
    write(tmp_path / "out", NEW)
    assert texts(mine) == {"notes.md": "mine"}


@pytest.fixture
def mounted(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """`out` with a mount of a tmpfs, or of a folder of the same file system, at `out/data`."""
    point, source = tmp_path / "out" / "da ta", tmp_path / "source"
    point.mkdir(parents=True)
    source.mkdir()
    kinds = {"tmpfs": ["-t", "tmpfs", "tmpfs"], "bind": ["--bind", str(source)]}
    mount = ["mount", *kinds[request.param], str(point)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("can't mount here")
    yield point
    subprocess.run(["umount", "-l", str(point)], check=True)


@pytest.mark.parametrize("mounted", ["tmpfs", "bind"], indirect=True)
def test_a_mount_inside(trio: Trio, tmp_path: Path, mounted: Path) -> None:
    """Refused before the work; the files on it stay on it."""
    put(mounted, {"rows.txt": "mine"})
    recipe = merging.recipe(trio.rm, (trio.lm, 0.3))
    assert "holds the mount point" in merging.refused(tmp_path, recipe)
    with pytest.raises(MergeError, match="mount point"):
        write(tmp_path / "out", NEW)
    assert texts(tmp_path / "out") == {"da ta/rows.txt": "mine"}
    subprocess.run(["umount", str(mounted)], check=True)
    assert texts(tmp_path / "source") in ({}, {"rows.txt": "mine"})
    write(tmp_path / "out", NEW)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(mounted)], check=True)


def test_mounts_are_found_without_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system lists none, by the device of each folder."""
    monkeypatch.setattr(target, "MOUNTS", "/nowhere")
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "b")
    assert target.mounts_in(tmp_path) == [tmp_path / "a" / "b"]


def as_nobody(work: Callable[[], None]) -> int:
    def dropped() -> None:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        work()

    return in_child(dropped)


def world(tmp_path: Path, mode: int) -> Path:
    """A folder with these permissions that a user who is not root can reach."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    for parent in (tmp_path, *tmp_path.parents):
        if parent.owner() == "root" and parent != Path("/") and parent.name != "tmp":
            parent.chmod(parent.stat().st_mode | 0o555)
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(mode)
    return folder


@pytest.mark.parametrize("mode", [0o755, 0o777, 0o1777])
@pytest.mark.parametrize("out_mode", [0o755, 0o777])
def test_of_another_owner(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], mode: int, out_mode: int
) -> None:
    """Refused, whatever its permissions and those of its parent; nothing is touched."""
    shared = world(tmp_path, mode)
    write(shared / "out", OLD)
    put(shared / "out", MINE)
    (shared / "out").chmod(out_mode)
    before = texts(shared)

    def never() -> None:
        with output.staged(str(shared / "out")):
            os._exit(98)  # the work would begin

    assert as_nobody(never) == 1
    assert "nobody" not in (said := capfd.readouterr().err) and "out" in said
    assert texts(shared) == before and [p.name for p in shared.iterdir()] == ["out"]


def test_ones_own_in_a_sticky_folder(tmp_path: Path) -> None:
    """As in /tmp: not refused."""
    shared = world(tmp_path, 0o1777)

    def twice() -> None:
        write(shared / "out", OLD)
        put(shared / "out", MINE)
        write(shared / "out", NEW)

    assert as_nobody(twice) == 0
    assert texts(shared / "out") == {**NEW, **MINE}


def test_a_folder_inside_of_another_owner(tmp_path: Path) -> None:
    """It could not be moved."""
    shared = world(tmp_path, 0o777)
    put(shared / "out" / "runs", {"log.txt": "mine"})
    os.chown(shared / "out", 65534, 65534)
    assert as_nobody(lambda: write(shared / "out", NEW)) == 1
    assert texts(shared) == {"out/runs/log.txt": "mine"}


@pytest.mark.parametrize("name", [".", "out", "out/runs", "out/runs/log.txt"])
def test_immutable(tmp_path: Path, name: str) -> None:
    """`chattr +i` binds root, too: refused before the work."""
    put(tmp_path / "out", MINE)
    if shutil.which("chattr") is None:
        pytest.skip("no chattr")
    done = subprocess.run(["chattr", "+i", str(tmp_path / name)], capture_output=True)
    if done.returncode:
        pytest.skip("this file system has no such flag")
    try:
        with pytest.raises(MergeError, match=r"name (another folder|a folder elsewhere)"):
            write(tmp_path / "out", NEW)
    finally:
        subprocess.run(["chattr", "-i", str(tmp_path / name)], check=True)
    assert texts(tmp_path) == {f"out/{name}": text for name, text in MINE.items()}


def test_replace_goes_on(tmp_path: Path) -> None:
    """Called again where nothing is left to do."""
    (tmp_path / "out").mkdir()
    (tmp_path / "stage").mkdir()
    in_place.replace(tmp_path / "stage", tmp_path / "out", tmp_path / "old")
    assert not any((tmp_path / "out").iterdir())


@pytest.mark.parametrize("name", ["n\nl", "täst/", "a b", "x" * 250])
def test_names(tmp_path: Path, name: str) -> None:
    """New lines, a slash at the end, the longest there are."""
    for text in ("one", "two"):
        with output.staged(f"{tmp_path}/{name}") as stage:
            put(stage, {"config.json": text})
    assert texts(tmp_path / name) == {"config.json": "two"}
    assert len(list(tmp_path.iterdir())) == 1
