# SPDX-License-Identifier: Apache-2.0
"""Who is who in a recipe: the one place that knows what `base_model` is.

It is the reward model, the pretrained base that task vectors start from, or one of the models like
the others, as the method says (`Method.base`). Where it is not the reward model, that is the one
model with a reward head, or the one that a recipe marks with `reward: true`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mergekit.common import ModelReference
from mergekit.config import MergeConfiguration

from dogerm_plugin.anatomy.heads import Heads
from dogerm_plugin.errors import MergeError
from dogerm_plugin.methods import registry
from dogerm_plugin.methods.declaration import AVERAGE, HEADS, Role
from dogerm_plugin.methods.parameter import REWARD
from dogerm_plugin.recipe.entries import entries


def reward_model(config: MergeConfiguration) -> ModelReference | None:
    """The model whose head the output has; None where the recipe alone does not tell."""
    if registry.of(config.merge_method).base is Role.REWARD_MODEL:
        return config.base_model
    return getattr(config, "reward_model", None)


def without_parameters(config: MergeConfiguration) -> ModelReference | None:
    """The model that has no share in the merge of its own: `base_model`, where it is a role."""
    return None if registry.of(config.merge_method).base is None else config.base_model


def pretrained(config: MergeConfiguration) -> ModelReference | None:
    """The pretrained base; None where the method or the recipe has none."""
    is_base = registry.of(config.merge_method).base is Role.PRETRAINED
    return config.base_model if is_base else None


def told_apart(
    config: MergeConfiguration, heads: Mapping[ModelReference, tuple[str, ...]]
) -> ModelReference:
    """The reward model of a recipe whose models are known.

    Args:
        config: the recipe.
        heads: each model's reward head: names of tensors, none for a language model.

    Raises:
        MergeError: no model has one, or several have and the method keeps one; the marked one has
            none.
    """
    if (named := reward_model(config)) is not None:
        return named
    base = pretrained(config)
    marked = list(dict.fromkeys(entry.model for entry in entries(config) if is_marked(dict(entry))))
    mark = f"`parameters: {{{REWARD.name}: true}}`"
    if len(marked) > 1:
        raise MergeError(f"models: {mark} stands beside {_all(marked)}: leave one")
    if base in marked:
        raise MergeError(f"models: {base} is the pretrained base, and marked as the reward model")
    if marked and not heads[marked[0]]:
        raise MergeError(f"models: {marked[0]}: {mark} stands beside it, and it has no reward head")
    having = marked or [model for model, head in heads.items() if head and model != base]
    kind = registry.of(config.merge_method).heads
    averages = config.merge_method in (AVERAGE, HEADS)  # the pretrained base has no part in these
    if averages and having and not heads.get(config.base_model, having):
        raise MergeError(
            f"base_model {config.base_model} has no reward head, and the output of "
            f"{config.merge_method} is laid out by it: name a reward model there, or none"
        )
    if len(having) > 1 and kind is Heads.KEPT:
        raise MergeError(
            f"models: {_all(having)} have a reward head: write {mark} beside the one whose head "
            "the output keeps"
        )
    if having:
        return having[0]
    if base is not None and heads[base]:
        raise MergeError(
            f"base_model {base} has a reward head, and {config.merge_method} takes the pretrained "
            "base there: name that, and the reward model among the models"
        )
    raise MergeError(
        f"models: none of {_all([one for one in heads if one != base])} has a reward head, linear "
        "layers from the hidden size to one number: add the reward model, such as a "
        "LlamaForSequenceClassification"
    )


def reward_in(content: Mapping[str, Any]) -> str:
    """The reward model of a recipe whose reward model is marked, or is `base_model`."""
    marked = [one["model"] for one in content["models"] if is_marked(one)]
    return str(ModelReference.model_validate(marked[0] if marked else content["base_model"]))


def domain_entries(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries of the domain models in a recipe's `models:`, as YAML gives them.

    Args:
        content: a recipe that has been checked (`keys`), with its reward model marked where
            `base_model` does not say which it is.
    """
    method = registry.of(str(content["merge_method"]))
    base = content.get("base_model")
    others = [] if base is None else [ModelReference.model_validate(base)]
    return [
        one
        for one in content["models"]
        if not (is_marked(one) and method.base is not Role.REWARD_MODEL)
        and (method.base is None or ModelReference.model_validate(one["model"]) not in others)
    ]


def is_marked(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of `models:`, as YAML gives it, says that it is the reward model."""
    parameters = entry.get("parameters")
    return isinstance(parameters, Mapping) and parameters.get(REWARD.name) is True


def _all(models: Iterable[object]) -> str:
    return " and ".join(map(str, models))
