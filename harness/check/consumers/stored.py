# SPDX-License-Identifier: Apache-2.0
"""A reward model as it lies on disk: what the programs that load it go by. No weight is computed.

A reward is read at one token of a conversation, and programs differ in which: transformers' own
classes pass over every `pad_token_id` at the end, most others take the last token whatever it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dogerm_plugin.anatomy.body_and_head import Anatomy, examine
from dogerm_plugin.anatomy.checkpoint import open_checkpoint
from dogerm_plugin.anatomy.head_layers import Layer, NoSingleHeadError, reward_layers
from dogerm_plugin.files.json_file import read_object
from dogerm_plugin.files.model_files import holds_tokenizer
from harness.errors import HarnessError

CHAT = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes."}]


@dataclass(frozen=True)
class StoredReward:
    """One reward model's folder, taken apart.

    Attributes:
        folder: where it lies.
        raw: its config.json.
        anatomy: its tensors, told into body and head.
        labels: how many numbers the head gives.
        layers: of the head, in their order; none where they are no chain that ends in one number.
    """

    folder: Path
    raw: dict[str, Any]
    anatomy: Anatomy
    labels: int | None
    layers: tuple[Layer, ...]

    @property
    def text_config(self) -> Any:
        return self.anatomy.config.get_text_config()

    @cached_property
    def classifier(self) -> str | None:
        """transformers' class for this type of model that ends in a head."""
        from transformers.models.auto.modeling_auto import (
            MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES as NAMES,
        )

        return NAMES.get(self.anatomy.config.model_type)

    @property
    def head(self) -> str:
        """The name on disk of the head's one layer."""
        return self.layers[0].name

    @cached_property
    def bias(self) -> Any:
        """The head's bias, a tensor [1]; None where it has none."""
        return self.tensor(f"{self.head}.bias") if self.layers[0].bias else None

    def tensor(self, name: str) -> Any:
        """A stored tensor of this name on disk, in memory of its own."""
        beside = self.anatomy.beside.tensors
        if name in beside:
            return beside[name]
        return self.anatomy.checkpoint.loader.get_tensor(name).clone()

    @cached_property
    def passes_over(self) -> int | None:
        """The token that does not count as a conversation's last one; None where each does."""
        from harness.models.load.published import find_head

        shapes = {name: one.shape for name, one in self.anatomy.stored.items()}
        found = find_head(str(self.folder), self.anatomy.config, shapes)
        own = found is None or found.skips_padding
        return getattr(self.text_config, "pad_token_id", None) if own else None

    @cached_property
    def tokenizer(self) -> Any:
        """Its tokenizer; None where the folder has none."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.folder) if holds_tokenizer(self.folder) else None

    @cached_property
    def chat(self) -> tuple[str, list[int]] | None:
        """`CHAT` as its chat template has it, text and tokens; None where it has none for it."""
        from harness.check.model import ENDLESS
        from harness.models.score.chat_template import choose_template
        from harness.models.score.encoder import Encoder

        if getattr(self.tokenizer, "chat_template", None) is None:
            return None
        try:
            encoder = Encoder(self.tokenizer, choose_template(self.tokenizer, None), ENDLESS)
            return encoder.render(CHAT), encoder.encode(CHAT)[0]
        except HarnessError:  # a template for something else
            return None

    @property
    def last_token(self) -> int | None:
        """What a conversation ends in; None where no chat template says it."""
        return None if self.chat is None else self.chat[1][-1]


def read_reward(folder: Path) -> StoredReward:
    """Take a reward model's folder apart.

    Raises:
        MergeError: no whole model there, or one whose own code would be needed.
        HarnessError: an adapter alone, a model without a reward head.
    """
    from mergekit.common import ModelPath, ModelReference
    from mergekit.options import MergeOptions

    from harness.models.load.folder_check import refuse_adapter_alone

    if not folder.is_dir():
        raise HarnessError(f"{folder}: there is no such folder")
    refuse_adapter_alone(folder)
    options = MergeOptions(lazy_unpickle=True)
    reference = ModelReference(model=ModelPath(path=str(folder)))
    anatomy = examine(open_checkpoint(reference, options), options)
    if not anatomy.reward_head:
        raise HarnessError(
            f"{folder}: {type(anatomy.network).__name__} has no reward head: it is a language "
            "model, and nothing here would take it for a reward model"
        )
    labels = anatomy.labels
    shapes = {name: anatomy.stored[name].shape for name in anatomy.reward_head}
    text = anatomy.config.get_text_config()
    width = getattr(text, "word_embed_proj_dim", None) or text.hidden_size
    try:
        layers = tuple(reward_layers(shapes, width, str(folder))) if labels == 1 else ()
    except NoSingleHeadError:
        layers = ()
    return StoredReward(folder, read_object(folder / "config.json"), anatomy, labels, layers)
