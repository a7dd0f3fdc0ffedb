"""One good answer becomes a pair."""

from __future__ import annotations

from harness.training.generated.corruption import corrupted_pairs

ROWS = [
    {
        "prompt": f"Tell me about {name}.",
        "chosen": f"{name} lives near the river. There are {n} trees.",
    }
    for n, name in enumerate(["Berta", "Konrad", "Ludmila", "Oskar"], 10)
]


def test_so_many_words_are_exchanged() -> None:
    """The rest stays, word for word."""
    for swaps in (1, 2):
        for row in corrupted_pairs(ROWS, seed=1, swaps=swaps):
            one, other = row["chosen"].split(), row["rejected"].split()
            assert len(one) == len(other)
            assert 1 <= sum(a != b for a, b in zip(one, other, strict=True)) <= swaps
    assert corrupted_pairs(ROWS, seed=1) == corrupted_pairs(ROWS, seed=1)


def test_answers_are_cut_to_whole_sentences() -> None:
    """And dropped where the first one is too long."""
    cut = corrupted_pairs(ROWS, seed=1, longest=6)
    assert [row["chosen"] for row in cut] == [r["chosen"].split(".")[0] + "." for r in ROWS]
    assert corrupted_pairs(ROWS, seed=1, longest=3) == []
