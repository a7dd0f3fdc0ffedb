"""Who is asked: by a document's column, whatever patterns there are."""

from __future__ import annotations

import pytest

from harness.models.routing.choice import domain_of
from harness.models.routing.router_file import RouterFile

MADE = RouterFile(
    experts={"general": "a", "math": "b", "code": "c"},
    domain="subset",
    domains={"*": "general", "hep-*": "code", "hep-sums": "math", "[x]": "code"},
)


@pytest.mark.parametrize(
    ("value", "expert"),
    [
        ("hep-sums", "math"),  # in full, though two patterns fit
        ("[x]", "code"),
        ("math", "math"),  # an expert's own name
        ("hep-go", "general"),  # the first pattern
        ("chat", "general"),
    ],
)
def test_what_is_written_in_full_comes_before_patterns(value: str, expert: str) -> None:
    assert domain_of({"subset": value}, "a-task", MADE) == (expert, value)
