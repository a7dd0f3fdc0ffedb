# SPDX-License-Identifier: Apache-2.0
"""Reward heads that no class of transformers has: value heads, regression heads, MLP heads.

Training libraries with classes of their own (TRL, safe-rlhf, ...) publish a language model's body
and a head beside it. Such a checkpoint is recognised by structure, from names and shapes alone, and
built as that body and that head.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Mapping
from typing import Any

import torch

from dogerm_plugin.anatomy.head_layers import Layer, NoSingleHeadError, Shape, reward_layers
from dogerm_plugin.anatomy.trunk import TensorNames
from harness.errors import HarnessError
from harness.models.load.published_head import ACTIVATIONS, PublishedHead

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold


def find_head(
    source: str, config: Any, stored: Mapping[str, Shape], activation: str | None = None
) -> PublishedHead | None:
    """The published head of a checkpoint; None where transformers' own class has the head.

    None too for a language model, whose missing head is refused once it is loaded: an adapter may
    bring it.

    Args:
        source: the checkpoint, for messages.
        config: its config.
        stored: its tensor names and shapes.
        activation: the user's word for what stands between two layers (``head_activation``).

    Raises:
        HarnessError: what lies outside the body is no single reward head, or has several layers
            and nothing says what stands between them.
    """
    network = _empty_network(config)
    if network is None:
        return None
    prefix = f"{network.base_model_prefix}."
    own = {name for name in network.state_dict() if not name.startswith(prefix)}
    names = TensorNames(network, stored)
    if not names.has_trunk:
        return None
    finals = _outside(network, stored, names)
    outside = {name: stored[name] for name in finals}
    classifies = any(
        str(name).endswith("ForSequenceClassification") for name in config.architectures or ()
    )
    # Tensors beside the class's own head (score.bias): the class would leave them out unsaid.
    modules = {name.split(".")[0] for name in own}
    beside_own = {final for final in finals.values() if final.split(".")[0] in modules}
    quantized = getattr(config, "quantization_config", None) is not None and own <= beside_own
    complete = bool(own) and (own == beside_own or quantized)
    alone = beside_own == set(finals.values())
    if not outside or (
        complete and (classifies or (alone and not _is_a_trainers(config, outside)))
    ):
        _refuse_useless(activation, "the head is that of transformers' own class")
        return None
    text = config.get_text_config()
    width = getattr(text, "word_embed_proj_dim", None) or text.hidden_size
    try:
        layers = tuple(reward_layers(outside, width, source))
    except NoSingleHeadError as error:
        raise HarnessError(str(error)) from error
    if len(layers) == 1:
        _refuse_useless(activation, f"the head {layers[0].name} has one layer")
        between = "linear"
    else:
        between = _activation(source, config, layers, activation)
    head = PublishedHead(layers, between, wrapper=names.wrapper, skips_padding=classifies)
    if getattr(config, "normalize_reward", False):
        logger.warning(
            "%s: config.json says normalize_reward: its own class subtracts a mean and divides by "
            "a deviation; the rewards here are those before, in the same order",
            source,
        )
    logger.info(
        "%s: reward head %s (%s), read at the last token%s",
        source,
        ", ".join(layer.name for layer in layers),
        " - ".join(str(size) for size in (width, *(layer.outputs for layer in layers))),
        " that is not the pad token" if classifies else "",
    )
    return head


def own_head(config: Any, stored: Mapping[str, Shape]) -> tuple[str, bool]:
    """Where transformers' own class finds its head in a checkpoint, and whether it is a reward's.

    Returns:
        What stands before the names that it reads (a trainer's `pretrained_model.`); and whether
        its whole head is stored with a single output. Then that is what counts, whatever number of
        labels config.json says; it says two where it says nothing.
    """
    network = _empty_network(config)
    if network is None:
        return "", False
    prefix = f"{network.base_model_prefix}."
    own = {
        name: tuple(tensor.shape)
        for name, tensor in network.state_dict().items()
        if not name.startswith(prefix)
    }
    names = TensorNames(network, stored)
    head = {final: shape for name, shape in stored.items() if (final := names.of(name)[0]) in own}
    return names.wrapper, bool(own) and head == own


def _is_a_trainers(config: Any, outside: Mapping[str, Shape]) -> bool:
    """Whether a class that transformers doesn't know saved a head as its classifiers have it.

    OpenRLHF's `RewardModel` does, under `score`, and reads it at the last token.
    """
    import transformers

    names = [str(name) for name in config.architectures or ()]
    single = len(outside) == 1 and all(shape[:1] == (1,) for shape in outside.values())
    return bool(names) and single and not any(hasattr(transformers, name) for name in names)


def _empty_network(config: Any) -> Any:
    """A class with this config's body, on the meta device; None where there is none to build.

    transformers' classifier where it has one, whose head is then known too; else the bare body.
    """
    from transformers import AutoModelForSequenceClassification
    from transformers.initialization import no_init_weights

    from harness.models.load.body_and_head import reward_class

    config = copy.deepcopy(config)
    config.num_labels = 1
    try:
        with torch.device("meta"), no_init_weights():
            if type(config) in AutoModelForSequenceClassification._model_mapping:
                network = AutoModelForSequenceClassification.from_config(config)
            else:
                network = reward_class(config, None)(config)
    except Exception:  # a config that no class takes: loading says what is wrong with it
        return None
    return network if hasattr(network, network.base_model_prefix or "_") else None


def _outside(network: Any, stored: Mapping[str, Shape], names: TensorNames) -> dict[str, str]:
    """The stored tensors that lie outside the body and are not an LM head's.

    By name on disk; the values are the names that `network` would give them.
    """
    prefix = f"{network.base_model_prefix}."
    trunk = getattr(network, network.base_model_prefix)
    state = network.state_dict()
    unread = network._keys_to_ignore_on_load_unexpected or ()
    vocabulary = getattr(network.config.get_text_config(), "vocab_size", None)
    inside = tuple(f"{names.wrapper}{name}." for name, _ in trunk.named_children())
    normalized = bool(getattr(network.config, "do_normalize", False))
    outside = {}
    for name, shape in stored.items():
        final = names.of(name)[0]
        # What the class declares unread: layers that predict a further token (^mtp.*), for one.
        if final not in state and any(re.search(pattern, final) for pattern in unread):
            continue
        # Buffers of older releases (rotary inv_freq) lie in the body and are no longer loaded.
        if final.startswith(prefix) or name.startswith(inside):
            continue
        if shape[:1] == (vocabulary,) or "lm_head" in name.split("."):
            continue
        # safe-rlhf stores the running mean and variance of its rewards even where it uses neither.
        if name.startswith("normalizer.") and not normalized:
            continue
        outside[name] = final
    return outside


def _activation(source: str, config: Any, layers: tuple[Layer, ...], wanted: str | None) -> str:
    """What stands between the layers: the user's word, or that of a config that tells it."""
    if wanted is not None:
        return _checked(wanted)
    if getattr(config, "vhead_layer_type", None) == "mlp":  # GRM (arXiv 2406.10216), its ValueHead
        return "relu"
    raise HarnessError(
        f"{source}: its reward head has {len(layers)} layers ("
        + ", ".join(f"{layer.name} {[layer.outputs, layer.inputs]}" for layer in layers)
        + "), and a checkpoint does not say what stands between them: look it up and give "
        f"--model_args head_activation={'|'.join(ACTIVATIONS)}"
    )


def _refuse_useless(activation: str | None, why: str) -> None:
    if activation is not None:
        raise HarnessError(f"head_activation={_checked(activation)} has no effect: {why}")


def _checked(activation: str) -> str:
    if str(activation).lower() not in ACTIVATIONS:
        raise HarnessError(
            f"head_activation={activation} is unknown; it is one of {', '.join(ACTIVATIONS)}"
        )
    return str(activation).lower()
