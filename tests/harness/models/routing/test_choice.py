"""Who is asked: by a document's column, whatever patterns there are."""

from __future__ import annotations

import pytest

from harness.errors import HarnessError
from harness.models.routing.choice import check_labels, domain_of, no_domain, nothing_told
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


@pytest.mark.parametrize(
    ("labels", "fallback", "told", "untold"),
    [
        (("law", "code", "math", "general"), None, "no expert is called 'law'", "beside:"),
        # A fallback is there already: to give one is no way out.
        (("law", "code", "general"), "general", "none is for 'math', which no", "fallback=NAME"),
        (("code", "general"), None, "none is for 'math', which no", "fallback=NAME"),
    ],
)
def test_a_router_for_others_is_told_with_a_way_out_that_helps(
    labels: tuple[str, ...], fallback: str | None, told: str, untold: str
) -> None:
    made = MADE.model_copy(update={"fallback": fallback})
    with pytest.raises(HarnessError, match=told) as raised:
        check_labels(labels, "router/", made)
    assert untold not in str(raised.value)


def test_a_column_that_is_not_there_is_told_with_those_that_are() -> None:
    told = no_domain(
        {"row": 1, "subset": "math"}, None, MADE.model_copy(update={"domain": "topic"})
    )
    assert "no column topic (it has: row, subset)" in told and "a set of your own is subset" in told
    assert "map the value" in no_domain({"subset": "law"}, "law", MADE)


def test_rows_without_a_known_domain_are_warned_of() -> None:
    told = nothing_told(["math", None, None], ["math", "law", None], MADE)
    assert "names the expert of 1 of 3 documents (others: 'law', no such column)" in told
