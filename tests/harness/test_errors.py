"""What a user is told of a mistake."""

from __future__ import annotations

import doctest
from pathlib import Path

import click
import pytest

from harness import errors
from harness.errors import HarnessError, told_in_one_line


def test_the_examples() -> None:
    assert doctest.testmod(errors).failed == 0


def test_mistakes_and_files_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException) as mistake, told_in_one_line():
        raise HarnessError("column x is missing;\n  rename it")
    assert mistake.value.message == "column x is missing; rename it"
    with pytest.raises(click.ClickException) as file, told_in_one_line():
        (tmp_path / "nowhere").read_text()
    assert "No such file or directory" in file.value.message and "nowhere" in file.value.message


def test_a_fault_of_our_own_keeps_its_traceback() -> None:
    with pytest.raises(KeyError), told_in_one_line():
        raise KeyError("a bug")


def test_a_full_disk_is_told_in_one_line_by_whoever_meets_it(tmp_path: Path) -> None:
    """/dev/full is a disk without room; these libraries raise no OSError of it."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")

    def tokenizer() -> None:
        from tokenizers import Tokenizer
        from tokenizers.models import BPE

        Tokenizer(BPE()).save(str(full))

    def tensors() -> None:
        import torch

        torch.save({"weight": torch.zeros(1 << 18)}, full)  # as a trainer does its optimizer

    for write in (tokenizer, tensors):
        with pytest.raises(click.ClickException) as caught, told_in_one_line():
            write()
        message = caught.value.message
        assert message.startswith("the disk is full (") and "\n" not in message
        assert message.endswith("free some space and start again")
