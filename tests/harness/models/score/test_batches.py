"""Batches and packs: every row once, largest first, no more than allowed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.models.score.batches import WINDOW, Limits, Row, batches, even, packs
from harness.models.score.tree import size

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


def eights(rows: list[Row]) -> Iterator[list[Row]]:
    return even(rows, lambda longest: 8, lambda a, b: True)


def prompted(number: int) -> list[int]:
    """Three rows of each prompt, which fills half of them."""
    prompt = [number // 3] * (LENGTHS[number // 3] // 2)
    return [*prompt, *range(1000 + number, 1000 + number + LENGTHS[number] // 2 + 1)]


def test_every_row_is_in_a_pack_with_those_of_its_prompt() -> None:
    keys = [number // 3 for number in range(len(LENGTHS))]
    made = list(
        packs(LENGTHS, keys, prompted, lambda _: True, lambda: Limits(64, 400, 400), eights)
    )
    groups = [group for pack in made for group in pack]
    assert sorted(row.number for group in groups for row in group) == list(range(len(LENGTHS)))
    assert len(groups) == len(set(keys))
    assert all(len({row.number // 3 for row in group}) == 1 for group in groups)
    sizes = [sum(size([row.ids for row in group]) for group in pack) for pack in made]
    assert max(sizes) <= 400
    assert sum(sizes) / len(sizes) > 300  # few are left half empty


def test_a_group_beyond_its_limits_is_divided() -> None:
    def divided(limits: Limits) -> list[list[int]]:
        made = packs(
            [9] * 4, [0] * 4, lambda n: [*range(20), n], lambda _: True, lambda: limits, eights
        )
        return [[row.number for row in group] for pack in made for group in pack]

    assert divided(Limits(64, 24, 24)) == [[0, 1, 2, 3]]
    assert divided(Limits(64, 1, 24)) == [[0, 1, 2, 3]]  # together or not at all
    assert divided(Limits(64, 24, 23)) == [[0, 1, 2], [3]]
    assert divided(Limits(2, 24, 24)) == [[0, 1], [2, 3]]
    assert divided(Limits(1, 1, 1)) == [[0], [1], [2], [3]]


def test_rows_that_may_not_share_a_pass_stay_apart() -> None:
    def alike(lengths: Sequence[int]) -> bool:
        return len(set(lengths)) == 1

    keys = [number // 3 for number in range(len(LENGTHS))]
    made = packs(LENGTHS, keys, prompted, alike, lambda: Limits(64, 400, 400), eights)
    assert all(len({len(row.ids) for group in pack for row in group}) == 1 for pack in made)


def test_packs_are_tokenized_when_their_turn_comes() -> None:
    tokenized: list[int] = []

    def tokenize(number: int) -> list[int]:
        tokenized.append(number)
        return [0] * 10

    keys = range(len(LENGTHS))
    next(packs(LENGTHS, keys, tokenize, lambda _: True, lambda: Limits(64, 40, 40), eights))
    assert len(tokenized) == 5


def test_rows_that_are_none_for_a_pack_come_in_batches() -> None:
    """As those beyond a sliding window; packs hold the others of their prompt."""

    def short(lengths: Sequence[int]) -> bool:
        return max(lengths) <= 30

    keys = [number // 3 for number in range(len(LENGTHS))]
    made = list(packs(LENGTHS, keys, prompted, short, lambda: Limits(64, 400, 400), eights))
    rows = [row for pack in made for group in pack for row in group]
    assert sorted(row.number for row in rows) == list(range(len(LENGTHS)))
    long = [pack for pack in made if len(pack[0][0].ids) > 30]
    assert all(len(group) == 1 and len(group[0].ids) > 30 for pack in long for group in pack)
    assert sum(map(len, long)) / len(long) > 7
    assert all(len(row.ids) <= 30 for pack in made if pack not in long for (row, *_) in pack)
