# SPDX-License-Identifier: Apache-2.0
"""What of conversations a chat template leaves out: tried by rendering them without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.errors import HarnessError
from harness.rows.conversation import Turns
from harness.rows.messages import ABOUT, is_filled

TRIED = 3  # conversations that a part is tried on before it counts as left out
# How a template fails on what it does not expect; `HarnessError` is its own word.
FAILURES = (HarnessError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError)

# A role and a key of its messages; no role and the name of what is beside them.
Part = tuple[str, str]


@dataclass
class Seen:
    """In how many conversations a part is, on how many it was tried, and if it is shown."""

    count: int = 0
    tried: int = 0
    shown: bool = False


class HiddenParts:
    """Finds the parts of conversations that a chat template leaves out.

    Args:
        render: a conversation to text, with the chat template.
    """

    def __init__(self, render: Callable[[Turns], str]) -> None:
        self._render = render
        self._parts: dict[Part, Seen] = {}

    def see(self, turns: Turns) -> None:
        """Note the parts of a conversation."""
        for part in dict.fromkeys(_parts(turns)):
            seen = self._parts.setdefault(part, Seen())
            seen.count += 1
            if not seen.shown and seen.tried < TRIED:
                seen.tried += 1
                seen.shown = self._is_shown(turns, part)

    def _is_shown(self, turns: Turns, part: Part) -> bool:
        try:
            return self._render(turns) != self._render(_without(turns, part))
        except FAILURES:  # it can't do without
            return True

    def parts(self) -> Iterator[tuple[str, int, bool]]:
        """What is left out: its name, in how many conversations it is, and if it may matter."""
        for (role, key), seen in self._parts.items():
            if seen.shown:
                continue
            name = f"the key {key} of {role} messages" if role else f"the {key}"
            if role and key == "content":
                name = f"the text of {role} messages"
            yield name, seen.count, key not in ABOUT


def _parts(turns: Turns) -> Iterator[Part]:
    """The parts of a conversation that a template may leave out.

    The texts of user and assistant are not among them: no template leaves those out. Nor is what is
    empty, as Parquet fills up columns: there is nothing in it to be left out.
    """
    for turn in turns:
        for key in turn:
            text = key == "content" and turn["role"] in ("user", "assistant")
            if key != "role" and not text and is_filled(turn[key]):
                yield str(turn["role"]), key
    yield from (("", key) for key, value in turns.beside.items() if is_filled(value))


def _without(turns: Turns, part: Part) -> Turns:
    """The conversation without a key of all messages of a role; with another text for a content."""
    role, missing = part
    if not role:
        return Turns(turns, {key: v for key, v in turns.beside.items() if key != missing})
    changed = []
    for turn in turns:
        if turn["role"] != role or missing not in turn:
            changed.append(dict(turn))
        elif missing == "content":
            changed.append({**turn, "content": f"{turn['content']} (and more)"})
        else:
            changed.append({key: value for key, value in turn.items() if key != missing})
    return Turns(changed, turns.beside)
