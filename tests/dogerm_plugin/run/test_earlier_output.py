"""What a user put into an output folder is never lost, and never loaded with the new output."""

import json
import logging
import os
import shutil
from pathlib import Path

import merging
import pytest
from folders import put, texts, write
from merging import Trio
from transformers import AutoModelForSequenceClassification

from dogerm_plugin.run import manifest, output

MINE = {
    "README.md": "my own card",
    "tokenizer_notes.txt": "notes",
    "vocab.csv": "a,b",
    "chat_template_mine.jinja": "{{ mine }}",
    "model-before-dpo.safetensors": "weights of mine",
    "pytorch_model_notes.bin": "notes",
    "run.py": "print()",
}


def good(trio: Trio, **more: object) -> dict:
    return merging.recipe(trio.rm, (trio.lm, 0.3), **more)


def test_names_that_begin_like_a_models(
    trio: Trio, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In a folder that was there before, and in one of a merge."""
    put(tmp_path / "out", MINE)
    with caplog.at_level(logging.WARNING, "dogerm"):
        assert merging.command(tmp_path, good(trio), tmp_path / "out").exit_code == 0
    said = [record.getMessage() for record in caplog.records if record.name == "dogerm"]
    assert len(said) == 1 and "README.md as README.md.before-merge" in said[0]
    for _ in range(2):
        assert merging.command(tmp_path, good(trio), tmp_path / "out").exit_code == 0
    found = tmp_path / "out"
    for name, text in MINE.items():
        kept = f"{name}.before-merge" if name == "README.md" else name
        assert (found / kept).read_text() == text
    assert "mergekit" in (found / "README.md").read_text()
    assert not list(found.glob("*.before-merge.*"))


def test_an_unchanged_earlier_output_goes(tmp_path: Path) -> None:
    """Nothing of it is kept: neither shards nor a tokenizer that the new one lacks."""
    out = tmp_path / "out"
    write(out, {"model-00001-of-00002.safetensors": "1", "vocab.json": "{}", "config.json": "a"})
    write(out, {"model.safetensors": "2", "config.json": "b"})
    assert texts(out) == {"model.safetensors": "2", "config.json": "b"}


def test_of_the_same_size_and_time(tmp_path: Path) -> None:
    """A user's own weights in the place of the merged ones."""
    out = tmp_path / "out"
    write(out, {"model.safetensors": "merged"})
    before = (out / "model.safetensors").stat()
    (out / "model.safetensors").write_text("mine!!")
    os.utime(out / "model.safetensors", ns=(before.st_atime_ns, before.st_mtime_ns))
    write(out, {"model.safetensors": "merged"})
    assert texts(out) == {"model.safetensors": "merged", "model.safetensors.before-merge": "mine!!"}


@pytest.mark.parametrize("how", ["edited", "replaced", "untouched", "moved with its folder"])
def test_large_files_are_known_by_their_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Without reading them."""
    monkeypatch.setattr(manifest, "HASHED", 3)
    out, other = tmp_path / "out", tmp_path / "other"
    write(out, {"model.safetensors": "merged"})
    other.write_text("mine!!")
    before = (out / "model.safetensors").stat()
    if how == "edited":
        (out / "model.safetensors").write_text("mine!!")
    if how == "replaced":
        other.rename(out / "model.safetensors")
    if how in ("edited", "replaced"):
        os.utime(out / "model.safetensors", ns=(before.st_atime_ns, before.st_mtime_ns))
    if how == "moved with its folder":
        out = out.rename(tmp_path / "elsewhere")
    write(out, {"model.safetensors": "second"})
    kept = {"model.safetensors.before-merge": "mine!!"} if how in ("edited", "replaced") else {}
    assert texts(out) == {"model.safetensors": "second", **kept}


def test_a_copied_folder_is_known_by_its_digests(tmp_path: Path) -> None:
    write(tmp_path / "out", {"config.json": "a", "README.md": "card"})
    shutil.copytree(tmp_path / "out", tmp_path / "copy", copy_function=shutil.copyfile)
    write(tmp_path / "copy", {"config.json": "b"})
    assert texts(tmp_path / "copy") == {"config.json": "b"}


def test_a_damaged_manifest_is_none(tmp_path: Path) -> None:
    """All is kept then, the file of that name too."""
    for text in ("", "{}", '{"written_by": "dogerm", "files": [1]}', "[" * 10_000):
        out = tmp_path / f"out{len(text)}"
        put(out, {"config.json": "mine", manifest.NAME: text})
        write(out, {"config.json": "new"})
        kept = {"config.json.before-merge": "mine", f"{manifest.NAME}.before-merge": text}
        assert texts(out) == {"config.json": "new", **kept}


def test_a_manifest_names_nothing_outside(tmp_path: Path) -> None:
    """Only what lies in the folder is looked up in it."""
    put(tmp_path, {"mine.txt": "mine", "out/config.json": "a", "linked/deep.txt": "mine"})
    (tmp_path / "out" / "folder").symlink_to(tmp_path / "linked")
    digests = manifest.taken(tmp_path).files
    files = {"../mine.txt": digests["mine.txt"], "folder/deep.txt": digests["linked/deep.txt"]}
    manifest.write(tmp_path / "out", manifest.Manifest(files))
    write(tmp_path / "out", {"config.json": "b"})
    assert (tmp_path / "mine.txt").exists() and (tmp_path / "linked" / "deep.txt").exists()
    assert (tmp_path / "out" / "folder").is_symlink()


def test_a_users_weights_would_be_loaded_instead(trio: Trio, tmp_path: Path) -> None:
    """transformers takes a single file before an index, and puts an adapter on top."""
    out = tmp_path / "out"
    put(out, {"model.safetensors": "stale", "adapter_config.json": "{}", "added_tokens.json": "{}"})
    merging.merged(tmp_path, good(trio), "--out-shard-size", "20k")
    AutoModelForSequenceClassification.from_pretrained(out)
    for name in ("model.safetensors", "adapter_config.json", "added_tokens.json"):
        assert not (out / name).exists() and (out / f"{name}.before-merge").exists()


def test_code_that_the_new_config_names(tmp_path: Path) -> None:
    """It would be run with the new output; other scripts stay."""
    out = tmp_path / "out"
    put(out, {"modeling_x.py": "a", "eval.py": "b", "additional_chat_templates/rag.jinja": "c"})
    config = {"auto_map": {"AutoModel": "modeling_x.X", "AutoTokenizer": ["tok.Y", None]}}
    write(out, {"config.json": json.dumps(config)})
    assert set(texts(out)) == {
        "config.json",
        "modeling_x.py.before-merge",
        "eval.py",
        "additional_chat_templates/rag.jinja.before-merge",
    }


def test_numbers_and_long_names(tmp_path: Path) -> None:
    """An earlier file that was kept is not replaced by the next; the same text is kept once."""
    out, long = tmp_path / "out", "a" * 250
    for text in ("one", "two", "two"):
        put(out, {"README.md": text, long: text})
        write(out, {"README.md": "card", long: "new"})
    found = texts(out)
    assert found["README.md.before-merge"] == "one" and found["README.md.before-merge.2"] == "two"
    assert sorted(found.values()) == sorted(["card", "new", *["one", "two"] * 2])


def test_a_folder_of_a_files_name(tmp_path: Path) -> None:
    out = tmp_path / "out"
    put(out, {"config.json/mine.txt": "mine", "runs/log.txt": "log"})
    (out / "empty").mkdir()
    write(out, {"config.json": "new", "runs": "a file"})
    assert texts(out) == {
        "config.json": "new",
        "config.json.before-merge/mine.txt": "mine",
        "runs": "a file",
        "runs.before-merge/log.txt": "log",
    }
    assert (out / "empty").is_dir()


def test_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copied then, with their times."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    out = tmp_path / "out"
    put(out, {"notes.md": "mine", "config.json": "mine"})
    write(out, {"config.json": "new"})
    assert texts(out) == {
        "notes.md": "mine",
        "config.json": "new",
        "config.json.before-merge": "mine",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_written_at_the_last_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the links and the exchange."""
    out = tmp_path / "out"
    put(out, {"notes.md": "mine"})
    exchange = output._exchange

    def late(stage: Path, final: Path) -> bool:
        put(final, {"late.txt": "late", "runs/late.txt": "late", "config.json": "late"})
        return exchange(stage, final)

    monkeypatch.setattr(output, "_exchange", late)
    write(out, {"config.json": "new"})
    assert texts(out) == {
        "notes.md": "mine",
        "late.txt": "late",
        "runs/late.txt": "late",
        "config.json": "new",
        "config.json.before-merge": "late",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_folders_access_stays(tmp_path: Path) -> None:
    """Owner, group, mode with its setgid bit, extended attributes; new files get the group."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    out = tmp_path / "out"
    put(out, {"runs/log.txt": "mine", "config.json": "mine"})
    for folder, owner in ((out, 1234), (out / "runs", 4321)):
        os.chown(folder, owner, 2345)
        folder.chmod(0o2775)
    try:
        os.setxattr(out, "user.note", b"mine")
    except OSError:
        pytest.skip("a file system without extended attributes")
    write(out, {"config.json": "new", "model.safetensors": "new"})
    for folder, owner in ((out, 1234), (out / "runs", 4321)):
        found = folder.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (owner, 2345, 0o2775)
    assert os.getxattr(out, "user.note") == b"mine"
    assert (out / "model.safetensors").stat().st_gid == 2345
