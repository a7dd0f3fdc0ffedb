# SPDX-License-Identifier: Apache-2.0
"""A merge loaded by way of a temporary folder, where no loaded model can be overwritten with it.

That is so with another tokenizer or template than the reward model's, or with another head.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from mergekit.config import MergeConfiguration
    from mergekit.options import MergeOptions

    from harness.models.reward import Reward

_Model = TypeVar("_Model", bound="Reward")


def load(
    config: MergeConfiguration, options: MergeOptions, loaded: Callable[[str], _Model]
) -> _Model:
    """Merge, load what came out, and keep nothing of it on the disk.

    Args:
        config: the recipe.
        options: mergekit's.
        loaded: makes a folder a model.

    Raises:
        MergeError: the recipe can't be merged, or not written (TMPDIR names another place).
    """
    from mergekit.merge import run_merge

    with tempfile.TemporaryDirectory(prefix="dogerm-") as folder:
        out = os.path.join(folder, "merged")
        run_merge(config, out, options)
        model = loaded(out)
        for tensor in [*model.model.parameters(), *model.model.buffers()]:
            tensor.data = tensor.data.clone()  # else it is mapped, and keeps the deleted file
    return model


def with_dtype(arguments: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """A model's arguments, with the dtype that a recipe's written merge would be loaded in.

    Args:
        arguments: ``--model_args``; a dtype that they give counts more.
        content: the recipe, as YAML gives it.
    """
    rounded = content.get("out_dtype") or content.get("dtype")
    if rounded and arguments.get("dtype", "auto") == "auto":
        return {**arguments, "dtype": rounded}
    return dict(arguments)
