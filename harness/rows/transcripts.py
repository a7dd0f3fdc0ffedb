# SPDX-License-Identifier: Apache-2.0
r"""Conversations written as one text, as hh-rlhf has them.

Each turn begins with ``Human:`` or ``Assistant:``, after a blank line unless it is the first. The
markup has no escape: where such a mark stands inside what somebody wrote, it begins a turn like any
other. Turns in a row with the same speaker are joined (chat templates want them to alternate); the
blanks around a turn are not part of it.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

from harness.errors import HarnessError
from harness.rows.messages import Message

_MARK = re.compile(r"(?:\A|\n\n)(Human|Assistant):")
_NARROW = re.compile(r"(?:\A|\n)(Human|Assistant):")  # without blank lines between
_ROLES = {"Human": "user", "Assistant": "assistant"}


class Pair(NamedTuple):
    """Two transcripts of one conversation.

    Attributes:
        prompt: the shared turns with their markup, the last one the user's; see `turns`.
        chosen: the rest of the chosen transcript, without the mark that it begins with.
        rejected: the same of the rejected one.
        continues: whether one of the two goes on after its first turn, because the transcripts
            differ before their last turn; the further turns are in there with their markup.
    """

    prompt: str
    chosen: str
    rejected: str
    continues: bool


def is_transcript(text: str) -> bool:
    r"""Whether a text begins with the user's mark, newlines before it aside.

    >>> is_transcript("\n\nHuman: Hi"), is_transcript("What does 'Human: Hi' mean?")
    (True, False)
    """
    return text.lstrip("\n").startswith("Human:")


def turns(text: str) -> list[Message]:
    r"""The turns of a transcript, user and assistant alternating; their contents may be empty.

    Raises:
        HarnessError: it does not begin with the user's mark.

    >>> [turn["role"] for turn in turns("Human: Hi\nAssistant: Hello\nHuman: Bye")]
    ['user', 'assistant', 'user']
    >>> turns("\n\nHuman: Hi\n\nAssistant:Hello\n\nHuman: One\n\nHuman: Two")[1:]
    [{'role': 'assistant', 'content': 'Hello'}, {'role': 'user', 'content': 'One\n\nTwo'}]
    """
    if not is_transcript(text):
        raise HarnessError(f"a transcript begins with 'Human:', found {text[:40]!r}")
    inside = text.lstrip("\n")
    # where nobody answers after a blank line, and somebody does at the start of a line
    narrow = "Assistant" in _NARROW.findall(inside) and "Assistant" not in _MARK.findall(inside)
    mark = _NARROW if narrow else _MARK
    parts = mark.split(inside)[1:]
    messages: list[Message] = []
    for speaker, said in zip(parts[::2], parts[1::2], strict=True):
        role, content = _ROLES[speaker], said.strip()
        if messages and messages[-1]["role"] == role:
            both = (messages[-1]["content"], content)
            messages[-1]["content"] = "\n\n".join(filter(None, both))
        else:
            messages.append({"role": role, "content": content})
    return messages


def prompt_turns(text: str) -> list[Message]:
    r"""The turns of a transcript that ends where the answer goes: the last one is the user's.

    An empty ``Assistant:`` at the end is dropped.

    Raises:
        HarnessError: the last turn is not the user's, or a turn is empty.

    >>> prompt_turns("\n\nHuman: Hi\n\nAssistant:")
    [{'role': 'user', 'content': 'Hi'}]
    """
    prompt = turns(text)
    if prompt[-1] == {"role": "assistant", "content": ""}:
        prompt.pop()
    if not all(turn["content"] for turn in prompt):
        raise HarnessError("a turn of the prompt is empty")
    if prompt[-1]["role"] != "user":
        raise HarnessError("the last turn of the prompt is not the user's")
    return prompt


def pair(chosen: str, rejected: str) -> Pair:
    r"""What two transcripts share, up to a turn of the assistant's that follows the user's.

    It is the last such turn whose mark both have, as in TRL's own conversion of hh-rlhf: nearly
    always the last one of both, and only a few pairs differ before it.

    Raises:
        HarnessError: one of them is no transcript, or they do not share the user's first turn.

    >>> pair("\n\nHuman: Hi\n\nAssistant: Hello", "\n\nHuman: Hi\n\nAssistant: Go")
    Pair(prompt='Human: Hi', chosen='Hello', rejected='Go', continues=False)
    """
    for name, text in (("chosen", chosen), ("rejected", rejected)):
        if not is_transcript(text):
            raise HarnessError(f"{name}: a transcript begins with 'Human:', found {text[:40]!r}")
    first, second = chosen.lstrip("\n"), rejected.lstrip("\n")
    marks = [mark for mark in _MARK.finditer(first) if second.startswith(first[: mark.end()])]
    starts = [
        mark for before, mark in pairwise(marks) if (before[1], mark[1]) == ("Human", "Assistant")
    ]
    if not starts:
        raise HarnessError(
            "chosen and rejected must begin with the same question and answer it: "
            f"{first[:40]!r}, {second[:40]!r}"
        )
    start = starts[-1]
    rest = [text[start.end() :] for text in (first, second)]
    continues = any("\n\n" in mark[0] for text in rest for mark in _MARK.finditer(text))
    return Pair(first[: start.start()], rest[0].strip(), rest[1].strip(), continues)
