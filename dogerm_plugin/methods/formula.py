# SPDX-License-Identifier: Apache-2.0
"""Runs a method's formula on one tensor: in float32, with random numbers of its own, checked."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import torch

from dogerm_plugin.errors import MergeError
from dogerm_plugin.methods.declaration import Method, Tensors, Values
from dogerm_plugin.methods.linear import all_finite, check_finite, keep_common_rows
from dogerm_plugin.methods.parameter import SEED

# torch's generators are the whole process's.
_DRAWING = threading.Lock()


def merged(
    method: Method, tensors: Tensors, values: Values, *, is_vocabulary: bool = False
) -> torch.Tensor:
    """Merge one tensor of the output by a method's formula.

    Args:
        method: whose formula.
        tensors: as they are stored; `models` names the pretrained base last, if there is one.
        values: of this tensor; see `declaration`.
        is_vocabulary: whether axis 0 is the vocabulary, so that rows on which all models agree stay
            as they are, to the bit.

    Returns:
        A tensor of the reward model's shape and of `tensors.dtype`.

    Raises:
        MergeError: values that the method refuses; an input, or the result, that is not finite.
    """
    assert method.formula is not None
    if method.as_stored:
        result = method.formula(tensors, values)
    else:
        result = checked(method, tensors, _exact(method, tensors, values))
    if is_vocabulary:
        keep_common_rows(result, tensors.reward, tensors.domain)
    return result


def _exact(method: Method, tensors: Tensors, values: Values) -> torch.Tensor:
    """What the formula makes of the tensors in float32, or float64 if one of them is."""
    assert method.formula is not None
    method.check(values, tensors.name)
    dtype = exact_dtype(tensors.stored)
    reward, *domain = (one.to(dtype) for one in (tensors.reward, *tensors.domain))
    pretrained = None if tensors.pretrained is None else tensors.pretrained.to(dtype)
    exact = replace(tensors, reward=reward, domain=domain, pretrained=pretrained)
    seed = values[SEED] if method.random else None
    with nullcontext() if seed is None else numbers_of(seed, tensors.name, reward.device):
        result: torch.Tensor = method.formula(exact, values)
    return result


def exact_dtype(stored: Iterable[torch.Tensor]) -> torch.dtype:
    """What a formula works in: float32, or float64 if one of its tensors is stored so."""
    return torch.float64 if torch.float64 in {one.dtype for one in stored} else torch.float32


def checked(method: Method, tensors: Tensors, exact: torch.Tensor) -> torch.Tensor:
    """A formula's result, rounded once.

    Raises:
        MergeError: another shape, a model's tensor or the result that is not finite.
    """
    name, shape = tensors.name, tensors.reward.shape
    if exact.shape != shape:
        raise MergeError(
            f"{name}: {method.name} made a tensor of shape {list(exact.shape)} of tensors of shape "
            f"{list(shape)}: its formula is wrong"
        )
    result = exact.to(tensors.dtype)
    if not all_finite(result):
        for model, tensor in zip(tensors.models, tensors.stored, strict=True):
            check_finite(tensor, name, model)
        if not all_finite(exact):
            raise MergeError(
                f"{name}: {method.name} has no finite result with these values: change them (such "
                "as weights that sum to 0)"
            )
        raise MergeError(
            f"{name} does not fit {tensors.dtype}: set `out_dtype: bfloat16` or float32 in the "
            "recipe"
        )
    return result


@contextmanager
def numbers_of(seed: int, name: str, device: torch.device) -> Iterator[None]:
    """torch's random numbers are those of a seed and a tensor's name.

    They go on afterwards as if none was drawn. So a tensor gets the same ones in whatever order
    and process tensors are merged.
    """
    cuda = [device] if device.type == "cuda" else []
    with _DRAWING, torch.random.fork_rng(cuda):
        torch.manual_seed(zlib.crc32(f"{seed} {name}".encode()))
        yield
