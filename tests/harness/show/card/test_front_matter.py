"""The metadata block: keys are set in place, the rest stays as it was typed."""

import pytest
import yaml

from harness.errors import HarnessError
from harness.show.card import front_matter

TYPED = """\
# by hand
language: en   # the only one
license: mit

# what it is for
tags: [a, "b"]
empty:
model-index:
- name: x
  results: []
# the last words"""


def test_other_keys_stay_as_typed() -> None:
    """Comments, spelling, order and an empty key stay; a changed key stays in its place."""
    values = {"license": "other", "model-index": [{"name": "y"}], "new": 1}
    edited = front_matter.edited(TYPED, values)
    assert edited.splitlines() == [
        "# by hand",
        "language: en   # the only one",
        "license: other",
        "",
        "# what it is for",
        'tags: [a, "b"]',
        "empty:",
        "model-index:",
        "- name: y",
        "# the last words",
        "new: 1",
    ]
    assert front_matter.edited(edited, values) == edited


def test_unchanged_values_are_not_spelt_anew() -> None:
    assert front_matter.edited(TYPED, {"license": "mit", "tags": ["a", "b"]}) == TYPED


@pytest.mark.parametrize("block", ["", "{license: mit, tags: [a]}", "license: >\n  mi\n  t\nb: 1"])
def test_any_mapping_can_be_edited(block: str) -> None:
    """No keys yet, braces without lines of their own, a folded text."""
    expected = {**(yaml.safe_load(block) or {}), "license": "other"}
    assert yaml.safe_load(front_matter.edited(block, {"license": "other"})) == expected


def test_split() -> None:
    assert front_matter.split("---\na: 1\n---\ntext\n", "x") == ("a: 1", "text\n")
    assert front_matter.split("text\n---\n", "x") == ("", "text\n---\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("---\na: 1\n", "no second --- line"),
        ("---\na: [\n---\n", "is not YAML"),
        ("---\n- a\n---\n", "is a list, expected keys"),
    ],
)
def test_broken_blocks_are_refused(text: str, said: str) -> None:
    with pytest.raises(HarnessError, match=said):
        front_matter.parsed(front_matter.split(text, "README.md")[0], "README.md")
