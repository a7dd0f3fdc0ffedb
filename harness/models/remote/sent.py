# SPDX-License-Identifier: Apache-2.0
"""Conversations as a server is sent them: the tokens, or the text, that a local model scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import HarnessError, first_line
from harness.models.load.published import find_head
from harness.models.load.stored_tensors import beside, stored_shapes
from harness.models.remote.protocols import Protocol, Row
from harness.models.score.encoder import Encoded, Encoder
from harness.rows.conversation import Turns


class Served(NamedTuple):
    """What is known here of the model that a server has loaded.

    Attributes:
        config: the model's; None where the name is that of a tokenizer alone.
        tokenizer: its.
        skips_padding: the model reads its reward at the last token that is no padding.
    """

    config: Any
    tokenizer: Any
    skips_padding: bool = True

    @classmethod
    def read(cls, pretrained: str, tokenizer: str | None, trusted: Mapping[str, Any]) -> Served:
        """From folders or Hub ids.

        Raises:
            HarnessError: there is no tokenizer.
        """
        from transformers import AutoConfig, AutoTokenizer

        place = tokenizer or pretrained
        try:
            made = AutoTokenizer.from_pretrained(place, **trusted)
        except Exception as error:  # tokenizers raises bare ones for files that it doesn't know
            raise HarnessError(
                f"no tokenizer can be loaded from {place} ({first_line(error)}); name one with "
                "--model_args tokenizer=FOLDER_OR_HUB_ID"
            ) from error
        try:
            config = AutoConfig.from_pretrained(pretrained, **trusted)
        except (OSError, ValueError):
            return cls(None, made)
        return cls(config, made, _skips_padding(pretrained, config))

    @property
    def pad_token_id(self) -> int | None:
        """The token that does not count as a conversation's last one; None where each does."""
        if not self.skips_padding:
            return None
        padded = self.tokenizer if self.config is None else self.config.get_text_config()
        number: int | None = getattr(padded, "pad_token_id", None)
        return number

    def max_length(self, most: int | None) -> int:
        """Tokens of a conversation where nobody says: as for a local model, but `most`."""
        from lm_eval.models.huggingface import HFLM
        from lm_eval.models.utils import resolve_max_length

        length = resolve_max_length(self.config, self.tokenizer, default=HFLM._DEFAULT_MAX_LENGTH)
        return int(min(length, most or math.inf))


def _skips_padding(pretrained: str, config: Any) -> bool:
    """Whether a local model passes over padding at the end, as transformers' classifiers do.

    A head that a trainer's class has published is read at the last token, whatever it is. The
    names of the tensors tell it; where there are none, the name of the class.
    """
    if getattr(config, "auto_map", None):  # code of its own, nearly always after transformers'
        return True
    shapes = (stored_shapes(pretrained) or {}) if Path(pretrained).expanduser().is_dir() else {}
    try:
        if shapes:
            heads = beside(pretrained, shapes).tensors.items()
            shapes = {name: tuple(tensor.shape) for name, tensor in heads} | shapes
            head = find_head(pretrained, config, shapes)
            return head is None or head.skips_padding
    except HarnessError:  # several layers, or a head in two files: the server's matter
        pass
    names = [str(name) for name in config.architectures or ()]
    return not names or any(name.endswith("ForSequenceClassification") for name in names)


def row_of(
    encoded: Encoded, turns: Turns, encoder: Encoder, pad: int | None, protocol: Protocol
) -> Row:
    """A conversation for a server, which reads the reward at the last token that it gets.

    A sequence-classification model of transformers reads it at the last one that is no padding, and
    a template may end with such (where EOS pads); what stands behind a token changes no reward. A
    trainer's value head is read at the last token itself (`Served.skips_padding`).

    Args:
        encoded: the conversation, as a local model scores it.
        turns: the same as messages.
        encoder: that has encoded it.
        pad: the padding token's id; None where each token counts.
        protocol: of the server.

    Raises:
        HarnessError: the server takes texts, and there is none for these tokens.
    """
    kept = len(encoded.ids)
    while kept > 1 and encoded.ids[kept - 1] == pad:
        kept -= 1
    ids = encoded.ids[:kept]
    if not protocol.SENDS_TEXT:
        return Row(ids)
    tokenizer = encoder.tokenizer
    for text in (encoder.render(turns), tokenizer.decode(ids)):
        if tokenizer(text, add_special_tokens=False)["input_ids"] == ids:
            return Row(ids, text)
    raise HarnessError(
        "the server takes texts, and no text was found that its tokenizer makes these tokens of: "
        "the conversation was cut to max_length= within a word, or ends with padding"
    )
