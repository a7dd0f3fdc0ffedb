# SPDX-License-Identifier: Apache-2.0
"""Scores that are no finite numbers: which row, which model, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from harness.models.score.requests import describe

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance


# A reward, or one of each of a model's heads.
Score = float | list[float]


def holds(score: Score) -> bool:
    """Whether all numbers of a score are finite."""
    return all(map(math.isfinite, score if isinstance(score, list) else [score]))


def explanation(score: Score, kind: str, request: Instance, models: Mapping[str, nn.Module]) -> str:
    """The one line for a score that is NaN or infinite.

    Args:
        score: it.
        kind: what a score is.
        request: of the row.
        models: those that made it, by name.
    """
    return f"the {kind} of {describe(request)} by {next(iter(models))} is {score}: {_why(models)}"


def _why(models: Mapping[str, nn.Module]) -> str:
    for name, model in models.items():
        for tensor, parameter in model.named_parameters():
            if _is_broken(parameter):
                return f"the tensor {tensor} of {name} holds NaN or Inf; get or make the model anew"
    dtypes = {parameter.dtype for model in models.values() for parameter in model.parameters()}
    computed = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
    return (
        f"all of its weights are finite, so computing it overflows in {computed}; try --model_args "
        "dtype=float32, or leave the row out"
    )


def _is_broken(parameter: torch.Tensor) -> bool:
    if parameter.is_meta or not parameter.is_floating_point():
        return False
    return not bool(torch.isfinite(parameter.detach()).all())
