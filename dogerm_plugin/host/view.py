"""An input model as mergekit sees it: the reward model's tensor names, no head but its own.

mergekit asks its `LoaderCache` for each model's tensors by the output's names. A `ModelView` put
there answers from the layout, so that neither the planner nor the tensor tasks need a patch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mergekit.architecture.conversion import convert_checkpoint_tensors
from mergekit.io.lazy_tensor_loader import LazyTensorLoader, ShardedTensorIndex
from mergekit.io.tasks import LoaderCache

from dogerm_plugin.anatomy.body_and_head import Anatomy
from dogerm_plugin.anatomy.heads import Heads
from dogerm_plugin.anatomy.layout import Layout
from dogerm_plugin.errors import MergeError
from dogerm_plugin.methods.linear import check_finite

# Bytes read of a model after which a pickle is mapped anew: until then, what was read of a mapped
# file counts as this process's memory.
FLUSH = 64 << 20


class ModelView:
    """One model's side of the layout, with the interface of mergekit's `LazyTensorLoader`.

    Args:
        anatomy: the model.
        sources: output name → names on this model's disk.
        fill: output name → a view that lends the rows this model's vocabulary padding lacks.
        lent: output name → a view that lends the whole tensor, which this model lacks.
        rows: output name → views of the models whose tensors stand one beside the other in it.
    """

    def __init__(
        self,
        anatomy: Anatomy,
        sources: dict[str, tuple[str, ...]],
        fill: dict[str, ModelView] | None = None,
        lent: dict[str, ModelView] | None = None,
        rows: dict[str, list[ModelView]] | None = None,
    ) -> None:
        checkpoint = anatomy.checkpoint
        self._model = checkpoint.model
        self._model_type = anatomy.config.model_type
        self._files = {name: tensor.file for name, tensor in checkpoint.tensors.items()}
        self._sources = sources
        self._fill = fill or {}
        self._lent = lent or {}
        self._rows = rows or {}
        self._loader: LazyTensorLoader = checkpoint.loader
        self._read_bytes = 0
        self.index = ShardedTensorIndex(
            base_path=str(checkpoint.folder),
            is_safetensors=checkpoint.loader.index.is_safetensors,
            tensor_paths={
                name: checkpoint.loader.index.tensor_paths[stored[0]]
                for name, stored in sources.items()
            }
            | {name: own.tensor_path(name) for name, own in self._lent.items()},
            shards=checkpoint.loader.index.shards,
        )

    def get_tensor(
        self,
        key: str,
        device: str = "cpu",
        aliases: list[str] | None = None,
        raise_on_missing: bool = True,
    ) -> torch.Tensor | None:
        """Read one output tensor's share of this model; see `LazyTensorLoader.get_tensor`."""
        if key in self._lent:
            return self._lent[key].get_tensor(key, device=device)
        if key in self._rows:
            return torch.cat([self._finite(one, key, device) for one in self._rows[key]])
        stored = self._sources.get(key)
        if stored is None:
            if raise_on_missing:
                raise KeyError(key)
            return None
        if len(stored) == 1:
            tensor = self._read(stored[0], device)
        else:
            tensor = self._convert(key, stored, device)
        donor = self._fill.get(key)
        if donor is not None:
            tensor = _with_rows_of(tensor, donor.get_tensor(key, device=device))
        return tensor

    @staticmethod
    def _finite(view: ModelView, key: str, device: str) -> torch.Tensor:
        tensor = view.get_tensor(key, device=device)
        assert tensor is not None
        check_finite(tensor, key, view._model)
        return tensor

    def tensor_path(self, key: str) -> str:
        """The file of a tensor of the output."""
        return str(self.index.tensor_paths[key])

    def flush(self) -> None:
        """Close the file; a tensor that was read of it keeps its mapping."""
        self._loader.flush()
        self._read_bytes = 0

    def _read(self, name: str, device: str) -> torch.Tensor:
        if self._read_bytes > FLUSH:
            self.flush()
        try:
            tensor = self._loader.get_tensor(name, device=device)
        except MergeError:
            raise
        except Exception as error:  # safetensors, torch and zip readers each raise their own
            raise MergeError(
                f"{self._files[name]}: tensor {name} can't be read ({error}); fetch the file again"
            ) from None
        self._read_bytes += tensor.nbytes
        return tensor.detach()  # a pickle may hold parameters

    def _convert(self, target: str, stored: tuple[str, ...], device: str) -> torch.Tensor:
        parts: dict[str, Any] = {
            name: (lambda name=name: self._read(name, device)) for name in stored
        }
        tensor = convert_checkpoint_tensors(self._model_type, parts, target)
        if tensor is None:
            raise MergeError(
                f"{self._model}: {len(stored)} stored tensors ({stored[0]}, ...) don't convert to "
                f"{target}; save both models with one release of transformers"
            )
        return tensor


def _with_rows_of(tensor: torch.Tensor, donor: torch.Tensor | None) -> torch.Tensor:
    """The donor's number of rows: cut what is more, take from the donor what is less."""
    assert donor is not None
    rows = min(len(tensor), len(donor))
    result = donor.to(torch.promote_types(tensor.dtype, donor.dtype), copy=True)
    result[:rows] = tensor[:rows]
    return result


def views(
    layout: Layout, padded: dict[Any, set[str]], *, lends_head: bool = False
) -> dict[Any, ModelView]:
    """A view of every model.

    Args:
        layout: the models, matched.
        padded: by model, the embeddings whose padding rows differ.
        lends_head: whether every model has the reward model's head: that of an output whose last
            tensors come from another model alone.
    """
    own = ModelView(layout.reward, layout.sources[layout.reward.model], rows=_stacked(layout))
    result = {layout.reward.model: own}
    for other in layout.others:
        fill = dict.fromkeys(padded.get(other.model, ()), own)
        lent = dict.fromkeys([*layout.head, *layout.kept] if lends_head else (), own)
        result[other.model] = ModelView(other, layout.sources[other.model], fill, lent)
    return result


def _stacked(layout: Layout) -> dict[str, list[ModelView]]:
    """The head tensors of the models whose heads stand one beside the other."""
    if layout.joined is None or layout.joined.kind is not Heads.STACKED:
        return {}
    anatomies = {one.model: one for one in (layout.reward, *layout.others)}
    heads = [
        ModelView(anatomies[model], {name: (stored,) for name, stored in head.items()})
        for model, head in layout.joined.sources.items()
    ]
    return {name: heads for name in layout.head}


@contextmanager
def shown_to_mergekit() -> Iterator[None]:
    """Forget the views afterwards: another merge in this process must see the plain models."""
    loaders = LoaderCache.loaders
    before = dict(loaders)
    try:
        yield
    finally:
        loaders.clear()
        loaders.update(before)
