# SPDX-License-Identifier: Apache-2.0
"""Writes a mixture: mergekit's own architecture lays the tensors out, the head comes with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mergekit.io.tensor_writer import TensorWriter
from mergekit.moe import common as host
from mergekit.options import MergeOptions

from dogerm_plugin.errors import MergeError
from dogerm_plugin.host.writer import StreamingWriter
from dogerm_plugin.run.experts import settings
from dogerm_plugin.run.experts.gates import seeded
from dogerm_plugin.run.experts.head import Head
from dogerm_plugin.run.experts.models import Models


@dataclass(frozen=True)
class Written:
    """What stands in the folder.

    Attributes:
        kind: the class that loads it.
        names: every tensor.
        head: the head by the name that the class has for it.
    """

    kind: Any
    names: set[str]
    head: dict[str, torch.Tensor]


def write(
    folder: Path,
    architecture: Any,
    models: Models,
    routers: tuple[torch.Tensor, torch.Tensor],
    head: Head,
    seed: int,
    options: MergeOptions,
) -> Written:
    """Write weights and config.json.

    Args:
        folder: exists, empty.
        architecture: one of mergekit's registry.
        models: examined.
        routers: see `gates.gates`.
        head: of the output.
        seed: of the experts' noise.
        options: mergekit's.

    Raises:
        MergeError: transformers has no class for rewards of this architecture, or its head has
            another form.
    """
    gate, shared = routers
    with seeded(seed, "noise"), _with_head(models, head.weight) as writers:
        architecture.write_model(
            str(folder),
            models.recipe,
            options,
            router_weights=list(gate),
            shared_router_weights=list(shared),
        )
    kind = settings.reward_class(folder, architecture.name())
    settings.finish(folder, kind, models.base.config, head.labels)
    names = set().union(*(writer.weight_map for writer in writers))
    return Written(kind, names, {_HEAD: head.weight})


# GenericForSequenceClassification's, which all sparse classes of transformers are.
_HEAD = "score.weight"


class HeadWriter:
    """A writer that adds the reward head, and leaves out a language model's.

    Args:
        writer: mergekit's, or one that writes every tensor at once.
        prefix: what the names of the trunk's tensors begin with.
        weight: of the head.
    """

    def __init__(self, writer: TensorWriter, prefix: str, weight: torch.Tensor) -> None:
        self.writer = writer
        self._prefix = prefix
        self._weight = weight

    def save_tensor(self, name: str, tensor: torch.Tensor, clone: bool = False) -> None:
        """See `TensorWriter.save_tensor`."""
        if name.startswith(self._prefix):
            self.writer.save_tensor(name, tensor, clone=clone)

    def finalize(self) -> None:
        """Add the head, and close the files."""
        self.writer.save_tensor(_HEAD, self._weight, clone=True)
        self.writer.finalize()


@contextmanager
def _with_head(models: Models, weight: torch.Tensor) -> Iterator[list[TensorWriter]]:
    """Let mergekit's architectures write by a `HeadWriter`.

    Retired when a `MoEOutputArchitecture` can be told of tensors beside the trunk.
    """
    writers: list[TensorWriter] = []
    # a header's room: an architecture has at most a tensor for each of the base's and each expert
    copies = len(models.recipe.experts) + len(models.recipe.shared_experts or ()) + 2
    room = [f"{name}{'.' * 32}" for name in models.views[models.base.model].names] * copies
    before = host.TensorWriter

    def opened(out_path: str, **options: Any) -> HeadWriter:
        if options["safe_serialization"] and not options["use_async"]:
            writer: TensorWriter = StreamingWriter(out_path, room, options["max_shard_size"])
        else:
            writer = before(out_path, **options)
        writers.append(writer)
        return HeadWriter(writer, models.base.prefix, weight)

    host.TensorWriter = opened
    try:
        yield writers
    finally:
        host.TensorWriter = before
        for writer in writers:
            if isinstance(writer, StreamingWriter):
                writer.close()
    if not writers:
        raise MergeError("mergekit wrote no tensors: is its release one that was tested?")
