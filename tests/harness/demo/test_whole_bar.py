# SPDX-License-Identifier: Apache-2.0
"""One bar for all that a command scores."""

from __future__ import annotations

import sys

import click
import pytest

from harness.demo.whole_bar import whole_bar
from harness.models.score import progress


def test_all_that_is_scored_moves_one_bar_and_lines_stand_above(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stderr = sys.stderr
    with whole_bar(10):
        for rows in (4, 3):
            click.echo(f"scoring {rows}", err=True)
            with progress.bar(rows, hidden=True) as bar:
                bar.update(rows)
    assert sys.stderr is stderr
    shown = capsys.readouterr().err.replace("\r", "\n").split("\n")
    assert [line for line in shown if line.startswith("scoring")] == ["scoring 4", "scoring 3"]
    bars = [line for line in shown if line.startswith("Scoring:")]
    assert "0/10" in bars[0] and "7/7" in bars[-1]  # what was not scored again is not waited for


def test_an_error_leaves_stderr_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    stderr = sys.stderr
    with pytest.raises(click.ClickException), whole_bar(10):
        raise click.ClickException("no model")
    assert sys.stderr is stderr
    with progress.bar(2, hidden=True) as bar:
        assert bar.disable  # a bar of its own again
