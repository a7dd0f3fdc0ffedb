# SPDX-License-Identifier: Apache-2.0
"""The output's config.json, made to agree with the weights that were written beside it.

The reward model's config is taken over as it is, and may say what was never true of its weights, or
is not of the merge: transformers' default of two labels beside a head of one number, a quantization
of weights that are plain numbers, code that is not in the folder. `from_pretrained` goes by it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dogerm_plugin.anatomy.body_and_head import Anatomy
from dogerm_plugin.anatomy.network import class_name

LOG = logging.getLogger("dogerm")
QUANTIZATION = ("quantization_config", "compression_config")


def agree(folder: Path, reward: Anatomy, names: Sequence[str] | None = None) -> None:
    """Rewrite what the weights belie, and say so in one line each.

    Args:
        folder: the written output; its weights are plain numbers.
        reward: the reward model, whose config it has, and whose head or, with `names`, more heads.
        names: what the numbers of a head that is none model's own are called.
    """
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    before = json.dumps(config)
    if len(config.get("architectures") or ()) > 1:  # a language model's head is not merged
        config["architectures"] = [class_name(reward.config)]
    if names is None:
        _labels(config, reward)
    else:
        _call(config, names)
    _quantization(config)
    _code(config, folder)
    if json.dumps(config) != before:
        text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        file.write_text(text, encoding="utf-8")


def _labels(config: dict[str, Any], reward: Anatomy) -> None:
    labels = reward.labels
    if labels is None or labels == reward.config.num_labels:
        return
    _call(config, [f"LABEL_{number}" for number in range(labels)])
    LOG.warning(
        "the output's config.json says num_labels=%d, as the head %s gives; that of %s says %d%s",
        labels,
        ", ".join(reward.reward_head),
        reward.model,
        reward.config.num_labels,
        "" if _says_labels(reward) else " (transformers' default)",
    )


def _call(config: dict[str, Any], names: Sequence[str]) -> None:
    """Write the names of the head's numbers, and so how many there are."""
    own = {
        "id2label": {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
    }
    text = config.get("text_config")
    for part in (config, text if isinstance(text, dict) else {}):
        if part is config or "id2label" in part or "num_labels" in part:
            part |= own
            if "num_labels" in part:
                part["num_labels"] = len(names)


def _says_labels(reward: Anatomy) -> bool:
    file = reward.checkpoint.folder / "config.json"
    said = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return bool({"id2label", "num_labels"} & said.keys())


def _quantization(config: dict[str, Any]) -> None:
    """Drop settings of quantized weights, left over from the model before these were made of it."""
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    for part in parts:
        for key in QUANTIZATION:
            if part.pop(key, None) is not None:
                LOG.warning(
                    "the output's config.json has no %s: the reward model's has, and its weights "
                    "are not quantized",
                    key,
                )


def _code(config: dict[str, Any], folder: Path) -> None:
    """Drop entries of auto_map whose code is not in the folder; `owner/name--file` is fetched."""
    auto_map = config.get("auto_map")
    if not isinstance(auto_map, dict):
        return
    for auto, references in list(auto_map.items()):
        names = references if isinstance(references, list) else [references]
        local = [str(name) for name in names if name and "--" not in str(name)]
        missing = [name for name in local if not (folder / f"{name.split('.')[0]}.py").exists()]
        if missing:
            del auto_map[auto]
            LOG.warning(
                "the output's config.json has no %s in auto_map: %s.py, which it names, is not in "
                "the reward model's folder",
                auto,
                missing[0].split(".")[0],
            )
    if not auto_map:
        del config["auto_map"]
