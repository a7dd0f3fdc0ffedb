"""Length balance and what measures it."""

from __future__ import annotations

from harness.training.balance import balance_length, length_matched, longer_is_chosen
from tests.harness.training.conftest import pairs


def test_the_longer_answer_is_chosen_in_half() -> None:
    """The largest such choice, in the same order, and the same for the same seed."""
    rows = pairs(100)
    longer = [r for r in rows if len(r["chosen"]) > len(r["rejected"])]
    shorter = [r for r in rows if len(r["chosen"]) < len(r["rejected"])]
    assert min(len(longer), len(shorter)) > 0 and len(longer) != len(shorter)
    kept = balance_length(rows, seed=1)
    assert longer_is_chosen(kept) == 0.5
    equal = len(rows) - len(longer) - len(shorter)
    assert len(kept) == 2 * min(len(longer), len(shorter)) + equal
    assert [rows.index(row) for row in kept] == sorted(rows.index(row) for row in kept)
    assert kept == balance_length(rows, seed=1) != balance_length(rows, seed=2)


def test_length_baseline_counts_ties_half() -> None:
    """Always taking the longer one is right, wrong, or a coin's throw."""
    rows = [
        {"chosen": "aaa", "rejected": "a"},
        {"chosen": "a", "rejected": "aaa"},
        {"chosen": "aa", "rejected": "bb"},
        {"chosen": "aaaa", "rejected": "b"},
    ]
    assert longer_is_chosen(rows) == (1 + 0 + 0.5 + 1) / 4


def test_matched_pairs_differ_by_a_tenth_at_most() -> None:
    """The tolerance is relative to the longer answer and includes its bound."""
    rows = [
        {"chosen": "a" * 90, "rejected": "b" * 100},
        {"chosen": "a" * 89, "rejected": "b" * 100},
        {"chosen": "a" * 100, "rejected": "b" * 95},
    ]
    assert length_matched(rows) == [0, 2]
