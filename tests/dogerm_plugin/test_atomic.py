"""What appears as a whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from dogerm_plugin.files.atomic import mode_of, replacing, staging, write_text


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_text(file, "a")
    with pytest.raises(UnicodeEncodeError):
        write_text(file, "\udc80")
    assert file.read_text("utf-8") == "a"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_link_is_replaced_and_what_it_names_stays(tmp_path: Path) -> None:
    """Else a link that a user put there would have another file overwritten."""
    (tmp_path / "mine").write_text("mine", "utf-8")
    (tmp_path / "file").symlink_to("mine")
    with replacing(tmp_path / "file", tmp_path / "partial") as partial:
        partial.write_text("new", "utf-8")
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "mine").read_text("utf-8") == "mine"


def test_a_staged_folder_is_moved_or_removed(tmp_path: Path) -> None:
    """With the mode of any new folder, and nothing left where it was made."""
    (tmp_path / "usual").mkdir()
    with staging(tmp_path, ".work.") as stage:
        assert stage.parent == tmp_path and stage.name.startswith(".work.")
        (stage / "file").touch()
        stage.rename(tmp_path / "made")
    with pytest.raises(ValueError), staging(tmp_path) as stage:
        (stage / "file").touch()
        raise ValueError
    assert sorted(one.name for one in tmp_path.iterdir()) == ["made", "usual"]
    assert (tmp_path / "made").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_the_mode_is_that_of_the_file_before_or_of_any_new_one(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert mode_of(tmp_path / "other") == stat.S_IMODE(file.stat().st_mode)
    os.chmod(file, 0o640)
    assert mode_of(file) == 0o640
