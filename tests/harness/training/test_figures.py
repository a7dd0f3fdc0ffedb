"""Figures by hand-made rewards."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from harness.training.figures import curves, pair_figures, write_figures

ROWS = [
    {"chosen": "a" * 10, "rejected": "b" * 10},
    {"chosen": "a" * 30, "rejected": "b" * 10},
    {"chosen": "a" * 10, "rejected": "b" * 30},
    {"chosen": "a" * 10, "rejected": "c" * 10},
]


def test_accuracy_plain_and_length_matched() -> None:
    """A tie is wrong; matched pairs are the first and the last."""
    figures = pair_figures(ROWS, [1.0, 2.0, 0.0, 0.5], [0.0, 0.0, 1.0, 0.5])
    assert figures["accuracy"] == 2 / 4
    assert figures["accuracy_stderr"] == pytest.approx(math.sqrt(0.25 / 4))
    assert (figures["matched_pairs"], figures["matched_accuracy"]) == (2, 0.5)
    assert figures["longer_is_chosen"] == (0.5 + 1 + 0 + 0.5) / 4


def test_nothing_is_not_zero() -> None:
    """No pairs: no accuracy."""
    assert pair_figures([], [], [])["accuracy"] is None


def test_files(tmp_path: Path) -> None:
    """A PNG that is a picture, and its numbers as JSON."""
    log = [{"step": 1, "loss": 0.7, "accuracy": 0.5}, {"step": 2, "eval_loss": 0.6}]
    assert curves(log) == {
        "training loss": [(1, 0.7)],
        "training accuracy": [(1, 0.5)],
        "validation loss": [(2, 0.6)],
    }
    write_figures(tmp_path, {"kind": "reward"}, log)
    assert (tmp_path / "figures.png").read_bytes().startswith(b"\x89PNG")
    saved = json.loads((tmp_path / "figures.json").read_text())
    assert saved["curves"]["validation loss"] == [[2, 0.6]]
