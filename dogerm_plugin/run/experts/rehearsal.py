# SPDX-License-Identifier: Apache-2.0
"""Which sparse architecture can hold a reward model: found by making one, small, and scoring it.

Of each architecture in mergekit's registry that takes the models, one is written of a dense model
with the base's own config, shrunk to a layer or two of random numbers, all experts alike. It must
be a class of transformers that gives rewards, every tensor of the base must have found a place, and
its rewards must be the dense model's. So there is no list of names here, and a setting or a bias
that an architecture drops is met before any weight is read.
"""

from __future__ import annotations

import contextlib
import copy
import io
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from mergekit.common import ModelPath, ModelReference
from mergekit.moe import ALL_OUTPUT_ARCHITECTURES
from mergekit.options import MergeOptions
from transformers import AutoModelForSequenceClassification

from dogerm_plugin.anatomy.body_and_head import Anatomy
from dogerm_plugin.errors import MergeError
from dogerm_plugin.run.experts import head, settings
from dogerm_plugin.run.experts.models import open_models
from dogerm_plugin.run.experts.recipe import RewardExpert, RewardMixture, said_by_host
from dogerm_plugin.run.experts.write import write
from dogerm_plugin.run.trial_load import quiet

TOKENS = 12
VOCABULARY = 32
WINDOW = 4
# Of the rewards' size: rounding gives 1e-6.
TOLERANCE = 1e-4


def choose(recipe: RewardMixture, handed: Any, base: Anatomy, options: MergeOptions) -> Any:
    """The first architecture, in mergekit's own order, that can hold the reward model.

    Args:
        recipe: as the user wrote it.
        handed: as mergekit is to see it.
        base: the reward model.
        options: mergekit's.

    Raises:
        MergeError: none can; the message has the reason of each.
    """
    wanted = (recipe.architecture or "").lower()
    named = [one for one in ALL_OUTPUT_ARCHITECTURES if one.name().lower().startswith(wanted)]
    if not named:
        known = ", ".join(one.name() for one in ALL_OUTPUT_ARCHITECTURES)
        raise MergeError(f"architecture: {recipe.architecture}: mergekit-moe has {known}")
    reasons = []
    for architecture in named:
        with said_by_host() as lines:
            fits = architecture.supports_config(
                handed, explain=True, trust_remote_code=options.trust_remote_code
            )
        if not fits:
            reasons.append(f"{architecture.name()}: {' '.join(lines) or 'does not take it'}")
            continue
        try:
            _rehearse(architecture, recipe, base, options)
        except MergeError as error:
            reasons.append(f"{architecture.name()}: {error}")
        else:
            return architecture
    raise MergeError(
        f"{base.model}: a {base.config.model_type} reward model has no sparse form with this "
        f"recipe ({'; '.join(reasons)})"
    )


def _rehearse(
    architecture: Any, recipe: RewardMixture, base: Anatomy, options: MergeOptions
) -> None:
    with tempfile.TemporaryDirectory() as scratch, quiet():
        dense, sparse = Path(scratch, "dense"), Path(scratch, "sparse")
        sparse.mkdir()
        _dense(base.config).save_pretrained(dense)
        model = ModelReference(model=ModelPath(path=str(dense)))
        plain = options.model_copy(update={"device": "cpu", "safe_serialization": True})
        models = open_models(_all_alike(recipe, model), plain)
        layers, width = models.base.config.num_hidden_layers, models.base.config.hidden_size
        drawn = torch.Generator().manual_seed(0)
        shared = len(recipe.shared_experts or ())
        routers = (
            torch.randn((layers, len(recipe.experts), width), generator=drawn),
            torch.randn((layers, shared, width), generator=drawn),
        )
        try:
            with said_by_host(), contextlib.redirect_stderr(io.StringIO()):  # progress bars
                written = write(
                    sparse, architecture, models, routers, head.of_base(models.base), 0, plain
                )
        except MergeError:
            raise
        except Exception as error:  # whatever an architecture meets that the model is not made for
            if (sparse / "config.json").exists():
                settings.reward_class(sparse, architecture.name())  # the plainer reason
            raise MergeError(f"it can't be written ({type(error).__name__}: {error})") from None
        if models.unread:
            raise MergeError(f"it has no place for {models.unread[0]}")
        difference = _difference(AutoModelForSequenceClassification, dense, written.kind, sparse)
    if not difference <= TOLERANCE:
        raise MergeError(
            f"with equal experts its rewards are not the dense model's (off by {difference:.0e} of "
            "their size): it lacks a setting or a part of the base"
        )


def _all_alike(recipe: RewardMixture, model: ModelReference) -> RewardMixture:
    """The recipe for one model in the place of all; what a shared expert adds is nothing."""
    expert = RewardExpert(source_model=model)
    silent = RewardExpert(source_model=model, residual_scale=0.0)
    return RewardMixture(
        base_model=model,
        experts=[expert] * len(recipe.experts),
        shared_experts=[silent] * len(recipe.shared_experts) if recipe.shared_experts else None,
        experts_per_token=recipe.experts_per_token,
        dtype="float32",
    )


def _dense(config: Any) -> Any:
    """A reward model of the base's kind, small: its settings, random numbers."""
    small = copy.deepcopy(config)
    kinds = list(dict.fromkeys(getattr(small, "layer_types", None) or [None]))
    heads = small.num_attention_heads
    groups = heads // (small.num_key_value_heads or heads)
    size = getattr(small, "head_dim", None) or small.hidden_size // heads
    few = max(2, groups)
    sizes = {
        "num_hidden_layers": len(kinds),
        "layer_types": kinds if kinds[0] else None,
        "num_attention_heads": few,
        "num_key_value_heads": few // groups,
        # where the heads are wider or narrower than the model, they stay so
        "hidden_size": few * size * (1 if size * heads == small.hidden_size else 2),
        "intermediate_size": 32,
        "vocab_size": VOCABULARY,
        "num_labels": 1,
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    if getattr(small, "sliding_window", None):
        sizes["sliding_window"] = WINDOW
    for key, value in sizes.items():
        if hasattr(small, key):
            setattr(small, key, value)
    model = AutoModelForSequenceClassification.from_config(small).float()
    drawn = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=drawn)
            if parameter.ndim > 1:
                parameter.copy_(noise / parameter.shape[-1] ** 0.5)
            else:  # norms about 1, biases about 0
                parameter += 0.1 * noise
    return model


def _difference(dense_kind: Any, dense: Path, sparse_kind: Any, sparse: Path) -> float:
    """The largest difference of the two models' rewards, beside their size."""
    drawn = torch.Generator().manual_seed(0)
    ids = torch.randint(VOCABULARY, (TOKENS, TOKENS), generator=drawn)
    rewards = [
        _rewards(kind, folder, ids) for kind, folder in ((dense_kind, dense), (sparse_kind, sparse))
    ]
    return float((rewards[0] - rewards[1]).abs().max() / rewards[0].std())


def _rewards(kind: Any, folder: Path, rows: Iterable[torch.Tensor]) -> torch.Tensor:
    model = kind.from_pretrained(folder, dtype=torch.float32).eval()
    # far apart, as positions are by which a stretched rope is told
    positions = torch.arange(TOKENS)[None] * 97
    mask = torch.ones_like(positions)
    with torch.no_grad():
        return torch.cat(
            [
                model(
                    input_ids=row[None], attention_mask=mask, position_ids=positions
                ).logits.flatten()
                for row in rows
            ]
        )
