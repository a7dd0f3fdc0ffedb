# SPDX-License-Identifier: Apache-2.0
"""From messages to the token ids that a reward model scores.

The conversation is rendered once, whole, by the tokenizer's own ``apply_chat_template``, and its
text tokenized as that does (`harness.models.score.rendering`). Tokenized like any other text it
would get a second beginning-of-sequence token, and prompt and response apart can be split
elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.models.score.chat_template import ChatTemplate, beside
from harness.models.score.date_and_chance import FIXED_DATE
from harness.models.score.prompt import before_response, check_prompt_stays, common
from harness.models.score.rendering import SECONDS, Rendering
from harness.rows.conversation import Message

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold


class Encoded(NamedTuple):
    """A conversation as token ids.

    Attributes:
        ids: at most ``max_length`` of them.
        truncated: the beginning was cut off.
        start: index of the first token of the last turn; 0 where nobody asked.
        expert: who is to score it, where rows of several share a batch.
    """

    ids: list[int]
    truncated: bool
    start: int = 0
    expert: str = ""


class Encoder:
    """Turns conversations into token ids of at most `max_length` tokens.

    Args:
        tokenizer: a transformers tokenizer.
        template: what to render with.
        max_length: tokens per conversation; longer ones lose their beginning (never the end, where
            the response is), except for a beginning-of-sequence or classification token.
        template_args: further variables for the template (``chat_template_args`` of lm-eval's hf).
        date: what the template takes for today.
        seconds: that the template may take for a conversation.

    Raises:
        HarnessError: the template is no Jinja, or ``max_length`` is too small.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: ChatTemplate,
        max_length: int,
        template_args: Mapping[str, Any] | None = None,
        *,
        date: datetime = FIXED_DATE,
        seconds: float = SECONDS,
    ) -> None:
        if max_length < 2:
            raise HarnessError(f"max_length={max_length} leaves no room to score anything")
        self.tokenizer = tokenizer
        self.template = template
        self.max_length = max_length
        self.template_args = dict(template_args or {})
        if template.plain:
            self.template_args = {**_around(tokenizer), **self.template_args}
        self.rendering = Rendering(
            tokenizer,
            template.text,
            template.source,
            self.template_args,
            date=date,
            seconds=seconds,
        )

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> str:
        """The conversation as text, for people and for logs."""
        given = beside(self.tokenizer, self.template, messages)
        return self.rendering.text(messages, add_generation_prompt=add_generation_prompt, **given)

    def encode(self, messages: Sequence[Message]) -> tuple[list[int], bool]:
        """Token ids of the whole conversation, and whether its beginning was cut off.

        Raises:
            HarnessError: the template refuses the conversation, or renders it to nothing.
        """
        return self._shortened(self._ids(messages))

    def encode_response(self, messages: Sequence[Message]) -> Encoded:
        """Token ids of the whole conversation, and where the assistant's response starts in them.

        It starts where the conversation parts from the prompt rendered for generation, as in TRL's
        ``DPOTrainer``; what the template puts after the response (``<|im_end|>``, a newline, the
        end of sequence) belongs to it. The first token of all has nothing before it, so it is never
        counted to the response.

        Raises:
            HarnessError: as `encode`; or the response is empty, or longer than ``max_length``; or
                the template renders the prompt otherwise once a response follows, so that nothing
                says where the response starts.
        """
        check_prompt_stays(self.render, messages, self.template.source)
        whole = self._ids(messages)
        prompt = self._ids(before_response(messages), add_generation_prompt=True)
        start = common(whole, prompt)
        count = len(whole) - max(start, 1)
        if count < 1:
            raise HarnessError(
                f"the chat template ({self.template.source}) renders the response to nothing"
            )
        ids, truncated = self._shortened(whole)
        if count > len(ids) - 1:
            raise HarnessError(
                f"the response has {count} tokens, with one before it more than "
                f"max_length={self.max_length}; the likelihood of a part of it would be another "
                "score: give a larger max_length, where the model takes it, or leave the row out"
            )
        return Encoded(ids, truncated, len(ids) - count)

    def _ids(self, messages: Sequence[Message], **options: Any) -> list[int]:
        given = beside(self.tokenizer, self.template, messages)
        ids = self.rendering.ids(messages, **given, **options)
        if not ids:
            raise HarnessError(
                f"the chat template ({self.template.source}) renders this conversation to nothing"
            )
        return ids

    def _shortened(self, ids: list[int]) -> tuple[list[int], bool]:
        if len(ids) <= self.max_length:
            return ids, False
        # An encoder's head may read nothing but its first token, [CLS].
        if ids[0] in (self.tokenizer.bos_token_id, getattr(self.tokenizer, "cls_token_id", None)):
            return [ids[0], *ids[len(ids) - self.max_length + 1 :]], True
        return ids[-self.max_length :], True


def _around(tokenizer: Any) -> dict[str, Any]:
    """What the plain format begins and ends with: what the tokenizer itself puts around a text.

    BERT's and its kin have [CLS] and [SEP] for it, and no bos and eos.
    """
    ids = tokenizer("a")["input_ids"]
    cls, sep = (getattr(tokenizer, f"{name}_token_id", None) for name in ("cls", "sep"))
    first = ids[:1] if ids[:1] in ([tokenizer.bos_token_id], [cls]) else []
    made: dict[str, Any] = {"add_bos": bool(first)}
    if first == [cls]:
        made["bos_token"] = tokenizer.cls_token
    if ids[-1:] == [sep]:
        made["eos_token"] = tokenizer.sep_token
    return made
