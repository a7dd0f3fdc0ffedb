"""The formula of `reward_preserving_linear`, nothing else.

    merged = (1 − Σλ) · reward model + Σ λ_i · domain model_i         (DogeRM, section 3.2)

for every tensor of the body. The head never comes here: `layout` hides every other model's head,
so that mergekit passes the reward model's through.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from dogerm_plugin.errors import MergeError
from dogerm_plugin.methods.threads import shared_out

# Elements per step: what a step works on stays in the processor's cache, so that the formula and
# the check cost one pass over memory although they take several operations.
CHUNK = 1 << 20
# On a GPU the cost of a step is its launch: few large ones.
GPU_CHUNK = 1 << 24

# λ values come from YAML as decimal numbers: 0.1 + 0.2 + 0.7 may miss 1 in the last place.
SUM_TOLERANCE = 1e-6


def check_weights(weights: Sequence[float], own: float | None = None, where: str = "") -> None:
    """Refuse λs that are not a share: NaN, outside 0..1, Σλ > 1, or not 1 with the model's own.

    Args:
        weights: λ of each domain model.
        own: the `weight` that the recipe gives the reward model itself, if any.
        where: the tensor, for the message.
    """
    place = f" (at {where})" if where else ""
    for weight in weights:
        if not 0 <= weight <= 1:  # also catches NaN
            raise MergeError(
                f"weight {weight} is not in 0..1{place}: the weight of a domain model is λ, "
                "its share of the merged body"
            )
    total = sum(weights)
    if total > 1 + SUM_TOLERANCE:
        raise MergeError(
            f"the weights of the domain models sum to {total:.6g}, more than 1{place}: the reward "
            "model's share is 1 − Σλ and can't be negative; lower them"
        )
    if own is not None and not abs(own - (1 - total)) <= SUM_TOLERANCE:
        raise MergeError(
            f"the reward model's weight is {own:.6g}, expected 1 − Σλ = {1 - total:.6g}{place}: "
            "leave it out, it follows from the others"
        )


def all_finite(tensor: torch.Tensor) -> bool:
    """Whether no element is NaN or Inf; one pass, for the least and the largest are NaN if one is.

    A sum would do, too; in bfloat16 it takes twenty times as long.
    """
    if tensor.dtype.itemsize == 1:  # float8: torch has no more than conversions of it
        tensor = tensor.float()
    return tensor.numel() == 0 or bool(torch.stack(torch.aminmax(tensor)).isfinite().all())


def linear(
    reward: torch.Tensor,
    others: Sequence[torch.Tensor],
    weights: Sequence[float],
    *,
    dtype: torch.dtype | None = None,
    name: str = "the tensor",
    models: Sequence[object] = (),
) -> torch.Tensor:
    """Interpolate one tensor.

    The arithmetic is float32 (float64 if an input is) whatever the inputs' dtypes, each product is
    rounded on its own as in `λ * a + (1 - λ) * b`, and the sum is rounded once to `dtype`.

    Args:
        reward: the reward model's tensor, any shape.
        others: the domain models' tensors, the same shape; dtypes may differ.
        weights: λ of each of `others`.
        dtype: dtype of the result; the reward model's when None.
        name: the tensor's name, for messages.
        models: the names of the reward model and of each of `others`, for messages.

    Raises:
        MergeError: a λ outside 0..1, Σλ > 1, or a result that is not finite.
    """
    check_weights(weights, where=name)
    dtype = dtype or reward.dtype
    exact = (
        torch.float64 if torch.float64 in {t.dtype for t in (reward, *others)} else torch.float32
    )
    shares = (1 - sum(weights), *weights)
    out = _new(reward.shape, dtype, reward.device)
    flat = [tensor.reshape(-1) for tensor in (out, reward, *others)]
    step = CHUNK if reward.device.type == "cpu" else GPU_CHUNK

    def merge(chunks: Iterator[tuple[torch.Tensor, ...]]) -> list[torch.Tensor]:
        """One thread's share; the least and the largest number of each chunk."""
        product, sums = torch.empty(
            (2, min(step, out.numel())), dtype=exact, device=reward.device
        ).unbind()
        found: list[torch.Tensor] = []
        for rounded, *parts in chunks:
            size = rounded.numel()
            total = rounded if dtype == exact else sums[:size]
            _multiply(parts[0], shares[0], total)
            for part, share in zip(parts[1:], shares[1:], strict=True):
                total += _multiply(part, share, product[:size])
            if total is not rounded:
                rounded.copy_(total)
            if size:
                found += torch.aminmax(rounded)
        return found

    chunks = list(zip(*(tensor.split(step) for tensor in flat), strict=True))
    by_thread = shared_out(merge, chunks) if reward.device.type == "cpu" else [merge(iter(chunks))]
    extremes = [one for found in by_thread for one in found]
    if extremes and not torch.stack(extremes).isfinite().all():
        names = models or ["the reward model", *(f"model {i + 1}" for i in range(len(others)))]
        for model, tensor in zip(names, (reward, *others), strict=True):
            check_finite(tensor, name, model)
        raise MergeError(
            f"{name} does not fit {dtype}: set `out_dtype: bfloat16` or float32 in the recipe"
        )
    return out


def _new(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A tensor to be filled; numpy asks Linux for huge pages: a seventh of the time to fill."""
    size = shape.numel() * dtype.itemsize
    if device.type != "cpu" or size < CHUNK:
        return torch.empty(shape, dtype=dtype, device=device)
    return torch.from_numpy(np.empty(size, np.uint8)).view(dtype).view(shape)


def _multiply(part: torch.Tensor, share: float, result: torch.Tensor) -> torch.Tensor:
    """`share * part` in the result's dtype, which is not narrower."""
    if part.dtype == result.dtype:
        return torch.mul(part, share, out=result)
    return result.copy_(part).mul_(share)


def check_finite(tensor: torch.Tensor, name: str, model: object) -> None:
    """Refuse an input tensor with NaN or Inf."""
    if tensor.is_floating_point() and not all_finite(tensor):
        raise MergeError(f"{model}: NaN or Inf in tensor {name}: the checkpoint is damaged")


def keep_common_rows(
    merged: torch.Tensor, reward: torch.Tensor, others: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Copy the rows on which all inputs agree, in place.

    mergekit's vocabulary alignment fills a token that a model lacks with the row of a model that
    has it. "Token in one model only: that row, unchanged" then means equal rows stay as they are,
    to the bit, where (1 − λ)·r + λ·r may round.
    """
    same = torch.ones(reward.shape[0], dtype=torch.bool, device=reward.device)
    for other in others:
        same &= (other == reward).flatten(1).all(1)
    merged[same] = reward[same].to(merged.dtype)
    return merged
