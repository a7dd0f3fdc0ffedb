"""Work is shared out whole, each piece once, whatever the number of threads."""

from collections.abc import Iterator

import pytest
import torch

from dogerm_plugin.methods.linear import CHUNK, linear
from dogerm_plugin.methods.threads import one_thread, shared_out


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_each_piece_once(threads: int) -> None:
    def work(some: Iterator[int]) -> list[tuple[int, int]]:
        return [(piece, torch.get_num_threads()) for piece in some]

    for count in (0, 1, 2, 50):
        found = shared_out(work, range(count))
        assert len(found) == (min(threads, count) if count > 1 else 1)
        pieces = sorted(piece for one in found for piece, _ in one)
        assert pieces == [*range(count)]
        assert {number for one in found for _, number in one} <= {1}
        assert torch.get_num_threads() == threads
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == threads


def test_an_error_in_a_thread(threads: int) -> None:
    def work(some: Iterator[int]) -> float:
        return sum(1 / piece for piece in some)

    with pytest.raises(ZeroDivisionError):
        shared_out(work, [1, 2, 0, 3])
    assert torch.get_num_threads() == threads


def test_a_tensor_of_several_chunks(threads: int) -> None:
    """To the bit, the last and shorter chunk too."""
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(2 * CHUNK + 7, generator=generator).bfloat16() for _ in range(2))
    expected = (one.float() * 0.75 + other.float() * 0.25).bfloat16()
    assert torch.equal(linear(one, [other], [0.25]), expected)
