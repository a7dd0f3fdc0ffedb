# SPDX-License-Identifier: Apache-2.0
"""A router that is an adapter of the experts' own base, with a head of a row for each expert.

adapter_config.json, adapter_model.safetensors    PEFT's, of a sequence classifier
labels.json                                       the rows' names: ["math", "code", ...]

PEFT stores no label's name, and the base's config is not the adapter's: so the names have a file of
their own. It is read as transformers' classifier would be, with its own tokenizer and template.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from dogerm_plugin.anatomy import adapted_model
from dogerm_plugin.anatomy.adapter import Adapter
from dogerm_plugin.errors import MergeError
from harness.errors import HarnessError
from harness.models.load.head import without_adapter_wrapper
from harness.models.routing.adapted_reward import ROUTER, AdaptedReward
from harness.models.routing.classifier import padded, softmax, takes, template_of
from harness.models.score import digests
from harness.models.score.encoder import Encoder
from harness.models.score.own_forward import autocast
from harness.rows.conversation import Turns
from harness.runs.identity import digest

LABELS = "labels.json"
PROMPTS = 8  # in one batch, where nobody says how many


def labels_of(adapter: Adapter, trunk: str) -> tuple[str, ...]:
    """The names of an adapter's labels.

    Args:
        adapter: the router.
        trunk: the ``base_model_prefix`` of the base's class.

    Raises:
        HarnessError: no head, one of one row, or no names for the rows.
    """
    place = f"router={adapter.name}"
    outputs = sorted(shape[0] for shape in adapter.head(trunk).values() if len(shape) == 2)
    if not outputs or outputs[0] == 1:
        what = "one number" if outputs else "nothing"
        raise HarnessError(
            f"{place}: an adapter whose head gives {what} chooses nothing; a router's has a row "
            "for each expert (task_type SEQ_CLS, num_labels)"
        )
    count, file = outputs[0], adapter.folder / LABELS
    try:
        names = json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        raise HarnessError(
            f"{place}: its head has {count} rows, and no {LABELS} says which expert each is for; "
            f'write a JSON list of names beside it, such as ["math", "code"]'
        ) from None
    except ValueError as error:
        raise HarnessError(f"{file}: no JSON: {error}") from None
    if not isinstance(names, list) or not count == len(names) == len({*map(str, names)}):
        raise HarnessError(
            f"{file}: holds {json.dumps(names)[:80]}; expected a list of {count} names, all "
            "different, one for each row of the head"
        )
    return tuple(map(str, names))


class AdapterRouter:
    """Probabilities by the softmax of the adapter's logits.

    Args:
        reward: the model that has it.
        adapter: the same.
        template: as `harness.models.routing.classifier.template_of`.
        options: of ``from_pretrained`` for a tokenizer that is the base's.

    Raises:
        HarnessError: see `labels_of`; no chat template, or tokens without a row in the embedding.
    """

    kind = "adapter"

    def __init__(
        self, reward: AdaptedReward, adapter: Adapter, *, template: str | None, **options: Any
    ) -> None:
        self.reward = reward
        inner: Any = without_adapter_wrapper(reward.model)
        self.labels = labels_of(adapter, str(inner.base_model_prefix))
        tokenizer = adapted_model.tokens(str(reward.pretrained), adapter, **options)
        try:
            adapted_model.fit_rows(inner, adapter, tokenizer)
        except MergeError as error:
            raise HarnessError(f"router={error}") from None
        chosen = template_of(tokenizer, template, adapter.name)
        self.encoder = Encoder(tokenizer, chosen, takes(tokenizer, inner.config))
        pad = inner.config.pad_token_id
        self.pad = 0 if pad is None else pad
        size = str(reward.batch_size)
        self.batch_size = 1 if pad is None else int(size) if size.isdecimal() else PROMPTS

    def probabilities(self, prompts: Sequence[Turns]) -> list[list[float]]:
        """Each prompt's probability of each label."""
        reward = self.reward
        reward.switch(ROUTER)
        reward.scorer.rope.reset()
        rows = [self.encoder.encode(prompt)[0] for prompt in prompts]
        with autocast(reward.device, reward.scorer.autocast):
            batches = padded(rows, self.pad, self.batch_size, reward.device)
            return softmax(reward.model, batches, len(rows))

    def identity(self) -> dict[str, str]:
        """What a choice depends on beside the prompt, and beside the model's own weights."""
        return {
            "labels": digest(self.labels),
            "tokenizer": digests.of_tokenizer(self.encoder.tokenizer),
            "template": digest(self.encoder.template.text),
        }
