# SPDX-License-Identifier: Apache-2.0
"""Tries a written output: its config, weights and tokenizer build the model that they promise.

The model is built without its numbers, by transformers' own `from_pretrained` where the class is
one of its reward models; the tokenizer is loaded as it is.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mergekit.common import ModelPath, ModelReference
from mergekit.options import MergeOptions

from dogerm_plugin.anatomy import body_and_head, checkpoint
from dogerm_plugin.anatomy.body_and_head import Anatomy
from dogerm_plugin.anatomy.head import is_classifier
from dogerm_plugin.errors import MergeError

LOG = logging.getLogger("dogerm")
GENERATION = "generation_config.json"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")


def check(folder: Path, options: MergeOptions) -> Anatomy:
    """Hold an output against its own class: nothing lacking, nothing ignored, shapes as asked.

    A generation_config.json that can't be read is left out, and said so: a reward model generates
    nothing, and its class may fail on it.

    Returns:
        The output, taken apart.

    Raises:
        MergeError: config.json, a tensor, or the tokenizer is not what loading needs.
    """
    model = ModelReference(model=ModelPath(path=str(folder)))
    result = body_and_head.examine(checkpoint.open_checkpoint(model, options), options)
    kind = type(result.network).__name__
    if result.leftover:
        raise MergeError(f"the output's {kind} would not load {result.leftover[0]}")
    if not result.reward_head:
        raise MergeError(f"the output's {kind} has no reward head")
    labels, said = result.labels, result.config.num_labels
    if labels not in (None, said):
        raise MergeError(
            f"the output's config.json says num_labels={said}, and its head "
            f"({', '.join(result.reward_head)}) gives {labels}"
        )
    own = all(result.head[name] in result.network.state_dict() for name in result.reward_head)
    if is_classifier(result.network) and own and not result.network.is_custom_code():
        _load_without_numbers(result)
    _load_tokenizer(folder, options)
    _drop_unreadable_generation_config(folder)
    return result


def _load_without_numbers(result: Anatomy) -> None:
    """transformers' own loading, of tensors that have a shape and no content."""
    kind: Any = type(result.network)
    state = {
        name: torch.empty(tensor.shape, dtype=getattr(torch, tensor.dtype), device="meta")
        for name, tensor in result.checkpoint.tensors.items()
    }
    try:
        with quiet():
            _, report = kind.from_pretrained(
                None,
                config=copy.deepcopy(result.config),
                state_dict=state,
                device_map={"": "meta"},
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except Exception as error:  # whatever transformers meets
        raise MergeError(
            f"the output can't be loaded as {kind.__name__} ({type(error).__name__}: {error}): is "
            "the reward model's config.json right?"
        ) from None
    beside = set(result.head.values())  # an LM head, which the class passes over
    wrong = {
        "lacks": report["missing_keys"],
        "has another shape of": report["mismatched_keys"],
        "has no place for": set(report["unexpected_keys"]) - beside,
    }
    for what, tensors in wrong.items():
        if names := sorted(map(str, tensors)):
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise MergeError(
                f"the output can't be loaded: {kind.__name__} {what} {names[0]}{more}: is the "
                "reward model's config.json right?"
            )


@contextmanager
def quiet() -> Iterator[None]:
    """transformers' bar and table of a loading are not for a trial's reader."""
    from transformers.utils import logging as host

    level, bar = host.get_verbosity(), host.is_progress_bar_enabled()
    host.set_verbosity(logging.CRITICAL)
    host.disable_progress_bar()
    try:
        yield
    finally:
        host.set_verbosity(level)
        if bar:
            host.enable_progress_bar()


def _load_tokenizer(folder: Path, options: MergeOptions) -> None:
    from transformers import AutoTokenizer

    if not any((folder / name).exists() for name in TOKENIZER):
        return
    try:
        AutoTokenizer.from_pretrained(str(folder), trust_remote_code=options.trust_remote_code)
    except Exception as error:  # the tokenizer classes raise whatever they meet
        if "trust_remote_code" in str(error) and not options.trust_remote_code:
            return  # its own code, which may not be run here
        raise MergeError(
            f"the output's tokenizer can't be loaded ({type(error).__name__}: {error}): mend the "
            "tokenizer files of the model that it comes from, or merge with --no-copy-tokenizer"
        ) from None


def _drop_unreadable_generation_config(folder: Path) -> None:
    from transformers import GenerationConfig

    if not (folder / GENERATION).exists():
        return
    try:
        with quiet():
            GenerationConfig.from_pretrained(str(folder))
    except Exception as error:  # JSON and the checks of its values raise their own
        (folder / GENERATION).unlink()
        LOG.warning(
            "%s can't be read (%s) and is left out: a reward model doesn't generate",
            GENERATION,
            " ".join(str(error).split()),
        )
