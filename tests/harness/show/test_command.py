"""`dogerm report` as it is typed."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.commands.report import report
from tests.harness.show import example

Write = Callable[[dict[str, Any]], Path]


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(report, list(map(str, arguments)))
    return done.exit_code, done.output


def test_both_files_are_written_beside_the_sweep(write_found: Write) -> None:
    folder = write_found(example.sweep())
    assert run(folder) == (0, f"{folder / 'report.html'}\n{folder / 'report.md'}\n")
    assert sorted(path.name for path in folder.iterdir()) == [
        "report.html",
        "report.md",
        "sweep.json",
    ]


def test_the_markdown_shows_the_pictures_that_are_there(write_found: Write, tmp_path: Path) -> None:
    """By where they are seen from the file; no dead link where they are not."""
    folder = write_found(example.sweep())
    (folder / "lambda.png").write_bytes(b"")
    elsewhere = tmp_path / "pages (new)"
    for output, link in ((folder, "(lambda.png)"), (elsewhere, "(../sweep/lambda.png)")):
        assert run(folder, "-o", output)[0] == 0
        text = (output / "report.md").read_text("utf-8")
        assert text.count("![") == 1 and link in text and "margins.png" not in text
    assert (elsewhere / "report.html").is_file()


def test_a_mistake_is_one_line_and_leaves_the_earlier_report(write_found: Write) -> None:
    folder = write_found(example.sweep() | {"form": 0})
    (folder / "report.html").write_text("earlier")
    code, output = run(folder)
    assert code == 1 and output.startswith("Error: ") and output.count("\n") == 1
    assert "form 0" in output
    (folder / "sweep.json").unlink()
    code, output = run(folder)
    assert code == 1 and "has no sweep.json or search.json" in output and output.count("\n") == 1
    assert (folder / "report.html").read_text() == "earlier"


def test_a_full_disk_leaves_the_earlier_report(
    write_found: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_found(example.search())
    (folder / "report.html").write_text("earlier")

    def fill_the_disk(path: Path, *args: Any, **kwargs: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fill_the_disk)
    code, output = run(folder)
    monkeypatch.undo()
    assert code == 1 and "report.html can't be written (No space left on device)" in output
    assert (folder / "report.html").read_text() == "earlier"
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "search.json"]


def test_half_a_character_is_replaced(write_found: Write) -> None:
    """JSON can hold a lone surrogate, UTF-8 can not."""
    folder = write_found(example.search() | {"notes": ["half \ud800"]})
    assert run(folder)[0] == 0
    assert "<li>half ?</li>" in (folder / "report.html").read_text("utf-8")


def test_a_folder_that_is_not_there_is_told() -> None:
    code, output = run("nowhere")
    assert code == 2 and "'nowhere' does not exist" in output
