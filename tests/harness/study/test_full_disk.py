"""A search whose disk fills in the middle of its trials."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.study.searching import Searching, trials
from tests.harness.study.sweeping import disk_of_one_mebibyte

OPTIONS = "--sampler", "random", "--trials", "12"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disk_of_one_mebibyte(tmp_path / "disk") as folder:
        yield folder


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_it_ends_in_one_line_and_goes_on_when_there_is_room(
    tmp_path: Path, small_disk: Path, reward_model: Path, language_model: Path, share: float
) -> None:
    """While the plain sweep's results are written, and while the database takes trials."""
    folder = Searching(tmp_path, [reward_model, language_model])
    whole = folder.searched(*OPTIONS)
    size = sum(file.stat().st_size for file in folder.out.rglob("*") if file.is_file())
    folder.out = small_disk / "out"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(free - int(size * share)))
    result = folder.search(*OPTIONS)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error")]
    assert "run the same command again" in line
    assert not (folder.out / "search.json").exists()
    ballast.unlink()
    assert trials(folder.searched(*OPTIONS)) == trials(whole)
