"""Which of a checkpoint's tensors are body and which are head, told by the model class itself.

A transformers class keeps its trunk under `base_model_prefix` (`model.`, `transformer.`, ...);
whatever lies outside is a head: `score`, `classifier`, `lm_head`, a value head. No list of model
types or head names is needed, and a checkpoint's names are read the way `from_pretrained` reads
them (its own renamings, a missing or an extra prefix).
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from mergekit.architecture.auto import infer_vocabulary_axes
from mergekit.common import get_auto_cls
from mergekit.options import MergeOptions
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    apply_renamings,
    rename_source_key,
)
from transformers.initialization import no_init_weights

from dogerm_plugin.checkpoint import Checkpoint
from dogerm_plugin.errors import MergeError

LOG = logging.getLogger("dogerm")
PLAIN = ("bfloat16", "float16", "float32", "float64")


@dataclass(frozen=True)
class Anatomy:
    """One input model, taken apart.

    `body` maps a name relative to the trunk (`layers.0.mlp.up_proj.weight`) to the tensor's name
    on disk; `fused` maps it to the relative name under which the class holds it, which differs
    where `from_pretrained` joins several stored tensors into one (experts). `head` lists names on
    disk.
    """

    checkpoint: Checkpoint
    config: Any
    network: PreTrainedModel
    body: dict[str, str]
    fused: dict[str, str]
    head: tuple[str, ...]
    reward_head: tuple[str, ...]
    leftover: tuple[str, ...] = ()
    vocabulary: frozenset[str] = field(default_factory=frozenset)

    @property
    def model(self) -> Any:
        return self.checkpoint.model

    @property
    def trunk(self) -> torch.nn.Module:
        """The module under `base_model_prefix`; the network itself where it is a bare trunk."""
        return _trunk(self.network)[1]

    @property
    def prefix(self) -> str:
        return _trunk(self.network)[0]

    def tensor(self, relative: str) -> Any:
        return self.checkpoint.tensors[self.body[relative]]


def examine(checkpoint: Checkpoint, options: MergeOptions) -> Anatomy:
    """Take a checkpoint apart.

    Raises:
        MergeError: no architecture in config.json, a class that can't be built, a body or head
            tensor of the class that the checkpoint lacks.
    """
    model = checkpoint.model
    config = _config(checkpoint, options)
    network = _empty_network(checkpoint, config, options)
    prefix, _ = _trunk(network)
    state = network.state_dict()
    parameters = dict(network.named_parameters())
    tied = _tied_groups(network)
    transforms = get_model_conversion_mapping(network)
    renamings = [t for t in transforms if isinstance(t, WeightRenaming)]
    converters = [t for t in transforms if isinstance(t, WeightConverter)]

    body: dict[str, str] = {}
    fused: dict[str, str] = {}
    head: list[str] = []
    leftover: list[str] = []
    loaded: set[str] = set()
    joined: dict[str, int] = defaultdict(int)  # class's tensor → elements stored for it
    for stored in sorted(checkpoint.tensors):
        final, converter = rename_source_key(
            stored, renamings, converters, network.base_model_prefix, state
        )
        loaded.add(final)
        if prefix and not final.startswith(prefix):
            head.append(stored)
        elif converter is not None:
            plain = apply_renamings(stored, renamings)
            relative = plain.removeprefix(prefix)
            body[relative] = stored
            fused[relative] = final.removeprefix(prefix)
            joined[final] += math.prod(checkpoint.tensors[stored].shape)
        elif final in state:
            body[final.removeprefix(prefix)] = stored
            fused[final.removeprefix(prefix)] = final.removeprefix(prefix)
            _check_tensor(checkpoint, stored, state[final])
        else:  # buffers of older releases (rotary inv_freq): the class no longer loads them
            leftover.append(stored)
    for name, elements in joined.items():
        if name in state and elements < state[name].numel():
            raise MergeError(
                f"{checkpoint.folder}: {elements} numbers are stored for {name}, and "
                f"{type(network).__name__} needs {state[name].numel()}: some are missing"
            )
    if leftover:
        LOG.info("%s: not part of %s: %s", model, type(network).__name__, leftover[:3])
    converted = {final for final in fused.values()}
    # a converter with several targets (qkv split) names only its first one
    partial = {t for c in converters for t in c.target_patterns}
    for name in state:
        relative = name.removeprefix(prefix)
        if name in loaded or relative in converted or any(t in name for t in partial):
            continue
        if not loaded.isdisjoint(tied.get(name, ())) or name not in parameters:
            continue
        kind = "head" if prefix and not name.startswith(prefix) else "body"
        if kind == "head" and not _is_reward_model(network):
            continue  # an absent LM head is dropped anyway
        raise MergeError(
            f"{checkpoint.folder}: {kind} tensor {name} of {type(network).__name__} is missing "
            f"({len(checkpoint.tensors)} tensors found): the checkpoint is incomplete"
        )
    output = {name for name in state if name.startswith("lm_head.")} | _output_embedding(network)
    axes = infer_vocabulary_axes(network)
    return Anatomy(
        checkpoint=checkpoint,
        config=config,
        network=network,
        body=body,
        fused=fused,
        head=tuple(head),
        reward_head=tuple(name for name in head if name not in output),
        leftover=tuple(leftover),
        vocabulary=frozenset(n.removeprefix(prefix) for n in axes if n.startswith(prefix)),
    )


def _is_reward_model(network: torch.nn.Module) -> bool:
    return type(network).__name__.endswith("ForSequenceClassification")


def _trunk(network: torch.nn.Module) -> tuple[str, torch.nn.Module]:
    name = getattr(network, "base_model_prefix", "")
    trunk = getattr(network, name, None) if name else None
    if trunk is None or trunk is network:
        return "", network
    return f"{name}.", trunk


def _output_embedding(network: PreTrainedModel) -> set[str]:
    output = network.get_output_embeddings()
    return {
        name
        for name, module in network.named_modules()
        if output is not None and module is output
        for name in (f"{name}.weight", f"{name}.bias")
    }


def _tied_groups(network: torch.nn.Module) -> dict[str, set[str]]:
    groups: dict[int, set[str]] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        groups.setdefault(id(parameter), set()).add(name)
    return {name: group for group in groups.values() for name in group}


def _config(checkpoint: Checkpoint, options: MergeOptions) -> Any:
    model = checkpoint.model
    try:
        config = model.config(trust_remote_code=options.trust_remote_code)
    except Exception as error:  # JSON, schema, unknown model type, remote code: each its own
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


def _check_tensor(checkpoint: Checkpoint, stored: str, wanted: torch.Tensor) -> None:
    """Hold a stored tensor against the class that config.json describes."""
    tensor = checkpoint.tensors[stored]
    if tensor.shape != tuple(wanted.shape):
        raise MergeError(
            f"{tensor.file}: tensor {stored} has shape {list(tensor.shape)}, and config.json asks "
            f"for {list(wanted.shape)}: they don't belong together"
        )
    if wanted.is_floating_point() and tensor.dtype not in PLAIN:
        raise MergeError(
            f"{tensor.file}: tensor {stored} is stored as {tensor.dtype}: a merge needs float32, "
            "float16 or bfloat16"
        )
    if not wanted.is_floating_point() and tensor.dtype in PLAIN:
        raise MergeError(
            f"{tensor.file}: tensor {stored} is stored as {tensor.dtype}, not {wanted.dtype}"
        )


def _auto_class(config: Any) -> Any:
    """The auto class that builds the checkpoint's own class, which may come with its own code."""
    for auto, reference in (getattr(config, "auto_map", None) or {}).items():
        if str(reference).rpartition(".")[2] == config.architectures[0]:
            return getattr(transformers, auto)
    return get_auto_cls(config.architectures[0])


def _empty_network(checkpoint: Checkpoint, config: Any, options: MergeOptions) -> PreTrainedModel:
    """The model class on the meta device: names and shapes, no memory."""
    model = checkpoint.model
    if not config.architectures or len(config.architectures) != 1:
        raise MergeError(
            f"{model}: config.json names {config.architectures or 'no'} architectures, expected "
            "one, such as LlamaForSequenceClassification"
        )
    try:
        with torch.device("meta"), no_init_weights():
            network = _auto_class(config).from_config(
                config, trust_remote_code=options.trust_remote_code
            )
    except Exception as error:  # whatever a model's own code raises
        hint = "" if options.trust_remote_code else "; remote code needs --trust-remote-code"
        raise MergeError(
            f"{model}: {config.architectures[0]} can't be built from config.json "
            f"({type(error).__name__}: {error}){hint}"
        ) from None
    network.tie_weights()
    return network
