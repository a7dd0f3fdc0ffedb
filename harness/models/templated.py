# SPDX-License-Identifier: Apache-2.0
"""What lm-eval asks of a model that renders conversations by a chat template of its own."""

from __future__ import annotations

from harness.errors import HarnessError
from harness.models.score.date_and_chance import DATE
from harness.models.score.encoder import Encoder
from harness.rows.conversation import Conversation, Message


class Templated:
    """Mixin, before the model class.

    Attributes:
        encoder: renders.
    """

    encoder: Encoder

    @property
    def name(self) -> str:
        """The model, for messages."""
        raise NotImplementedError

    def apply_chat_template(
        self, chat_history: list[Message], add_generation_prompt: bool = True
    ) -> str:
        """The rendered prompt for logs, with the messages that are scored later, response and all.

        So ``--apply_chat_template`` changes no score: the template is applied either way.
        """
        try:
            text = self.encoder.render(chat_history, add_generation_prompt=add_generation_prompt)
        except HarnessError as error:
            begins = str(chat_history[-1].get("content"))[:60] if chat_history else ""
            raise HarnessError(f"{self.name}, prompt {begins!r}: {error}") from error
        return Conversation(text, chat_history, getattr(chat_history, "beside", None))

    def chat_template(self, chat_template: bool | str = False) -> str:
        """The text of the chat template in use, for lm-eval's results.

        Raises:
            HarnessError: ``--apply_chat_template NAME`` asks for another one.
        """
        template = self.encoder.template
        if isinstance(chat_template, str) and template.source != f"tokenizer: {chat_template}":
            raise HarnessError(
                f"--apply_chat_template {chat_template} does not choose a reward model's template "
                f"(in use: {template.source}); use --model_args chat_template={chat_template}"
            )
        return template.text

    @property
    def date_told(self) -> str | None:
        """The day that the template was told it is; None where it did not ask."""
        outside = self.encoder.rendering.outside
        return outside.date.date().isoformat() if DATE in outside.drawn else None
