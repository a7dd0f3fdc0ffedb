"""Whether the chat template shows all of the rows that are trained on, as in scoring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from harness.errors import HarnessError, at
from harness.rows.conversation import Conversation, Turns
from harness.rows.differences import differ_in_blanks, differing_keys
from harness.rows.hidden import HiddenParts
from harness.rows.markup import Markup
from harness.training.tokens import rendered
from harness.training.turns import parse_turns, whole

Row = dict[str, Any]


class RowCheck:
    """Checks each row as it is encoded: no markup, no answer that the template hides.

    Args:
        tokenizer: with the chat template.
        answers: the row's columns that hold answers.
    """

    def __init__(self, tokenizer: Any, answers: tuple[str, ...]) -> None:
        self._render = lambda turns: rendered(tokenizer, turns)
        self._answers = answers
        self._markup = Markup(tokenizer, self._render)
        self._hidden = HiddenParts(self._render)
        self._equal = 0

    def encode(self, row: Row, encode: Callable[[Row], Row]) -> Row:
        """Check a row, and give what `encode` makes of it.

        Raises:
            HarnessError: names file and row: the row holds the tokenizer's markup, the template
                refuses it, or shows the same text of two answers that differ.
        """
        prompt = row["prompt"]
        if not isinstance(prompt, Conversation):  # made by a generator
            return encode(row)
        with at(prompt.origin.where):
            self._look(row, prompt)
            return encode(row)

    def _look(self, row: Row, prompt: Conversation) -> None:
        turns = parse_turns(prompt)
        both = [whole(turns, row[name]) for name in self._answers]
        for conversation in both:
            mark = self._markup.find(conversation)
            if mark is not None and not prompt.origin.allow_markup:
                raise HarnessError(str(mark))
            self._hidden.see(conversation)
        self._equal += len(both) == 2 and both[0] == both[1]
        if len(both) == 2 and self._are_hidden(*both):
            raise HarnessError(
                f"the two answers differ in {', '.join(differing_keys(*both))}, and the chat "
                "template renders both to the same text, so nothing can be learned from them; "
                "save a template that shows it with the model, or leave the row out"
            )

    def _are_hidden(self, one: Turns, other: Turns) -> bool:
        """Whether two answers differ in what the template leaves out, blanks aside."""
        if one == other or differ_in_blanks(one, other):
            return False
        return self._render(one) == self._render(other)

    def tell(self) -> None:
        """Say what nothing can be learned from, and what the template leaves out."""
        if self._equal:
            click.echo(
                f"{self._equal} pairs have the same answer twice: nothing is learned from them",
                err=True,
            )
        for name, count, matters in self._hidden.parts():
            if matters:
                click.echo(
                    f"the chat template leaves out {name}, in {count} conversations: nothing is "
                    "learned from it",
                    err=True,
                )
