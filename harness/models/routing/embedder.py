# SPDX-License-Identifier: Apache-2.0
"""Prompts as points: the mean of a model's last hidden states over a prompt's tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from harness.errors import HarnessError, first_line
from harness.models.load.arguments import folder_or_hub_id
from harness.models.routing.classifier import LONGEST, padded, takes
from harness.models.score.chat_template import ChatTemplate
from harness.models.score.encoder import Encoder
from harness.rows.conversation import PLAIN_TEMPLATE, Turns


class Embedder:
    """A trunk (of a reward model, a language model, a sentence encoder) that embeds prompts.

    Args:
        place: folder or Hub id.
        template: Jinja text that renders a prompt; None for the plain format.
        device: where it runs.
        batch_size: prompts in one batch.
        dtype: that it is loaded in.
        longest: tokens of a prompt; a longer one loses its beginning.

    Raises:
        HarnessError: nothing can be loaded, or not all of it.
    """

    def __init__(
        self,
        place: str,
        *,
        template: str | None,
        device: Any,
        batch_size: int,
        dtype: str = "float32",
        longest: int = LONGEST,
    ) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.place = place = folder_or_hub_id(place, "encoder")
        try:
            tokenizer = AutoTokenizer.from_pretrained(place)
            loaded, told = AutoModel.from_pretrained(place, dtype=dtype, output_loading_info=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise HarnessError(
                f"encoder={place}: no model with a tokenizer can be loaded ({first_line(error)})"
            ) from error
        # A sentence encoder's pooler stands behind the states that are taken here.
        missing = [one for one in sorted(told["missing_keys"]) if "pooler" not in one.split(".")]
        if missing:
            raise HarnessError(
                f"encoder={place}: it has no {missing[0]}, which {type(loaded).__name__} needs, so "
                "its points would be random; name a model that transformers loads whole"
            )
        self.model = loaded.eval().to(device)
        made = (
            ChatTemplate(PLAIN_TEMPLATE, "plain format", True)
            if template is None
            else ChatTemplate(template, "the router's")
        )
        most = min(longest, takes(tokenizer, self.model.config))
        # As routers were fitted: no [CLS] and [SEP] around the plain format.
        ends = {name: getattr(tokenizer, name) or "" for name in ("bos_token", "eos_token")}
        self.encoder = Encoder(tokenizer, made, most, ends if made.plain else None)
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        self.batch_size = batch_size

    def embed(self, prompts: Sequence[Turns], shown: bool = False) -> np.ndarray[Any, Any]:
        """The prompts' points [prompts, hidden size], in float32."""
        import torch

        rows = [self.encoder.encode(prompt)[0] for prompt in prompts]
        made: Any = None
        batches = padded(rows, self.pad, self.batch_size, self.model.device)
        count = -(-len(rows) // self.batch_size)
        for places, ids, mask in tqdm(batches, "Embedding", count, disable=not shown):
            with torch.inference_mode():
                states = self.model(input_ids=ids, attention_mask=mask)[0].float()
            weights = mask[..., None].to(states.dtype)
            points = ((states * weights).sum(1) / weights.sum(1)).cpu().numpy()
            if made is None:
                made = np.zeros((len(rows), points.shape[1]), np.float32)
            made[places] = points
        return made if made is not None else np.zeros((0, 0), np.float32)
