# SPDX-License-Identifier: Apache-2.0
"""The class of a body and a published reward head, loaded by ``from_pretrained`` like any other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoModelForSequenceClassification, PreTrainedModel
from transformers.initialization import no_init_weights
from transformers.modeling_outputs import SequenceClassifierOutput

from harness.models.load.published_head import ACTIVATIONS, HEAD, PublishedHead


def reward_class(config: Any, head: PublishedHead | None) -> type[PreTrainedModel]:
    """The model class for a config's body and a head; without a head, the body alone.

    It derives from the body's own base class (``LlamaPreTrainedModel``), so dtype, device map,
    quantization and weight conversions are those of the body.
    """
    with torch.device("meta"), no_init_weights():
        body = type(AutoModel.from_config(config))
    base = next(cls for cls in body.__mro__[1:] if issubclass(cls, PreTrainedModel))

    class BodyAndHead(base):  # type: ignore[misc, valid-type]
        base_model_prefix = base.base_model_prefix or "model"
        reads_last_token = head is not None and not head.skips_padding

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            config.num_labels = 1
            setattr(self, self.base_model_prefix, AutoModel.from_config(config))
            if head is not None:
                setattr(self, HEAD, _module(head))
            self.post_init()

        def forward(
            self,
            input_ids: torch.Tensor,
            attention_mask: torch.Tensor | None = None,
            **options: Any,
        ) -> SequenceClassifierOutput:
            """The rewards of token ids [rows, tokens], padded on either side: logits [rows, 1]."""
            # PEFT's wrappers hand on all that a classifier may take, unset.
            options = {name: value for name, value in options.items() if value is not None}
            body = getattr(self, self.base_model_prefix)
            states = body(input_ids, attention_mask=attention_mask, **options)[0]
            pad: Any = getattr(self.config.get_text_config(), "pad_token_id", None)
            skips = pad is not None and not self.reads_last_token
            counts = input_ids.ne(pad) if skips else attention_mask
            counts = torch.ones_like(input_ids) if counts is None else counts
            # argmax of the running place: the right-most one; 0 where none counts
            places = torch.arange(input_ids.shape[1], device=states.device)
            last = (places * counts.to(places)).argmax(-1)
            rows = torch.arange(len(input_ids), device=states.device)
            return SequenceClassifierOutput(logits=getattr(self, HEAD)(states[rows, last]))

    BodyAndHead.__name__ = base.__name__.replace("PreTrainedModel", "BodyAndHead")
    # transformers applies its weight conversions to classes of its own only.
    BodyAndHead.__module__ = base.__module__
    _read_as(BodyAndHead, config)
    return BodyAndHead


def _read_as(made: type[PreTrainedModel], config: Any) -> None:
    """Let a class read the layout that the language model of its type is stored in.

    transformers keeps some of its renamings by class name: Qwen2-VL's are those of
    Qwen2VLForConditionalGeneration.
    """
    from transformers.conversion_mapping import (
        get_checkpoint_conversion_mapping,
        register_checkpoint_conversion_mapping,
    )
    from transformers.models.auto import modeling_auto

    of_type = (
        mapping.get(config.model_type)
        for mapping in (
            modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
            modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
        )
    )
    for name in [*(config.architectures or ()), *of_type]:
        mapping = get_checkpoint_conversion_mapping(name) if isinstance(name, str) else None
        if mapping is not None:
            made.__name__ = f"{name}WithHead"  # a name of its own: the mapping is kept by it
            register_checkpoint_conversion_mapping(made.__name__, mapping, overwrite=True)
            return


def put_head(model: Any, head: PublishedHead, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give a loaded body the head that its checkpoint keeps in another file.

    A new module, for the one that was loaded may be quantized as the body is.

    Args:
        model: of a class that `reward_class` made for `head`.
        head: the head.
        tensors: the numbers by the model's parameter names; the others stay as they were loaded.
    """
    place = getattr(model, HEAD)
    made_of = {f"{HEAD}.{name}": one.data for name, one in place.named_parameters()} | {**tensors}
    device = next(place.parameters()).device
    made = _module(head)
    for name, parameter in made.named_parameters():
        value = made_of[f"{HEAD}.{name}"]
        finer = value.element_size() > model.dtype.itemsize
        parameter.data = value.to(device, value.dtype if finer else model.dtype)
        if finer:
            model.head_loaded_in = model.dtype
    setattr(model, HEAD, made.eval())


def auto_class(config: Any, made: type[PreTrainedModel]) -> Any:
    """An Auto class that loads this one class, with all that Auto classes do around it."""
    members = {"_model_mapping": {type(config): made}}
    return type("AutoBodyAndHead", (AutoModelForSequenceClassification,), members)


def _module(head: PublishedHead) -> nn.Module:
    made: list[nn.Module] = []
    for layer in head.layers:
        made += [ACTIVATIONS[head.activation]()] if made else []
        made.append(nn.Linear(layer.inputs, layer.outputs, bias=layer.bias))
    return made[0] if len(made) == 1 else nn.Sequential(*made)
