"""Conversations that pass through lm-eval as strings."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.rows.conversation import (
    Conversation,
    Origin,
    Response,
    Turns,
    messages_of,
    plain_text,
    with_response,
)

TALK = [
    {"role": "user", "content": "What is 1 + 1?"},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "And 2 + 2?"},
    {"role": "assistant", "content": " 4"},
]


def test_plain_text_ends_where_the_answer_begins() -> None:
    assert plain_text([{"role": "system", "content": "Be kind."}, *TALK[:3]]) == (
        "Be kind.\n\nUser: What is 1 + 1?\n\nAssistant: 2\n\nUser: And 2 + 2?\n\nAssistant: "
    )


def test_a_text_is_one_user_turn() -> None:
    assert messages_of("Hello") == [{"role": "user", "content": "Hello"}]
    assert messages_of(TALK[:3]) == TALK[:3]


def test_an_answer_that_has_begun_goes_on() -> None:
    """lm-eval's gen_prefix: the conversation already ends with the assistant."""
    begun = Conversation("shown", TALK)
    assert with_response(begun, "!")[-1] == {"role": "assistant", "content": " 4!"}
    assert begun.messages == TALK


def test_a_response_keeps_its_own_leading_space(tokenizer: Any) -> None:
    """Only the space that lm-eval adds for tasks without conversations is taken off."""
    known = Conversation("shown", TALK[:3])
    assert with_response(known, " 4")[-1] == TALK[-1]
    assert with_response("What?", " 4") == [
        {"role": "user", "content": "What?"},
        {"role": "assistant", "content": "4"},
    ]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([{"role": "user", "content": 3}], "turn 1 must be"),
        ([{"role": "tool", "content": "x"}], "turn 1 has role 'tool'"),
        ([{"role": "user", "content": "a"}] * 2, "turns 1 and 2 are both the user's"),
        (TALK, "last turn of a prompt must be the user's"),
        ([], "must be a text or a list of messages"),
    ],
)
def test_a_prompt_that_does_not_alternate_is_refused(prompt: Any, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        messages_of(prompt)


def test_a_conversation_survives_copying_and_pickling() -> None:
    known = Conversation("shown", TALK)
    for twin in (pickle.loads(pickle.dumps(known)), copy.deepcopy(known)):
        assert twin == "shown" and twin.messages == TALK


CALL = {"role": "assistant", "content": "Wait.", "tool_calls": [{"name": "f"}]}


def test_tools_origin_and_calls_survive_as_well() -> None:
    beside = {"tools": [{"name": "f"}]}
    known = Conversation("shown", TALK[:3], beside, Origin("a.jsonl, row 3", True))
    answer = Response([CALL, {"role": "tool", "content": "x"}])
    for one, other in ((known, answer), pickle.loads(pickle.dumps((known, answer)))):
        assert (one.messages, one.beside, one.origin.strict) == (TALK[:3], beside, True)
        assert other.messages == answer.messages and str(other) == str(answer)
        whole = with_response(one, other)
        assert isinstance(whole, Turns) and whole.beside == beside
        assert whole == [*TALK[:3], CALL, {"role": "tool", "content": "x"}]
        assert whole.prompt == TALK[:3] and whole.prompt.beside == beside


def test_the_plain_text_tells_all_conversations_apart() -> None:
    """lm-eval's cache knows nothing else of them."""
    asked = [{"role": "user", "content": "Hi"}]
    texts = {
        plain_text(asked),
        plain_text([{**asked[0], "name": "Ada"}]),
        plain_text([{**asked[0], "role": "developer"}]),
        plain_text(asked, {"tools": [{"name": "f"}]}),
        plain_text(asked, {"documents": [{"name": "f"}]}),
    }
    assert len(texts) == 5
    assert plain_text([*asked, {"role": "tool", "content": "x"}]).startswith("User: Hi\n\nTool: x")
    assert str(Response([CALL])) == 'Wait.\n{"tool_calls": [{"name": "f"}]}'
