"""Rows of unlike sets as pairs."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import HarnessError
from harness.rows.pairs import Columns, pair


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


SYSTEM = {"role": "system", "content": "Be brief."}
CHAT = [SYSTEM, user("Hi"), assistant("Hello"), user("Who are you?")]
PLAIN = {"prompt": "Hi", "chosen": "Hello", "rejected": "No"}
EXPECTED = {"prompt": CHAT, "chosen": "A model.", "rejected": "Nobody."}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (PLAIN, PLAIN),
        ({**PLAIN, "extra": 1}, PLAIN),
        ({**PLAIN, "chosen": ""}, {**PLAIN, "chosen": ""}),
        ({"prompt": [user("Hi")], "chosen": "Hello", "rejected": "No"}, PLAIN),
        # The last turn only, beside a prompt.
        ({"prompt": "Hi", "chosen": [assistant("Hello")], "rejected": "No"}, PLAIN),
        ({"prompt": CHAT, "chosen": [assistant("A model.")], "rejected": "Nobody."}, EXPECTED),
        # The last turns, which go on from the prompt.
        (
            {
                "prompt": CHAT[:2],
                "chosen": [*CHAT[2:], assistant("A model.")],
                "rejected": [*CHAT[2:], assistant("Nobody.")],
            },
            EXPECTED,
        ),
        # Whole conversations, without a prompt, with its text, and with its messages.
        *(
            (
                {
                    **prompt,
                    "chosen": [*CHAT, assistant("A model.")],
                    "rejected": [*CHAT, assistant("Nobody.")],
                },
                EXPECTED,
            )
            for prompt in (
                {},
                {"prompt": None},
                {"prompt": " Who are you?\n"},
                {"prompt": "Hi"},
                {"prompt": CHAT},
                {"prompt": CHAT[:2]},
            )
        ),
        # What is scored is the conversation, not the column's spelling of it.
        (
            {
                "prompt": "Hi ",
                "chosen": [user("Hi"), assistant("Hello")],
                "rejected": [user("Hi"), assistant("No")],
            },
            PLAIN,
        ),
    ],
)
def test_a_row_as_a_pair(row: dict[str, Any], expected: dict[str, Any]) -> None:
    assert pair(row, Columns()) == expected


def test_columns_by_their_names() -> None:
    row = {"question": "Hi", "good": "Hello", "bad": "No", "topic": 7, "prompt": "unused"}
    columns = Columns("question", "good", "bad", "topic")
    assert pair(row, columns) == {**PLAIN, "subset": "7"}
    conversations = {
        "prompt": "something else",
        "chosen": [user("Hi"), assistant("Hello")],
        "rejected": [user("Hi"), assistant("No")],
    }
    assert pair(conversations, Columns(prompt=None)) == PLAIN


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "Hi", "better": "x", "rejected": "y"}, r"no column chosen \(there are: prompt"),
        ({"chosen": "x", "rejected": "y"}, "no column prompt .*column chosen holds no whole"),
        ({**PLAIN, "chosen": 3}, "column chosen is int '3', expected a text or a list"),
        ({**PLAIN, "chosen": None}, "column chosen is empty"),
        ({**PLAIN, "rejected": []}, r"column rejected is list '\[\]'"),
        ({**PLAIN, "prompt": None}, "column prompt: a prompt must be a text or a list"),
        ({**PLAIN, "prompt": [assistant("Hi")]}, "column prompt: the last turn of a prompt"),
        ({**PLAIN, "prompt": [user("Hi"), user("Ho")]}, "column prompt: turns 1 and 2 are both"),
        ({**PLAIN, "chosen": [user("Hi")]}, "column chosen: the last turn must be the assistant's"),
        ({**PLAIN, "chosen": ["Hello"]}, "column chosen: the last turn must be the assistant's"),
        (
            {**PLAIN, "rejected": [user("Hi"), assistant("a"), assistant("b")]},
            "column rejected: the last turn of a prompt must be the user's",
        ),
        (
            {**PLAIN, "chosen": [user("Hi"), user("Ho"), assistant("b")]},
            "column chosen: turns 1 and 2 are both the user's",
        ),
        (
            {**PLAIN, "chosen": [user("Hi"), {"role": "assistant", "content": None}]},
            "column chosen: the last turn has no text",
        ),
        (
            {**PLAIN, "chosen": [{"speaker": "human", "text": "Hi"}, assistant("a")]},
            "column chosen: turn 1 has role None",
        ),
        (
            {
                "chosen": [user("Hi"), assistant("a")],
                "rejected": [user("Ho"), assistant("a")],
            },
            "columns chosen and rejected differ before their last turn, at turn 1",
        ),
        (
            {
                "chosen": [user("Hi"), assistant("a"), user("Ho"), assistant("b")],
                "rejected": [user("Hi"), assistant("a")],
            },
            "differ before their last turn, at turn 3",
        ),
        (
            {
                "prompt": "Bye",
                "chosen": [user("Hi"), assistant("a")],
                "rejected": [user("Hi"), assistant("b")],
            },
            r"column prompt is 'Bye', which is not what .*columns: {prompt: null}",
        ),
        (
            {
                "prompt": 5,
                "chosen": [user("Hi"), assistant("a")],
                "rejected": [user("Hi"), assistant("b")],
            },
            "column prompt: a prompt must be a text or a list of messages, not int 5",
        ),
    ],
)
def test_what_does_not_fit_is_refused(row: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        pair(row, Columns())


def test_a_named_prompt_column_must_be_there() -> None:
    row = {"chosen": [user("Hi"), assistant("a")], "rejected": [user("Hi"), assistant("b")]}
    with pytest.raises(HarnessError, match=r"no column question \(there are: chosen, rejected\)"):
        pair(row, Columns(prompt="question"))
    with pytest.raises(HarnessError, match="no column of prompts"):
        pair(PLAIN, Columns(prompt=None))


@pytest.mark.parametrize("section", [None, " ", float("nan"), ["math"]])
def test_a_section_has_a_name(section: Any) -> None:
    with pytest.raises(HarnessError, match=r"column topic is .*expected the name of a section"):
        pair({**PLAIN, "topic": section}, Columns(section="topic"))


def test_names_that_a_yaml_gives() -> None:
    assert Columns.of(None) == Columns("prompt", "chosen", "rejected", None)
    given = {"prompt": None, "rejected": "bad", "section": "topic"}
    assert Columns.of(given) == Columns(None, "chosen", "bad", "topic")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"choosen": "good"}, r"unknown key 'choosen' \(did you mean chosen\?\); it has prompt"),
        ({"label": "good"}, "unknown key 'label'; it has prompt, chosen, rejected, section"),
        ({"chosen": None}, "chosen is None, expected a column's name"),
        ({"section": 3}, "section is 3, expected a column's name"),
        ({"chosen": "text", "rejected": "text"}, "names a column twice: prompt, text, text"),
        ({"chosen": "rejected"}, "names a column twice"),
        ("question", "columns is 'question', expected as in"),
    ],
)
def test_names_that_make_no_sense(given: Any, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        Columns.of(given)


def test_what_is_said_about_a_turn_is_no_difference() -> None:
    """Ids, times and empty cells, as logs and Parquet have them, are no other prompt."""
    asked = {"id": "u1", "timestamp": 1, "tool_calls": [], **user("2+2?")}
    again = {"id": "u2", "timestamp": 2, **user("2+2?")}
    row = {"chosen": [asked, assistant("4")], "rejected": [again, assistant("5")]}
    assert pair(row, Columns())["rejected"] == "5"
