"""Transcripts into turns, and two transcripts into a prompt and two answers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.rows.conversation import Message, messages_of
from harness.rows.transcripts import Pair, is_transcript, pair, turns

NAMES = {"user": "Human", "assistant": "Assistant"}


def written(messages: list[Message]) -> str:
    """The transcript of messages, as hh-rlhf writes it."""
    return "".join(f"\n\n{NAMES[turn['role']]}: {turn['content']}" for turn in messages)


def message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


# Half a surrogate pair is no text: a row with one is refused.
characters = st.sampled_from("aH :\n'é\u3000") | st.characters(exclude_categories=["Cs"])
said = st.text(characters, max_size=20).filter(
    lambda text: text == text.strip() and "\n\nHuman:" not in text and "\n\nAssistant:" not in text
)


@st.composite
def dialogues(draw: st.DrawFn) -> list[Message]:
    """Turns that alternate, the last one the user's."""
    count = 2 * draw(st.integers(0, 3)) + 1
    return [message(("user", "assistant")[at % 2], draw(said)) for at in range(count)]


@settings(deadline=None)
@given(dialogues(), said, said)
def test_what_was_written_is_read_again(prompt: list[Message], one: str, other: str) -> None:
    """Turns by themselves, and as the shared part of a pair; the prompt is one for a chat model."""
    assert turns(written(prompt)) == prompt == messages_of(turns(written(prompt)))
    found = pair(*(written([*prompt, message("assistant", text)]) for text in (one, other)))
    assert turns(found.prompt) == prompt
    assert (found.chosen, found.rejected, found.continues) == (one, other, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Human: Hi\nthere", [message("user", "Hi\nthere")]),
        ("\n\nHuman:Hi\n\nAssistant:Yes? ", [message("user", "Hi"), message("assistant", "Yes?")]),
        # one newline is not a turn's beginning, three are; nor is a mark in the middle of a line
        ("Human: a\nHuman: b", [message("user", "a\nHuman: b")]),
        ("Human: a\n\n\nAssistant: b", [message("user", "a"), message("assistant", "b")]),
        ("Human: say 'Assistant: no'", [message("user", "say 'Assistant: no'")]),
        # a mark in a quoted text cannot be told from a turn's
        ("Human: quote:\n\nHuman: b", [message("user", "quote:\n\nb")]),
        ("Human:\n\nHuman: b\n\nAssistant:", [message("user", "b"), message("assistant", "")]),
    ],
)
def test_markup_becomes_turns(text: str, expected: list[Message]) -> None:
    """Speakers alternate afterwards, whatever the text does."""
    assert turns(text) == expected


def test_what_is_no_transcript_is_refused() -> None:
    for text in ("", "Hello", "\n\nAssistant: Hi", "About Human: nature"):
        assert not is_transcript(text)
        with pytest.raises(HarnessError, match="begins with 'Human:', found"):
            turns(text)
        with pytest.raises(HarnessError, match=r"^rejected: a transcript begins with 'Human:'"):
            pair("\n\nHuman: Hi\n\nAssistant: Yes?", text)


def test_answers_may_begin_alike() -> None:
    """The prompt ends at a turn, not at the first difference."""
    start = "\n\nHuman: 1 + 1?\n\nAssistant:"
    assert pair(start + " It is 2.", start + " It is 3.") == Pair(
        "Human: 1 + 1?", "It is 2.", "It is 3.", False
    )


def test_an_empty_answer_and_equal_answers_stay() -> None:
    start = "\n\nHuman: 1 + 1?\n\nAssistant:"
    assert pair(start, start + " 2")[1:] == ("", "2", False)
    assert pair(start + " 2", start + " 2")[1:] == ("2", "2", False)


def test_a_difference_before_the_last_turn() -> None:
    """All that follows the last shared mark is the response, further turns as they stand."""
    start = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:"
    found = pair(f"{start} d\n\nHuman: e\n\nAssistant: f", f"{start} g")
    assert turns(found.prompt)[-1] == message("user", "c")
    assert found[1:] == ("d\n\nHuman: e\n\nAssistant: f", "g", True)
    # they part in a turn of the user's: the answer before it is the first that can be told apart
    found = pair(f"{start} d\n\nHuman: e", f"{start} d\n\nHuman: f")
    assert found[1:] == ("d\n\nHuman: e", "d\n\nHuman: f", True)


def test_two_answers_in_a_row_belong_to_the_response() -> None:
    """A prompt must end with the user."""
    start = "\n\nHuman: a\n\nAssistant: b\n\nAssistant:"
    found = pair(start + " c", start + " d")
    assert found == Pair("Human: a", "b\n\nAssistant: c", "b\n\nAssistant: d", True)


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        ("Human: a\n\nAssistant: b", "Human: c\n\nAssistant: b"),
        ("Human: a", "Human: a\n\nAssistant: b"),
    ],
)
def test_without_a_shared_question_there_is_no_pair(chosen: str, rejected: str) -> None:
    with pytest.raises(HarnessError, match="must begin with the same question and answer it"):
        pair(chosen, rejected)


def test_turns_without_blank_lines() -> None:
    """Where somebody answers at the start of a line, and nobody after a blank one."""
    text = "Human: q1\nAssistant: a1\nHuman: q2\nAssistant:"
    assert [turn["content"] for turn in turns(text)] == ["q1", "a1", "q2", ""]
    kept = turns("Human: he wrote\nAssistant: no\n\nAssistant: I see")
    assert [turn["content"] for turn in kept] == ["he wrote\nAssistant: no", "I see"]
