"""A prompt as chat turns; multi-turn prompts come with `Human:` and `Assistant:` markup."""

from __future__ import annotations

import re

Turn = dict[str, str]
_MARK = re.compile(r"(?:\A|\n\n)(Human|Assistant):")


def parse_turns(prompt: str) -> list[Turn]:
    """The turns of a prompt, the last one the user's.

    A prompt counts as marked up if it begins with `Human:` (blank lines before it aside); any other
    is a single user turn, whatever words stand in it. An empty `Assistant:` at the end, where the
    answer goes, is dropped. Turns in a row with the same speaker, as hh-rlhf has a few, are joined.

    Raises:
        ValueError: the last turn is not the user's, or a turn is empty.
    """
    text = prompt.lstrip("\n")
    if not text.startswith("Human:"):
        return [{"role": "user", "content": prompt}]
    parts = _MARK.split(text)[1:]
    spoken = [(who, said.strip()) for who, said in zip(parts[::2], parts[1::2], strict=True)]
    if spoken[-1] == ("Assistant", ""):
        spoken.pop()
    turns: list[Turn] = []
    for who, said in spoken:
        role = "user" if who == "Human" else "assistant"
        if not said:
            raise ValueError("a turn of the prompt is empty")
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += "\n\n" + said
        else:
            turns.append({"role": role, "content": said})
    if not turns or turns[-1]["role"] != "user":
        raise ValueError("the last turn of the prompt is not the user's")
    return turns
