# SPDX-License-Identifier: Apache-2.0
"""A PEFT adapter's folder: what it holds beside low-rank matrices counts as the adapter's.

Trainers save more than LoRA's A and B: the reward head (`modules_to_save`), embeddings that were
trained or got rows for new tokens, LLaMA-Factory's value head in a file of its own, and the
tokenizer and chat template that the model was trained on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dogerm_plugin.errors import MergeError
from dogerm_plugin.files import head_files

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")  # in PEFT's order
TOKENIZER = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
REWARD, LANGUAGE_MODEL = "SEQ_CLS", "CAUSAL_LM"

# What adapters add to a module; any other tensor takes the place of one of the base model's.
_ADDED = re.compile(
    r"lora_|hada_|lokr_|ia3_|vera_|oft_|boft_|trainable_tokens_|prompt_embeddings|\.adaption_"
)
_WRAPPED = re.compile(r"\.(modules_to_save|original_module|base_layer)(\.default)?(?=\.)")


@dataclass(frozen=True)
class Adapter:
    """A PEFT adapter on disk: its settings, and the names and shapes of its tensors.

    Attributes:
        name: as the user gave it, with its revision.
        folder: where its files are.
        settings: its adapter_config.json.
        shapes: of every tensor that it stores, by its name there.
        whole: of those that take the place of a tensor of the base model's, by that one's name.
    """

    name: str
    folder: Path
    settings: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    whole: Mapping[str, tuple[int, ...]]

    @property
    def task(self) -> str | None:
        """PEFT's word for the kind of model: `REWARD`, `LANGUAGE_MODEL`, another one, or none."""
        return self.settings.get("task_type")

    @property
    def has_tokenizer(self) -> bool:
        """Whether a tokenizer lies in its folder."""
        return (self.folder / TOKENIZER).is_file()

    @property
    def template(self) -> Path | None:
        """The chat template's own file, if its folder has one."""
        file = self.folder / TEMPLATE
        return file if file.is_file() else None

    @property
    def weights(self) -> Path:
        """The file with its tensors."""
        return next(self.folder / name for name in WEIGHTS if (self.folder / name).is_file())

    def head(self, trunk: str) -> dict[str, tuple[int, ...]]:
        """The tensors that it stores whole outside the trunk, but for a language model's head.

        Args:
            trunk: the class's ``base_model_prefix``.
        """
        return {
            name: shape
            for name, shape in self.whole.items()
            if not name.startswith((f"{trunk}.", "lm_head.", "embed_out."))
        }

    def rows(self, embedding: str) -> int | None:
        """The rows of an embedding that it was trained with; None where it does not say.

        Args:
            embedding: the module's name in the base model.
        """
        whole = self.whole.get(f"{embedding}.weight")
        if whole is not None:
            return whole[0]
        for name, shape in self.shapes.items():
            if f".{embedding}.lora_embedding_A" in name:
                return shape[-1]
        return None

    def tensors(self, names: Mapping[str, Any]) -> dict[str, Any]:
        """Some of the tensors that it stores whole, as stored, by the base model's names."""
        from peft.utils import load_peft_weights

        state = load_peft_weights(str(self.folder), device="cpu")
        return {name: state[stored] for stored in state if (name := plain(stored)) in names}


def plain(stored: str) -> str:
    """The base model's name of a tensor that an adapter stores whole."""
    prefix = "base_model.model." if stored.startswith("base_model.model.") else "base_model."
    return _WRAPPED.sub("", stored.removeprefix(prefix))  # prompt tuning has the shorter one


def read(path: str, revision: str | None = None) -> Adapter:
    """An adapter's settings, and the names and shapes of its tensors; no weight is read.

    Args:
        path: a folder or Hub id.
        revision: on the Hub.

    Raises:
        MergeError: none there, or a file of it that can't be read.
    """
    name = f"{path}@{revision}" if revision and not Path(path).is_dir() else str(path)
    folder = _folder(path, name, revision)
    try:
        settings = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise MergeError(f"{name}: no readable {CONFIG} ({error})") from None
    if not isinstance(settings, dict) or not settings.get("peft_type"):
        raise MergeError(f"{folder / CONFIG}: is no adapter's configuration: it has no peft_type")
    file = next((folder / one for one in WEIGHTS if (folder / one).is_file()), None)
    if file is None:
        raise MergeError(f"{name}: lacks {' or '.join(WEIGHTS)}, the adapter's weights")
    shapes = _shapes(file)
    whole = {plain(stored): shape for stored, shape in shapes.items() if not _ADDED.search(stored)}
    return Adapter(name, folder, settings, shapes, whole)


def _folder(path: str, name: str, revision: str | None) -> Path:
    """Where an adapter's files are; of one on the Hub they are fetched."""
    if Path(path).is_dir():
        return Path(path)
    from huggingface_hub import snapshot_download

    wanted = [
        CONFIG,
        *WEIGHTS,
        *head_files.FILES,
        TEMPLATE,
        "*.json",
        "*.model",
        "*.txt",
        "*.jinja",
    ]
    try:
        return Path(snapshot_download(path, revision=revision, allow_patterns=wanted))
    except Exception as error:  # the Hub's errors, and those of a path that is no id
        raise MergeError(
            f"{name}: no adapter there: no such folder, and from the Hub: {error}"
        ) from None


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    try:
        if file.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(str(file), framework="pt") as held:
                names = held.keys()
                return {name: tuple(held.get_slice(name).get_shape()) for name in names}
        import torch

        state = torch.load(file, map_location="meta", weights_only=True)
        return {name: tuple(tensor.shape) for name, tensor in state.items()}
    except Exception as error:  # safetensors, pickle and zip readers each raise their own
        raise MergeError(f"{file}: can't be read ({error}); fetch the adapter again") from None
