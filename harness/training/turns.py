"""A prompt as chat turns; multi-turn prompts come with `Human:` and `Assistant:` markup."""

from __future__ import annotations

from harness import transcripts
from harness.rows.messages import Message as Turn

__all__ = ["Turn", "parse_turns"]


def parse_turns(prompt: str) -> list[Turn]:
    """The turns of a prompt, the last one the user's.

    A prompt counts as marked up if it begins with `Human:` (blank lines before it aside); any other
    is a single user turn, whatever words stand in it. An empty `Assistant:` at the end, where the
    answer goes, is dropped. Turns in a row with the same speaker, as hh-rlhf has a few, are joined.

    Raises:
        ValueError: the last turn is not the user's, or a turn is empty.
    """
    if not transcripts.is_transcript(prompt):
        return [{"role": "user", "content": prompt}]
    return transcripts.prompt_turns(prompt)
