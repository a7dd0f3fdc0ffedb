"""Conversations as token ids, as ``lm_eval --model reward`` makes them of the same template."""

from __future__ import annotations

from typing import Any

from harness.errors import HarnessError
from harness.models.score.rendering import own_rendering
from harness.rows.conversation import Turns
from harness.training.turns import Turn, whole


def conversation_ids(tokenizer: Any, turns: list[Turn], answer: str) -> list[int]:
    """Token ids of the whole conversation, the answer as its last turn.

    This is what a reward is read from, in training and in `lm_eval --model reward`. The template
    tokenizes in one go, so there is one BOS at most and nothing is appended behind the template.

    Raises:
        HarnessError: the template refuses the conversation.
    """
    conversation = whole(turns, answer)
    return own_rendering(tokenizer).ids(conversation, **_beside(tokenizer, conversation))


def rendered(tokenizer: Any, conversation: Turns) -> str:
    """A conversation as text; errors as in `conversation_ids`."""
    return own_rendering(tokenizer).text(conversation, **_beside(tokenizer, conversation))


def _beside(tokenizer: Any, conversation: list[Turn]) -> dict[str, Any]:
    """The tools of a conversation, and the template that the tokenizer has for them."""
    given = dict(conversation.beside) if isinstance(conversation, Turns) else {}
    if given.get("tools"):
        given["chat_template"] = tokenizer.get_chat_template(tools=given["tools"])
    return given


def answer_ids(tokenizer: Any, turns: list[Turn], answer: str) -> tuple[list[int], list[int]]:
    """Token ids of a conversation, and labels: the answer's ids with -100 elsewhere.

    The end-of-turn token is learned; what the template writes behind it (SmolLM2: a newline) is
    not, because generation has stopped by then.

    Raises:
        HarnessError: the template renders a prompt otherwise when an answer follows.
    """
    start = own_rendering(tokenizer).ids(
        turns, add_generation_prompt=True, **_beside(tokenizer, turns)
    )
    ids = conversation_ids(tokenizer, turns, answer)
    if ids[: len(start)] != start:
        raise HarnessError(
            "the chat template renders the prompt otherwise when an answer follows, so the "
            "answer's tokens cannot be told apart: use another template"
        )
    labels = [-100] * len(start) + ids[len(start) :]
    last = len(ids)
    if tokenizer.eos_token_id in labels:
        last = len(labels) - labels[::-1].index(tokenizer.eos_token_id)
    return ids, labels[:last] + [-100] * (len(ids) - last)


def require_chat_template(tokenizer: Any, model: str) -> None:
    """Refuse a tokenizer without a chat template.

    Raises:
        HarnessError: with the way out.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise HarnessError(
            f"{model}: the tokenizer has no chat template: save one with the model "
            "(tokenizer.chat_template = ...; tokenizer.save_pretrained(folder))"
        )
