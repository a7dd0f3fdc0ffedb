# SPDX-License-Identifier: Apache-2.0
"""Who is who in a recipe: the one place that knows what `base_model` is.

Of the methods that there are, it is the reward model, and every other model is a domain model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mergekit.common import ModelReference
from mergekit.config import MergeConfiguration


def reward_model(config: MergeConfiguration) -> ModelReference | None:
    """The model whose head the output has; None where the recipe does not name it."""
    return config.base_model


def domain_entries(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries of the domain models in a recipe's `models:`, as YAML gives them.

    Args:
        content: a recipe that has been checked (`keys`).
    """
    reward = ModelReference.model_validate(content["base_model"])
    entries = content["models"]
    return [one for one in entries if ModelReference.model_validate(one["model"]) != reward]
