"""The model class that a checkpoint's config.json describes, without its weights."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from mergekit.common import get_auto_cls
from mergekit.options import MergeOptions
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights

from dogerm_plugin.anatomy import rope
from dogerm_plugin.anatomy.checkpoint import PLAIN, Checkpoint
from dogerm_plugin.anatomy.remote_code import own_class
from dogerm_plugin.errors import MergeError
from dogerm_plugin.files.json_file import read_object


def read_config(checkpoint: Checkpoint, options: MergeOptions) -> Any:
    """A checkpoint's config.

    Raises:
        MergeError: none that can be used, a rope type that does not exist, or it says that the
            weights are quantized.
    """
    model = checkpoint.model
    file = checkpoint.folder / "config.json"
    if file.exists():
        read_object(file)
    try:
        config = model.config(trust_remote_code=options.trust_remote_code)
    except Exception as error:  # JSON, schema, unknown model type, remote code: each its own
        if file.exists():
            rope.refuse_unknown(str(file), read_object(file))
        raise MergeError(f"{model}: no usable config.json ({error})") from None
    quantized = getattr(config, "quantization_config", None)
    plain = all(tensor.dtype in PLAIN for tensor in checkpoint.tensors.values())
    if quantized and not plain:
        method = quantized.get("quant_method") if isinstance(quantized, dict) else quantized
        raise MergeError(
            f"{model}: is quantized ({method}), and its stored numbers can't be interpolated: "
            "merge the unquantized model, or save it after model.dequantize()"
        )
    return config


def class_name(config: Any) -> str | None:
    """The class that a checkpoint counts as; None where config.json does not tell.

    One that has a language model's head beside its reward head may name both classes: it is the
    reward model's, which has all that a merge needs of either.
    """
    names = list(config.architectures or ())
    rewards = [name for name in names if name.endswith("ForSequenceClassification")]
    return next((few[0] for few in (names, rewards) if len(few) == 1), None)


def empty_network(checkpoint: Checkpoint, config: Any, options: MergeOptions) -> PreTrainedModel:
    """The model class on the meta device: names and shapes, no memory.

    Raises:
        MergeError: no single architecture, code of its own that is not trusted, or a class that
            config.json does not fit.
    """
    model = checkpoint.model
    name = class_name(config)
    if name is None:
        raise MergeError(
            f"{model}: config.json names {config.architectures or 'no'} architectures, expected "
            "one, such as LlamaForSequenceClassification"
        )
    auto, own = own_class(config) or ("", "")
    if own != name:  # a classifier published beside the class that the weights are of
        auto = ""
    if auto and not options.trust_remote_code and not hasattr(transformers, name):
        raise MergeError(
            f"{model}: {name} is the checkpoint's own code: it needs --trust-remote-code"
        )
    try:
        with torch.device("meta"), no_init_weights():
            built_by = getattr(transformers, auto) if auto else _auto_class(name, config)
            network = built_by.from_config(config, trust_remote_code=options.trust_remote_code)
    except Exception as error:  # whatever a model's own code raises
        rope.refuse_unknown(f"{model}: config.json", config.to_dict())
        hint = "" if options.trust_remote_code else "; remote code needs --trust-remote-code"
        raise MergeError(
            f"{model}: {name} can't be built from config.json "
            f"({type(error).__name__}: {error}){hint}"
        ) from None
    network.tie_weights()
    return network


def _auto_class(name: str, config: Any) -> Any:
    """The Auto class of an architecture.

    For a trainer's own, such as `RewardModel`, or a class that serves several model types, any that
    knows the type: what counts is the trunk in it.
    """
    autos: list[Any] = [
        transformers.AutoModelForCausalLM,
        transformers.AutoModelForImageTextToText,
        transformers.AutoModelForSequenceClassification,
    ]
    if hasattr(transformers, name):
        autos.insert(0, get_auto_cls(name))
    known = (auto for auto in autos if type(config) in auto._model_mapping)
    return next(known, None) or get_auto_cls(name)
