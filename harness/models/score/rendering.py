# SPDX-License-Identifier: Apache-2.0
"""A chat template applied: the same text on every day, within bounds, or one line that says why.

The text is what the tokenizer's own ``apply_chat_template`` gives, but for what a template can draw
from outside the conversation (see `date_and_chance`), such as today's date, which Llama
3.2's template prints: else a model's rewards change from day to day, and kept ones belong to no
day.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from harness.errors import HarnessError, first_line
from harness.models.score.bounds import MEMORY, TookTooLong, bounded
from harness.models.score.date_and_chance import FIXED_DATE, DateAndChance

# Seconds for one conversation; the longest of real templates take some thousandths.
SECONDS = 10.0

# Characters that a template may add to a conversation: tokenizing more would take minutes.
ADDED = 1 << 24


class OutOfBounds(HarnessError):
    """A template took more time, memory or characters than it may."""


class _OwnText(str):
    """A template's text that equals itself alone.

    transformers keeps templates compiled by their text. What is fixed in this one stays as it was
    in the same text that other code renders.
    """

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


class Rendering:
    """Renders conversations by a tokenizer's template: alike on every day, and within bounds.

    Args:
        tokenizer: a transformers tokenizer.
        template: the Jinja text.
        source: where that came from, for messages.
        variables: further ones for the template.
        date: what ``strftime_now`` tells.
        seconds: for one conversation.

    Attributes:
        outside: what the template has for today and for chance.
        names: the variables that the template reads.

    Raises:
        HarnessError: the text is no Jinja template.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: str,
        source: str,
        variables: Mapping[str, Any] | None = None,
        *,
        date: datetime = FIXED_DATE,
        seconds: float = SECONDS,
    ) -> None:
        from transformers import PreTrainedTokenizerBase

        self.tokenizer = tokenizer
        self.source = source
        self.variables = dict(variables or {})
        self.outside = DateAndChance(date, source)
        self.seconds = seconds
        self._template = _OwnText(template)
        self._compiled: Any = None
        self._others: dict[str, Rendering] = {}
        # mistral-common's renders and tokenizes in one, without a template.
        plain = PreTrainedTokenizerBase.apply_chat_template
        self._by_itself = getattr(type(tokenizer), "apply_chat_template", plain) is not plain
        self.names = frozenset() if self._by_itself else self._read()

    def text(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> str:
        """The conversation as text; options are those of ``apply_chat_template``.

        With ``chat_template`` among them (a template for tools), that one is rendered, fixed and
        bounded alike.

        Raises:
            HarnessError: the template fails.
            OutOfBounds: it takes too much.
        """
        other = str(options.pop("chat_template", self._template))
        if other != str(self._template):
            return self._with(other).text(messages, **options)
        text = str(self._apply(messages, tokenize=False, **options))
        if len(text) > ADDED:
            given = sum(len(str(message)) for message in messages)
            if len(text) > ADDED + 2 * given:
                raise OutOfBounds(
                    f"the chat template ({self.source}) makes {len(text)} characters of a "
                    f"conversation of {given}; give another with --model_args chat_template="
                )
        return text

    def ids(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> list[int]:
        """The conversation as token ids, with no token that is not in the text.

        Raises:
            HarnessError: as `text`; or the text can't be tokenized.
        """
        if self._by_itself:
            options.pop("chat_template", None)
            return list(self._apply(messages, tokenize=True, return_dict=False, **options))
        text = self.text(messages, **options)
        try:
            return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        except (UnicodeError, TypeError) as error:
            lone = re.search("[\ud800-\udfff]", text)
            if lone is None:
                raise
            raise HarnessError(
                f"half a character (the lone surrogate {lone[0]!r}) is in the text, which no "
                "tokenizer takes: mend or leave out the row"
            ) from error

    def _with(self, template: str) -> Rendering:
        if template not in self._others:
            made = Rendering(
                self.tokenizer,
                template,
                self.source,
                self.variables,
                date=self.outside.date,
                seconds=self.seconds,
            )
            made.outside.drawn = self.outside.drawn
            self._others[template] = made
        return self._others[template]

    def _apply(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> Any:
        given = {**self.variables, **options}

        def apply() -> Any:
            self._fix()
            return self.tokenizer.apply_chat_template(
                list(messages), chat_template=self._template, **given
            )

        roles = [message.get("role") for message in messages]
        return self._told(apply, f"a conversation with roles {roles}")

    def _told(self, work: Callable[[], Any], what: str) -> Any:
        """The template's work, whatever goes wrong in it told in one line.

        A template is a program, so anything may: no list of exceptions would be complete.
        """
        from jinja2.exceptions import TemplateError, TemplateSyntaxError, UndefinedError

        about = f"the chat template ({self.source})"
        other = "give another with --model_args chat_template="
        kind: type[HarnessError] = HarnessError
        try:
            with bounded(self.seconds):
                return work()
        except HarnessError:
            raise
        except TookTooLong:
            kind = OutOfBounds
            why = (
                f"{about} takes more than {self.seconds:g} seconds for {what}; {other}, or more "
                "time with template_seconds="
            )
        except MemoryError:
            kind = OutOfBounds
            why = f"{about} asks for more than {MEMORY >> 30} GiB of memory for {what}; {other}"
        except TemplateSyntaxError as error:
            why = f"{about} is no Jinja template: line {error.lineno}: {first_line(error)}; {other}"
        except UndefinedError as error:
            why = f"{about} fails on {what}{_line(error)}: {first_line(error)}; {other}"
        except TemplateError as error:
            hint = "; it may have no system role: leave out --system_instruction"
            why = f"{about} refuses {what}: {error}{hint if 'system' in what else ''}"
        except Exception as error:
            reason = f"{type(error).__name__}: {first_line(error)}"
            why = f"{about} fails on {what}{_line(error)}: {reason}; {other}"
        # Not from the error: its frames hold what the template has made.
        raise kind(why)

    def _read(self) -> frozenset[str]:
        from jinja2 import meta

        def read() -> frozenset[str]:
            self._fix()
            return frozenset(
                meta.find_undeclared_variables(
                    self._compiled.environment.parse(str(self._template))
                )
            )

        names: frozenset[str] = self._told(read, "its own text")
        return names

    def _fix(self) -> None:
        """Compile the template, and fix what it can draw from outside.

        transformers keeps so many templates compiled and then forgets the oldest: each time is
        looked whether it is still the one that was fixed.
        """
        if self._by_itself:
            return
        from transformers.utils import chat_template_utils

        compiled = chat_template_utils._compile_jinja_template(self._template)
        if compiled is self._compiled:
            return
        self.outside.put_into(compiled.environment)
        self._compiled = compiled


def _line(error: BaseException) -> str:
    """Where in the template an error is from, if Jinja tells."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in ("<template>", "<unknown>"):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" (line {line} of the template)" if line else ""


@functools.lru_cache(8)
def _own(tokenizer: Any, template: str) -> Rendering:
    return Rendering(tokenizer, template, "the tokenizer's own")


def own_rendering(tokenizer: Any) -> Rendering:
    """A tokenizer's default template, its date fixed, for those who take no other.

    Raises:
        HarnessError: the tokenizer has no template, or several without a default.
    """
    try:
        return _own(tokenizer, tokenizer.get_chat_template())
    except ValueError as error:
        raise HarnessError(first_line(error)) from error
