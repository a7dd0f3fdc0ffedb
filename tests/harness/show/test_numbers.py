"""Numbers, weights and names as they are read."""

from __future__ import annotations

import doctest

import pytest

from harness.show import naming, numbers
from harness.show.study_file import Making
from tests.harness.show import example


@pytest.mark.parametrize("module", [numbers, naming])
def test_the_examples(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted and not result.failed


def test_times_are_told_with_their_parts_where_these_are_known() -> None:
    made = example.made("dogerm sweep")
    assert numbers.times(Making.model_validate(made)) == ["20 min 34 s"]
    made |= {"scoring_seconds": 900.0, "merging_seconds": 31.25}
    assert numbers.times(Making.model_validate(made)) == [
        "20 min 34 s",
        "scoring 15 min 0 s",
        "merging 31.2 s, earlier runs of it included",
    ]
