"""Which of a checkpoint's tensors are body and which are head, told by the model class itself.

A transformers class keeps its trunk under `base_model_prefix` (`model.`, `transformer.`, ...);
whatever lies outside is a head: `score`, `classifier`, `lm_head`, a value head that only the file
has. No list of model types is needed, and a checkpoint's names are read the way
`from_pretrained` reads them (its own renamings, a missing or an extra prefix, a trainer's wrapper).
Whether a head gives a reward is told in `head`.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mergekit.architecture.auto import infer_vocabulary_axes
from mergekit.options import MergeOptions
from transformers import PreTrainedModel

from dogerm_plugin.anatomy.checkpoint import PLAIN, Checkpoint, Tensor
from dogerm_plugin.anatomy.head import find_reward_head, is_classifier, is_dead, is_ignored, outputs
from dogerm_plugin.anatomy.network import empty_network, read_config
from dogerm_plugin.anatomy.trunk import TensorNames
from dogerm_plugin.errors import MergeError
from dogerm_plugin.files import head_files
from dogerm_plugin.files.head_files import HeadFiles

LOG = logging.getLogger("dogerm")


@dataclass(frozen=True)
class Anatomy:
    """One input model, taken apart.

    `body` maps a name relative to the trunk (`layers.0.mlp.up_proj.weight`) to the tensor's name
    on disk; `fused` maps it to the relative name under which the class holds it, which differs
    where `from_pretrained` joins several stored tensors into one (experts). `head` maps all that
    lies outside the trunk, by name on disk, to the class's names; `reward_head` lists those of
    them that make a reward, none for a language model. `leftover` lists what the class passes over
    when it loads: buffers of older releases, and what it declares to be unread. `beside` is a head
    in a file of its own, which is in `head` too.
    """

    checkpoint: Checkpoint
    config: Any
    network: PreTrainedModel
    body: dict[str, str]
    fused: dict[str, str]
    head: dict[str, str]
    reward_head: tuple[str, ...]
    leftover: tuple[str, ...] = ()
    vocabulary: frozenset[str] = field(default_factory=frozenset)
    beside: HeadFiles = field(default_factory=HeadFiles)

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

    @property
    def labels(self) -> int | None:
        """How many numbers the reward head gives; see `head.outputs`.

        Raises:
            MergeError: a head tensor that fits the class with no number of labels.
        """
        head = {name: self.head[name] for name in self.reward_head}
        return outputs(self.network, head, self.stored)

    @property
    def stored(self) -> dict[str, Tensor]:
        """Every tensor by its name on disk, those of a head beside the model too."""
        return _with_beside(self.checkpoint, self.beside)


def examine(checkpoint: Checkpoint, options: MergeOptions) -> Anatomy:
    """Tell which tensors of a checkpoint are body and which are head.

    Raises:
        MergeError: no architecture in config.json, a class that can't be built, a body or head
            tensor of the class that the checkpoint lacks, a tensor in the trunk that the class
            would not load.
    """
    model = checkpoint.model
    config = read_config(checkpoint, options)
    network = empty_network(checkpoint, config, options)
    prefix, _ = _trunk(network)
    state = network.state_dict()
    parameters = dict(network.named_parameters())
    tied = _tied_groups(network)
    names = TensorNames(network, checkpoint.tensors)

    body: dict[str, str] = {}
    fused: dict[str, str] = {}
    head: dict[str, str] = {}  # name on disk → the class's
    leftover: list[str] = []
    unknown: list[str] = []
    computed = {name for name, _ in network.named_buffers()}  # at each start, whatever is stored
    loaded: set[str] = set()
    joined: dict[str, int] = defaultdict(int)  # class's tensor → elements stored for it
    for stored in sorted(checkpoint.tensors):
        final, converter, plain = names.of(stored)
        loaded.add(final)
        if final not in state and is_ignored(network, final):
            leftover.append(stored)
        elif prefix and not final.startswith(prefix):
            head[stored] = final
        elif converter is not None:
            relative = plain.removeprefix(prefix)
            body[relative] = stored
            fused[relative] = final.removeprefix(prefix)
            joined[final] += math.prod(checkpoint.tensors[stored].shape)
            if final not in state:
                unknown.append(stored)
        elif final in state:
            body[final.removeprefix(prefix)] = stored
            fused[final.removeprefix(prefix)] = final.removeprefix(prefix)
            _check_tensor(checkpoint, stored, state[final])
        elif not prefix and stored.split(".")[0] not in dict(network.named_children()):
            head[stored] = final  # beside a trunk that was saved bare
        else:
            leftover.append(stored)
            if final not in computed and not is_dead(final, checkpoint.tensors[stored]):
                unknown.append(stored)
    if unknown:
        raise MergeError(_not_loaded(checkpoint, network, unknown))
    for name, elements in joined.items():
        if name in state and elements < state[name].numel():
            raise MergeError(
                f"{checkpoint.folder}: {elements} numbers are stored for {name}, and "
                f"{type(network).__name__} needs {state[name].numel()}: some are missing"
            )
    if leftover:
        LOG.info("%s: not part of %s: %s", model, type(network).__name__, leftover[:3])
    own = _beside(checkpoint)
    head |= {name: name for name in own.tensors if name not in head}
    tensors = _with_beside(checkpoint, own)
    reward_head = find_reward_head(network, prefix, head, tensors)
    # a head that is not the class's own: there, the class's own may be absent
    published = any(head[stored] not in state for stored in reward_head)
    converted = {final for final in fused.values()}
    # a converter with several targets (qkv split) names only its first one
    partial = {t for c in names.converters for t in c.target_patterns}
    for name in state:
        relative = name.removeprefix(prefix)
        if name in loaded or relative in converted or any(t in name for t in partial):
            continue
        if not loaded.isdisjoint(tied.get(name, ())) or name not in parameters:
            continue
        kind = "head" if prefix and not name.startswith(prefix) else "body"
        if kind == "head" and (published or not is_classifier(network)):
            continue  # an absent LM head is dropped anyway
        raise MergeError(
            f"{checkpoint.folder}: {kind} tensor {name} of {type(network).__name__} is missing "
            f"({len(checkpoint.tensors)} tensors found): the checkpoint is incomplete"
        )
    axes = infer_vocabulary_axes(network)
    return Anatomy(
        checkpoint=checkpoint,
        config=config,
        network=network,
        body=body,
        fused=fused,
        head=head,
        reward_head=reward_head,
        leftover=tuple(leftover),
        vocabulary=frozenset(n.removeprefix(prefix) for n in axes if n.startswith(prefix)),
        beside=own,
    )


def _beside(checkpoint: Checkpoint) -> HeadFiles:
    """The head beside the model, that of its adapter first.

    Raises:
        MergeError: a file that can't be read, or a tensor that the model itself stores otherwise.
    """
    model = checkpoint.model
    parts = [Path(part.path) for part in (model.lora, model.model) if part]
    heads = head_files.read(head_files.find([*parts, checkpoint.folder]))
    for name, tensor in heads.tensors.items():
        if name in checkpoint.tensors:
            inside = checkpoint.loader.get_tensor(name), checkpoint.tensors[name].file
            head_files.refuse_two_values(name, inside, (tensor, heads.where[name]))
    return heads


def _with_beside(checkpoint: Checkpoint, own: HeadFiles) -> dict[str, Tensor]:
    extra = {
        name: Tensor(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), own.where[name])
        for name, tensor in own.tensors.items()
    }
    return {**extra, **checkpoint.tensors}


def _trunk(network: torch.nn.Module) -> tuple[str, torch.nn.Module]:
    name = getattr(network, "base_model_prefix", "")
    trunk = getattr(network, name, None) if name else None
    if trunk is None or trunk is network:
        return "", network
    return f"{name}.", trunk


def _tied_groups(network: torch.nn.Module) -> dict[str, set[str]]:
    groups: dict[int, set[str]] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        groups.setdefault(id(parameter), set()).add(name)
    return {name: group for group in groups.values() for name in group}


def _not_loaded(checkpoint: Checkpoint, network: PreTrainedModel, names: list[str]) -> str:
    more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
    return (
        f"{checkpoint.tensors[names[0]].file}: tensor {names[0]}{more} lies in the trunk, and "
        f"config.json's class {type(network).__name__} would not load it: use the config.json "
        "that the weights were saved with, give its own class (auto_map, with "
        "--trust-remote-code), or remove the tensor"
    )


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
