"""The final number of a solution."""

from __future__ import annotations

import pytest

from harness.tasks.bon.answers import gsm8k_answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("2 + 3 = 5\n#### 5", "5"),
        ("#### 5\nThat is 20 less than 25.", "5"),
        ("First #### 1, no, 2:\n#### $1,234.50", "1234.5"),
        ("The answer is 12 apples, of 30.", "12"),
        ("so the answer is: **-3**", "-3"),
        ("He pays 4 * 2 = <<4*2=8>>8\nA: 8", "8"),
        ("PIZZA: 3 slices of 8", "8"),  # no mark inside a word or a line
        ("It costs $1,000. It was $500.00.", "500"),
        ("5.0 and then 0.00", "0"),
        ("1e5 ... and 10 of them...", "10"),
        ("#### none\nbut 7", "7"),
        ("#### none", None),
        ("four", None),
        ("", None),
    ],
)
def test_the_number_is_found_and_written_one_way(response: str, answer: str | None) -> None:
    assert gsm8k_answer(response) == answer
