# SPDX-License-Identifier: Apache-2.0
"""The output's config.json: the sparse class for rewards, and the base's own settings.

mergekit writes that of a language model, and changes settings by which the base's weights have
their meaning: Mistral's sliding window is gone, for one. What both configs know is the base's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING, AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

from dogerm_plugin.errors import MergeError
from dogerm_plugin.files.json_file import read_object

# Of the file or of the class, not of the weights.
_NOT_OF_WEIGHTS = frozenset(
    {
        "architectures",
        "auto_map",
        "dtype",
        "torch_dtype",
        "model_type",
        "transformers_version",
        "quantization_config",
        "id2label",
        "label2id",
        "num_labels",
    }
)


def reward_class(folder: Path, name: str) -> Any:
    """The class for rewards of the model that mergekit wrote to a folder.

    Args:
        folder: with mergekit's config.json.
        name: what mergekit calls the architecture.

    Raises:
        MergeError: transformers has none.
    """
    # not by the folder: mergekit names another's code in it, which would be asked about
    model_type = str(read_object(folder / "config.json").get("model_type"))
    classes: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    if model_type not in CONFIG_MAPPING or CONFIG_MAPPING[model_type] not in classes:
        raise MergeError(
            f"transformers has no class of {name} that gives rewards (model type {model_type})"
        )
    return classes[CONFIG_MAPPING[model_type]]


def finish(folder: Path, kind: Any, base: Any, labels: Sequence[str] | None) -> None:
    """Rewrite mergekit's config.json.

    Args:
        folder: the stage.
        kind: the class, see `reward_class`.
        base: the base model's config.
        labels: a name for each output of the head; None for the base's own.
    """
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    for key, value in base.to_dict().items():
        known = key in config.to_dict() or hasattr(config, key)
        if known and key not in _NOT_OF_WEIGHTS and not key.startswith("_"):
            setattr(config, key, value)
    config.architectures = [kind.__name__]
    names = dict(enumerate(labels)) if labels is not None else dict(base.id2label)
    config.id2label = names
    config.label2id = {label: number for number, label in names.items()}
    config.save_pretrained(folder)
