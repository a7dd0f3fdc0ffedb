# SPDX-License-Identifier: Apache-2.0
"""A row of any form as what is to be scored in it, and its rewards as columns of the row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.rows.columns import with_guess
from harness.rows.conversation import Conversation, Origin, as_response, messages_of, plain_text
from harness.rows.forms import read_prompt
from harness.rows.messages import Message, is_filled
from harness.rows.pairs import Columns, pair
from harness.rows.text import shown

Row = dict[str, Any]

# The four forms, by what the row holds.
PAIR, RESPONSES, RESPONSE, MESSAGES = "pair", "responses", "response", "messages"

# Where a row has its answer, when nobody says, in this order.
_ANSWERS = ("response", "completion")
_WHOLE = ("messages", "conversations")


class Names(NamedTuple):
    """The names of the columns that are read.

    Attributes:
        prompt: a text or messages.
        response: one answer; by default also ``completion``.
        responses: a list of answers.
        messages: a whole conversation, which ends with the answer; by default also
            ``conversations``.
        chosen: the better answer of a pair.
        rejected: its other answer.
        system: a text that becomes the system message.
        tools: for the chat template.
        documents: the same.
    """

    prompt: str = "prompt"
    response: str | None = None
    responses: str = "responses"
    messages: str | None = None
    chosen: str = "chosen"
    rejected: str = "rejected"
    system: str | None = None
    tools: str | None = None
    documents: str | None = None

    @property
    def others(self) -> set[str]:
        """Columns of answers that the user has named, where no pair's are: they come first."""
        usual = Names()
        if (self.chosen, self.rejected) != (usual.chosen, usual.rejected):
            return set()
        responses = None if self.responses == usual.responses else self.responses
        return {name for name in (responses, self.response, self.messages) if name is not None}

    @classmethod
    def of(cls, given: Any) -> Names:
        """The names that ``--columns`` gives, and the defaults of the others.

        Raises:
            HarnessError: it is no mapping of these keys to names.
        """
        if given is None:
            return cls()
        if not isinstance(given, Mapping):
            raise HarnessError(f"--columns is {given!r}, expected as in {{prompt: question}}")
        for key, name in given.items():
            if key not in cls._fields:
                known = ", ".join(cls._fields)
                raise HarnessError(
                    f"--columns has the unknown key {with_guess(str(key), cls._fields)}; it has "
                    f"{known}"
                )
            if not isinstance(name, str):
                raise HarnessError(f"--columns: {key} is {name!r}, expected a column's name")
        return cls(**given)


class Asked(NamedTuple):
    """What is to be scored in a row.

    Attributes:
        form: of the row.
        context: what is before the answers' last turns.
        answers: each gets a reward.
        prompt: what was asked; tool calls of one answer are in its context, and not in here.
    """

    form: str
    context: Conversation
    answers: list[str]
    prompt: Sequence[Message]


def form_of(row: Mapping[str, Any], names: Names) -> tuple[str, str]:
    """The form of a row, and the column of its answer or answers; a pair unless `Names.others`.

    Raises:
        HarnessError: it has none of the columns that say it.
    """
    there = {name for name, value in row.items() if value is not None}
    if {names.chosen, names.rejected} <= there and not names.others & there:
        return PAIR, names.chosen
    if names.responses in there:
        return RESPONSES, names.responses
    for form, name, usual in (
        (RESPONSE, names.response, _ANSWERS),
        (MESSAGES, names.messages, _WHOLE),
    ):
        found = next((one for one in ((name,) if name else usual) if one in there), None)
        if found is not None:
            return form, found
    filled = ", ".join(name for name in row if name in there) or "none"
    answer, whole = names.response or _ANSWERS[0], names.messages or _WHOLE[0]
    raise HarnessError(
        f"no column {answer}, {names.responses}, {whole}, or {names.chosen} and {names.rejected} "
        f"(filled: {filled}); name yours, as in --columns "
        "'{prompt: question, response: answer}'"
    )


def read(row: Mapping[str, Any], names: Names, where: str, allow_markup: bool = False) -> Asked:
    """What is to be scored in a row; `where` is its place, for messages.

    Raises:
        HarnessError: it has no such form, or what it holds is no conversation.
    """
    form, column = form_of(row, names)
    origin = Origin(where, True, allow_markup)
    if form == PAIR:
        doc = pair(row, _columns(row, names, names.chosen, names.rejected))
        context = _context(doc, origin)
        answers = [_answer(doc, "chosen"), _answer(doc, "rejected")]
        return Asked(form, context, answers, context.messages)
    if form != RESPONSES:
        columns = _columns(row, names, column, column)
        doc = pair(row, columns)
        context = _context(doc, origin)
        given = None if columns.prompt is None else row[columns.prompt]
        return Asked(form, context, [_answer(doc, "chosen")], _asked(context.messages, given))
    values = row[column]
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        found = "an empty list" if values == [] else shown(values)
        raise HarnessError(f"column {column} is {found}, expected a list of responses")
    docs = []
    for number, value in enumerate(values, start=1):
        if not isinstance(value, str | Sequence | Mapping):
            raise HarnessError(
                f"column {column}, response {number} is {shown(value)}, expected a text or messages"
            )
        docs.append(pair({**row, column: value}, _columns(row, names, column, column)))
    if any(doc["prompt"] != docs[0]["prompt"] for doc in docs):
        raise HarnessError(f"column {column}: its responses answer different prompts")
    context = _context(docs[0], origin)
    return Asked(form, context, [_answer(doc, "chosen") for doc in docs], context.messages)


def _asked(turns: Sequence[Message], given: Any) -> Sequence[Message]:
    """The turns before one answer that are its prompt's: up to the user's last, and what is given.

    Args:
        turns: all before the last one, which may hold what the answer began with: calls of tools.
        given: what the column of prompts holds; None without one.
    """
    last = max((at for at, turn in enumerate(turns, 1) if turn["role"] == "user"), default=0)
    parsed = None if given is None else read_prompt(given)
    if parsed is not None and parsed.text is None:
        own = parsed.turns
        systems = [one[0]["role"] == "system" for one in (turns, own)]
        last = max(last, len(own) + systems[0] - systems[1])
    return turns[: last or None]


def columns_of(form: str, name: str, given: bool) -> tuple[str, ...]:
    """The columns that a row of a form gets.

    Args:
        form: of the row.
        name: ``reward``, or what ``--column`` says.
        given: whether it says so: then the margin is called after it.
    """
    if form != PAIR:
        return (name,)
    return f"{name}_chosen", f"{name}_rejected", f"{name}_margin" if given else "margin"


def values_of(form: str, rewards: Sequence[float]) -> tuple[Any, ...]:
    """What goes into the columns of `columns_of`."""
    if form == PAIR:
        return rewards[0], rewards[1], rewards[0] - rewards[1]
    return (list(rewards),) if form == RESPONSES else (rewards[0],)


def _columns(row: Mapping[str, Any], names: Names, one: str, other: str) -> Columns:
    named = names.prompt != Names().prompt and names.prompt not in row  # told, then, not passed by
    prompt = names.prompt if named or is_filled(row.get(names.prompt)) else None
    return Columns(prompt, one, other, None, names.system, names.tools, names.documents)


def _context(doc: Mapping[str, Any], origin: Origin) -> Conversation:
    messages = messages_of(doc["prompt"])
    beside = {key: doc[key] for key in ("tools", "documents") if key in doc}
    return Conversation(plain_text(messages, beside), messages, beside, origin)


def _answer(doc: Mapping[str, Any], side: str) -> str:
    return as_response(doc[side])
