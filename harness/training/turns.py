"""A prompt as chat turns; multi-turn prompts come with `Human:` and `Assistant:` markup."""

from __future__ import annotations

from harness.rows import transcripts
from harness.rows.conversation import Conversation, Response, Turns
from harness.rows.messages import Message as Turn

__all__ = ["Turn", "parse_turns", "whole"]


def parse_turns(prompt: str) -> list[Turn]:
    """The turns of a prompt, the last one the user's.

    A `Conversation` knows them. Any other prompt counts as marked up if it begins with `Human:`
    (blank lines before it aside), or is a single user turn, whatever words stand in it. An empty
    `Assistant:` at the end, where the answer goes, is dropped. Turns in a row with the same
    speaker, as hh-rlhf has a few, are joined.

    Raises:
        ValueError: the last turn is not the user's, or a turn is empty.
    """
    if isinstance(prompt, Conversation):
        return Turns(prompt.messages, prompt.beside)
    if not transcripts.is_transcript(prompt):
        return [{"role": "user", "content": prompt}]
    return transcripts.prompt_turns(prompt)


def whole(turns: list[Turn], answer: str) -> Turns:
    """A prompt's turns and an answer's as one conversation, with the prompt's tools."""
    said = answer.messages if isinstance(answer, Response) else [_assistant(answer)]
    return Turns([*turns, *said], turns.beside if isinstance(turns, Turns) else None, len(said))


def _assistant(text: str) -> Turn:
    return {"role": "assistant", "content": str(text)}
