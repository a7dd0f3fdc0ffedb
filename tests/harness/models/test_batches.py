"""Batches: every row once, longest first, no more than allowed."""

from __future__ import annotations

from harness.models.batches import WINDOW, batches

LENGTHS = [(7 * n) % 50 + 1 for n in range(2 * WINDOW + 9)]


def test_every_row_comes_once_in_even_batches() -> None:
    made = list(batches(LENGTHS, lambda n: [0] * LENGTHS[n], lambda longest: 8, lambda a, b: True))
    assert sorted(row.number for batch in made for row in batch) == list(range(len(LENGTHS)))
    assert all(len(batch) <= 8 for batch in made)
    assert len(made[0][0].ids) == max(LENGTHS)
    padding = sum(len(batch[0].ids) * len(batch) for batch in made) - sum(LENGTHS)
    assert padding < 0.05 * sum(LENGTHS)


def test_rows_that_may_not_share_stay_apart() -> None:
    made = list(batches(LENGTHS, lambda n: [0] * LENGTHS[n], lambda longest: 8, int.__eq__))
    assert all(len({len(row.ids) for row in batch}) == 1 for batch in made)


def test_rows_are_tokenized_when_their_turn_comes() -> None:
    tokenized: list[int] = []

    def tokenize(number: int) -> list[int]:
        tokenized.append(number)
        return [0] * LENGTHS[number]

    next(batches(LENGTHS, tokenize, lambda longest: 8, lambda a, b: True))
    assert len(tokenized) == WINDOW


def test_the_limit_is_asked_for_every_batch() -> None:
    limits = iter([4, 2, 1, 1, 1, 1])
    made = list(batches([5] * 9, lambda n: [0] * 5, lambda longest: next(limits), int.__eq__))
    assert [len(batch) for batch in made] == [4, 2, 1, 1, 1]
