"""A pack holds every row whole, and what a tree's rows begin with once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.models.score.tree import Pack, common_beginning, size

ROWS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=4)


@given(st.lists(ROWS, min_size=1, max_size=4))
def test_each_row_can_be_read_out_of_its_tree(groups: list[list[list[int]]]) -> None:
    pack = Pack.of(groups)
    for tree, rows in zip(pack.trees, groups, strict=True):
        for number, row in enumerate(rows):
            places = [tree.place(number, position) for position in range(len(row))]
            assert [pack.ids[place] for place in places] == row
            assert [pack.positions[place] for place in places] == list(range(len(row)))


@given(st.lists(ROWS, min_size=1, max_size=4))
def test_the_parts_are_the_sequence_and_nothing_is_there_twice(
    groups: list[list[list[int]]],
) -> None:
    pack = Pack.of(groups)
    parts = [span for tree in pack.trees for span in (tree.beginning, *tree.endings)]
    assert [place for span in parts for place in range(span.start, span.stop)] == [
        *range(len(pack.ids))
    ]
    assert len(pack.ids) == sum(map(size, groups))


def test_a_row_by_itself_has_no_beginning() -> None:
    """So that it is one causal part."""
    (tree,) = Pack.of([[[5, 6, 7]]]).trees
    assert (len(tree.beginning), len(tree.endings[0])) == (0, 3)


def test_what_rows_begin_with() -> None:
    assert common_beginning([[1, 2, 3], [1, 2, 4, 5], [1, 2]]) == 2
    assert common_beginning([[1], [2]]) == 0
    assert size([[1, 2, 3], [1, 2, 4, 5], [1, 2]]) == 5
