# SPDX-License-Identifier: Apache-2.0
"""Settings in which two models' config.json differ, and by which their weights mean other things.

Every key counts but those that are known to change nothing in a merged body: a key that a new
architecture brings is looked at without being listed here.
"""

from __future__ import annotations

import inspect
import logging
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dogerm_plugin.errors import MergeError

if TYPE_CHECKING:
    from mergekit.options import MergeOptions

    from dogerm_plugin.anatomy.body_and_head import Anatomy

LOG = logging.getLogger("dogerm")

# By itself, a key that one of these is found in says nothing about the body's weights.
_HARMLESS = re.compile(
    r"^_"  # of transformers' own: paths, attention kernels
    r"|^(architectures|auto_map|model_type|dtype|torch_dtype|quantization_config|tokenizer_class"
    r"|problem_type|finetuning_task|task_specific_params|is_decoder|is_encoder_decoder"
    r"|return_dict|chunk_size_feed_forward|gradient_checkpointing|use_cache|cache_implementation"
    r"|vocab_size|num_labels|id2label|label2id|text_config|vision_config|audio_config"
    # of training, and of layers that predict a further token, which are not merged
    r"|router_aux_loss_coef|router_jitter_noise|router_z_loss_coef|aux_loss_alpha|seq_aux"
    r"|num_nextn_predict_layers)$"
    r"|^(output|summary|unsloth)_|_token_(id|ids|index)$|dropout|_pdrop$|_drop$|version"
    r"|^initializer_|_init_std$|_initializer_range$|^init_(std|method)"
)
# What `layer_types` says already.
_OF_LAYER_TYPES = ("use_sliding_window", "max_window_layers", "sliding_window_pattern")
# Rotary embeddings that don't look at the length that a model was made for.
_ANY_LENGTH = ("default", "linear", "llama3", "proportional")
_LENGTHS = ("max_position_embeddings", "original_max_position_embeddings")
# One function under two names.
_ALIASES = {"swish": "silu", "gelu_new": "gelu_pytorch_tanh", "gelu_pytorch": "gelu"}
_ABSENT = object()
# What two models of one pretrained base share. Heads too: tensors have the same shape, and another
# meaning, when they are cut into another number of heads.
SAME = (
    ("hidden_size", "hidden size"),
    ("num_hidden_layers", "layers"),
    ("num_attention_heads", "attention heads"),
)


def differences(mine: Any, theirs: Any) -> dict[str, tuple[str, str]]:
    """What two configs of text or vision models differ in.

    Args:
        mine: the reward model's, as transformers read it: what config.json leaves out is the
            class's default.
        theirs: the domain model's.

    Returns:
        Key (`rope_parameters.rope_theta` for one inside another) → both values as text, the reward
        model's first; "not set" for one that a config lacks.
    """
    own, other = _flat(mine), _flat(theirs)
    known = _declared(mine) | _declared(theirs)
    differing = {}
    for key in sorted(own.keys() | other.keys()):
        a, b = own.get(key, _ABSENT), other.get(key, _ABSENT)
        # no code reads what no class knows
        if key.split(".")[0] in known and not _same(a, b):
            differing[key] = _text(a), _text(b)
    return differing


def _flat(config: Any) -> dict[str, Any]:
    """Keys that count, those of inner dicts by their path, with what is worked out filled in."""
    values = {key: value for key, value in config.to_dict().items() if not _HARMLESS.search(key)}
    heads = values.get("num_attention_heads")
    if heads and values.get("hidden_size") and "head_dim" in values:
        values["head_dim"] = values["head_dim"] or values["hidden_size"] // heads
    if values.get("num_key_value_heads", 0) is None:
        values["num_key_value_heads"] = heads
    if values.get("layer_types"):
        for key in _OF_LAYER_TYPES:
            values.pop(key, None)
        if not any("sliding" in str(one) for one in values["layer_types"]):
            values.pop("sliding_window", None)
    flat = dict(_leaves(values))
    types = [str(value) for key, value in flat.items() if key.endswith("rope_type")]
    if all(one in _ANY_LENGTH for one in types):
        for key in [key for key in flat if key.rpartition(".")[2] in _LENGTHS]:
            if "llama3" not in types or "." not in key:
                del flat[key]
    return flat


def _leaves(values: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{path}{key}.")
        elif not path or key != "type":  # the older name of rope_type, kept beside it
            yield f"{path}{key}", value


def _declared(config: Any) -> set[str]:
    """The keys that a model's code can read: of a class of its own, all."""
    kind = type(config)
    if not kind.__module__.startswith("transformers."):
        return set(config.to_dict())
    annotated = {name for base in kind.__mro__ for name in vars(base).get("__annotations__", ())}
    return annotated | set(inspect.signature(kind.__init__).parameters)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return list(a) == list(b)
    if isinstance(a, str) and isinstance(b, str):
        return _ALIASES.get(a, a) == _ALIASES.get(b, b)
    nothing = (None, False, _ABSENT)
    if any(a is one for one in nothing) and any(b is one for one in nothing):
        return True
    return bool(a == b)


def _text(value: Any) -> str:
    if value is _ABSENT:
        return "not set"
    text = str(value)
    return text if len(text) <= 80 else f"{text[:76]} ..."


def check_configs(reward: Anatomy, other: Anatomy, options: MergeOptions) -> None:
    """Say in a user's words why two models can't be one merge, or may make a bad one."""
    mine, theirs = reward.config.get_text_config(), other.config.get_text_config()
    if mine.model_type != theirs.model_type and not options.allow_crimes:
        raise MergeError(
            f"{other.model} is a {theirs.model_type} model, the reward model {reward.model} a "
            f"{mine.model_type}: a merge needs one pretrained base for both"
        )
    if os.path.realpath(reward.checkpoint.folder) == os.path.realpath(other.checkpoint.folder):
        raise MergeError(
            f"models: {other.model} is the reward model {reward.model} itself, spelled differently"
        )
    for key, word in SAME:
        a, b = getattr(mine, key, None), getattr(theirs, key, None)
        if a != b:
            raise MergeError(
                f"{other.model} has {word} {b}, the reward model {reward.model} has {a}: a merge "
                "needs one pretrained base for both"
            )
    differing = differences(mine, theirs)
    towers = [getattr(one.config, "vision_config", None) for one in (reward, other)]
    if all(hasattr(one, "to_dict") for one in towers):
        inside = differences(*towers)
        differing |= {f"vision_config.{key}": values for key, values in inside.items()}
    if differing:
        LOG.warning(
            "%s: its weights were trained with other settings than the reward model's %s, whose "
            "settings the output has: %s",
            other.model,
            reward.model,
            ", ".join(f"{key} {b} (reward model: {a})" for key, (a, b) in differing.items()),
        )
