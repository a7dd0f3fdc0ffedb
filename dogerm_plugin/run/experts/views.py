# SPDX-License-Identifier: Apache-2.0
"""An examined model as `mergekit-moe` sees it.

mergekit asks a `ModelReference` for its config and its tensors, by the names of a language model of
the family. A `Seen` is such a reference that answers from the examined checkpoint: wrappers' names,
adapters and heads beside the model are out of the way, and the mean of the experts can stand in
for the base.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mergekit.common import ModelReference
from pydantic import PrivateAttr

from dogerm_plugin.host.view import ModelView
from dogerm_plugin.methods.linear import check_finite
from dogerm_plugin.run.kinship import Kinship

# mergekit's own rule for what is an expert's and what is the base's.
EXPERT = ".mlp."


class Seen(ModelReference):
    """A model as mergekit is to see it."""

    _config: Any = PrivateAttr(None)
    _view: Any = PrivateAttr(None)

    @classmethod
    def of(cls, model: ModelReference, config: Any, view: Any) -> Seen:
        """The same name, with what it stands for."""
        seen = cls(**{name: getattr(model, name) for name in ModelReference.model_fields})
        seen._config, seen._view = config, view
        return seen

    def config(self, trust_remote_code: bool = False) -> Any:
        """The examined model's config."""
        return self._config

    def lazy_loader(self, cache_dir: str | None = None, lazy_unpickle: bool = True) -> Any:
        """What answers for the model's tensors."""
        return self._view


class TrunkView:
    """A model's trunk by the names of its class; remembers what was read.

    Args:
        view: the model.
        base: another model to compare every matrix with, and who compares; None for the base.
    """

    def __init__(self, view: ModelView, model: Any, base: Compared | None = None) -> None:
        self.names = frozenset(view.index.tensor_paths)
        self.read: set[str] = set()
        self._view = view
        self._model = model
        self._base = base

    def get_tensor(
        self,
        key: str,
        device: str = "cpu",
        aliases: list[str] | None = None,
        raise_on_missing: bool = True,
    ) -> torch.Tensor | None:
        """See `LazyTensorLoader.get_tensor`; `aliases` are of a language model's head."""
        tensor = self._view.get_tensor(key, device=device, raise_on_missing=raise_on_missing)
        if tensor is None:
            return None
        self.read.add(key)
        check_finite(tensor, key, self._model)
        if self._base is not None:
            self._base.compare(key, tensor)
        return tensor

    def flush(self) -> None:
        """Close the file."""
        self._view.flush()


@dataclass(frozen=True)
class Compared:
    """What an expert's matrices are held against."""

    kinship: Kinship
    view: ModelView
    model: ModelReference
    allowed: bool

    def compare(self, name: str, theirs: torch.Tensor) -> None:
        """Refuse a stranger's matrix; see `Kinship.compare`."""
        if theirs.ndim < 2 or not theirs.is_floating_point():
            return
        mine = self.view.get_tensor(name)
        if mine is not None and mine.shape == theirs.shape:  # rows of other tokens are not read
            self.kinship.compare(self.model, name, name, (mine, theirs), self.allowed)


class AveragedTrunk:
    """The base, but for attention, norms and embeddings: those are the mean of the experts'.

    Args:
        base: the base model.
        experts: one or more, each counts once.
        dtype: of the mean; None: that of the base's own tensor.
    """

    def __init__(
        self, base: TrunkView, experts: Sequence[TrunkView], dtype: torch.dtype | None
    ) -> None:
        self._base = base
        self._experts = experts
        self._dtype = dtype

    def get_tensor(
        self,
        key: str,
        device: str = "cpu",
        aliases: list[str] | None = None,
        raise_on_missing: bool = True,
    ) -> torch.Tensor | None:
        """See `LazyTensorLoader.get_tensor`."""
        own = self._base.get_tensor(key, device, raise_on_missing=raise_on_missing)
        if own is None or EXPERT in key or not own.is_floating_point():
            return own
        total = torch.zeros(own.shape, dtype=torch.float64, device=own.device)
        for expert in self._experts:
            part = expert.get_tensor(key, device)
            assert part is not None  # the layout has it
            total += part
        return (total / len(self._experts)).to(self._dtype or own.dtype)

    def flush(self) -> None:
        """Close the files."""
        for view in (self._base, *self._experts):
            view.flush()
