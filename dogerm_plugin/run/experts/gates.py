# SPDX-License-Identifier: Apache-2.0
"""The routers' weights, by mergekit's own gate modes.

Two things differ. Random ones are drawn from the recipe's seed, not from wherever the process's
generator stands. And hidden states are those of the examined base, with the trunk that the output
has: mergekit loads the folder as a language model, which finds nothing in a checkpoint with a
wrapper's names and goes on with a random body.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mergekit.moe import router as host
from mergekit.options import MergeOptions

from dogerm_plugin.anatomy.body_and_head import Anatomy
from dogerm_plugin.errors import MergeError
from dogerm_plugin.run.experts.models import Models
from dogerm_plugin.run.experts.recipe import PROMPTED
from dogerm_plugin.run.trial_load import quiet


@contextmanager
def seeded(seed: int, what: str) -> Iterator[None]:
    """Draw from the recipe's seed and a word, and leave the process's generator as it was."""
    digest = hashlib.sha256(f"{seed} {what}".encode()).digest()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        yield


def gates(
    models: Models, seed: int, options: MergeOptions, load_in_4bit: bool, load_in_8bit: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights of the routers, and of the gates of shared experts.

    Returns:
        (layers, experts, hidden size), and (layers, shared experts, hidden size).

    Raises:
        MergeError: prompts are to be read, and the base has no tokenizer.
    """
    recipe = models.recipe
    asked = list(recipe.experts)
    drawn = recipe.gate_mode not in PROMPTED
    for shared in recipe.shared_experts or ():
        if shared.positive_prompts or drawn:
            asked.append(shared)
    tokenizer = None if drawn else _tokenizer(models.base, options)
    with seeded(seed, "gates"), _hidden_states_of(models):
        found = host.get_gate_params(
            recipe.base_model,
            tokenizer,
            asked,
            mode=recipe.gate_mode,
            load_in_4bit=load_in_4bit,
            load_in_8bit=load_in_8bit,
            lazy_unpickle=options.lazy_unpickle,
            trust_remote_code=options.trust_remote_code,
            device=options.device,
        )
    host.warn_degenerate_gates(found)
    count = len(recipe.experts)
    return found[:, :count, :], found[:, count:, :]


def _tokenizer(base: Anatomy, options: MergeOptions) -> Any:
    """As `mergekit-moe` sets it up to read prompts: padded on the left, by the first token."""
    from transformers import AutoTokenizer

    model = base.model.model
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            model.path, revision=model.revision, trust_remote_code=options.trust_remote_code
        )
    except Exception as error:  # transformers raises whatever its tokenizer classes meet
        raise MergeError(
            f"{base.model}: its tokenizer can't be loaded ({error}), and the gates are to be made "
            "of prompts; gate_mode: random needs none"
        ) from None
    tokenizer.padding_side = "left"
    tokenizer.pad_token_id = tokenizer.bos_token_id
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


@contextmanager
def _hidden_states_of(models: Models) -> Iterator[None]:
    """Let mergekit's router load the base as it was examined; of `trunk: average`, with the mean.

    Retired when `get_gate_params` loads a model by the class that its config names.
    """
    base, trunk = models.base, models.views[models.base.model]

    class AsExamined:
        @staticmethod
        def from_pretrained(_path: str, **asked: Any) -> Any:
            kept = ("device_map", "quantization_config", "low_cpu_mem_usage")
            settings = {name: asked[name] for name in kept if name in asked}
            kind: Any = type(base.network)
            view = models.recipe.base_model.lazy_loader()
            state = {name: view.get_tensor(name) for name in sorted(trunk.names)}
            trunk.read.clear()  # of what will be written nothing is read yet
            head = {base.head[stored]: stored for stored in base.reward_head}
            own = head.keys() & base.network.state_dict().keys()
            state |= {name: _plain(base, head[name]) for name in own}
            config = copy.deepcopy(base.config)
            text = config.get_text_config()
            if text.pad_token_id is None:  # a class for rewards takes no second prompt without
                text.pad_token_id = 0
            with quiet():
                return kind.from_pretrained(
                    None,
                    config=config,
                    state_dict=state,
                    dtype=asked.get("torch_dtype"),
                    **settings,
                ).eval()

    before = host.AutoModelForCausalLM
    host.AutoModelForCausalLM = AsExamined
    try:
        yield
    finally:
        host.AutoModelForCausalLM = before


def _plain(base: Anatomy, stored: str) -> torch.Tensor:
    tensor: Any = base.checkpoint.loader.get_tensor(stored)
    return tensor.detach()
