# SPDX-License-Identifier: Apache-2.0
"""Task arithmetic and TIES in one pass over memory, bit-equal to mergekit's in float32.

    merged = base + λ · Σ w_i · kept_i · (model_i − base) / (Σ w_i where kept, if normalised)

mergekit 0.1.5 makes all task vectors, masks and indices of a tensor at once: six and more times its
size, and sorts all of it where only one threshold is asked for. Here they are made some at a time.
(Task arithmetic: arXiv 2212.04089; TIES: 2306.01708.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dogerm_plugin.methods.linear import CHUNK, GPU_CHUNK


@dataclass(frozen=True)
class Settings:
    """The parameters of the two methods, by mergekit's names.

    Attributes:
        weights: w of each model.
        densities: share of each model's task vector that is kept, the largest first; 1: all.
        factor: λ.
        normalize: divide by the sum of the weights that took part.
        consensus: keep only what has the sign of the weighted sum (TIES).
    """

    weights: Sequence[float]
    densities: Sequence[float]
    factor: float = 1.0
    normalize: bool = False
    consensus: bool = False


def merged(
    base: torch.Tensor, models: Sequence[torch.Tensor], settings: Settings, dtype: torch.dtype
) -> torch.Tensor:
    """One tensor of the merge.

    Args:
        base: the pretrained base's, as stored.
        models: those that were trained from it, of the same shape.
        settings: one weight and one density for each.
        dtype: of the result, to which it is rounded once; the work is done in float32, or in
            float64 if one of the tensors is.

    Returns:
        A tensor of the base's shape. Beside the inputs there are never more than it and one other
        of its size.
    """
    wide = torch.float64 if torch.float64 in {t.dtype for t in (base, *models)} else torch.float32
    flat = [one.reshape(-1) for one in (base, *models)]
    kept = [
        None if density >= 1 else _Largest(flat[0], one, density, wide)
        for one, density in zip(flat[1:], settings.densities, strict=True)
    ]
    result = torch.empty(base.numel(), dtype=dtype, device=base.device)
    weights = torch.tensor(settings.weights, dtype=wide, device=base.device).unsqueeze(-1)
    step = CHUNK if base.device.type == "cpu" else GPU_CHUNK
    for start in range(0, base.numel(), step):
        part = slice(start, start + step)
        origin = flat[0][part].to(wide)
        deltas = torch.stack([one[part].to(wide) - origin for one in flat[1:]])
        for delta, largest in zip(deltas, kept, strict=True):
            if largest is not None:
                delta.mul_(largest.mask(delta))
        result[part] = (origin + _mixed(deltas, weights, settings)).to(dtype)
    return result.reshape(base.shape)


def _mixed(deltas: torch.Tensor, weights: torch.Tensor, settings: Settings) -> torch.Tensor:
    """The task vectors as one; `deltas` (models, elements) is overwritten."""
    deltas.mul_(weights)
    if settings.consensus:
        majority = (deltas.sum(dim=0) >= 0).to(deltas.dtype) * 2 - 1
        mask = deltas.sign() == majority
        mixed = (deltas * mask).sum(dim=0)
        divisor = (weights * mask).sum(dim=0)
        divisor[divisor == 0] = 1
    else:
        mixed = deltas.sum(dim=0)
        divisor = weights.sum(dim=0)
        divisor[divisor.abs() < 1e-8] = 1
    if settings.normalize:
        mixed /= divisor
    if settings.factor != 1:
        mixed *= settings.factor
    return mixed


class _Largest:
    """The elements of a task vector with the largest magnitudes, as masks of its parts.

    Of equal magnitudes at the threshold, the first ones are kept.

    Args:
        base: (elements,).
        model: (elements,).
        density: below 1, the share that is kept; at least one element of a positive one.
        dtype: in which the difference is taken.
    """

    def __init__(
        self, base: torch.Tensor, model: torch.Tensor, density: float, dtype: torch.dtype
    ) -> None:
        size = base.numel()
        self._count = 0 if density <= 0 or not size else max(1, int(density * size))
        if not self._count:
            return
        magnitudes = torch.empty(size, dtype=dtype, device=base.device)
        step = CHUNK if base.device.type == "cpu" else GPU_CHUNK
        for start in range(0, size, step):
            part = slice(start, start + step)
            torch.sub(model[part].to(dtype), base[part].to(dtype), out=magnitudes[part]).abs_()
        place = size - self._count
        if magnitudes.device.type == "cpu":
            values = magnitudes.numpy()
            values.partition(place)
            self._threshold = float(values[place])
            above = int(np.count_nonzero(values[place:] > self._threshold))
        else:
            self._threshold = float(magnitudes.kthvalue(place + 1).values)
            above = int((magnitudes > self._threshold).sum())
        self._equals_left = self._count - above

    def mask(self, delta: torch.Tensor) -> torch.Tensor:
        """Which elements of the next part are kept: 1, or 0."""
        if not self._count:
            return torch.zeros_like(delta)
        magnitudes = delta.abs()
        mask = magnitudes > self._threshold
        equal = (magnitudes == self._threshold).nonzero()[:, 0][: self._equals_left]
        mask[equal] = True
        self._equals_left -= len(equal)
        return mask.to(delta.dtype)
