# SPDX-License-Identifier: Apache-2.0
"""Whether a recipe names the models that its method needs, and whose tokens the output has."""

from __future__ import annotations

from mergekit.config import MergeConfiguration

from dogerm_plugin.anatomy.heads import Heads
from dogerm_plugin.errors import MergeError
from dogerm_plugin.methods.declaration import Method, Role
from dogerm_plugin.recipe import roles
from dogerm_plugin.recipe.entries import entries, lists

_BASES = {
    Role.REWARD_MODEL: "the reward model, whose head and tokenizer the output keeps",
    Role.PRETRAINED: "the pretrained base, which the reward model and the domain models come from",
    None: "one of the two models, the reward model or the domain model",
}


def check_base(config: MergeConfiguration, method: Method) -> None:
    """Check that there is a `base_model`.

    Raises:
        MergeError: says who it is.
    """
    if config.base_model is None and method.base_required:
        raise MergeError(f"no base_model: it names {_BASES[method.base]}")


def check_tokenizer(config: MergeConfiguration) -> None:
    """Check whose tokens the output has; again where the reward model is told by its head.

    Raises:
        MergeError: neither the reward model's nor those of all.
    """
    source = config.tokenizer.source if config.tokenizer else config.tokenizer_source
    reward = roles.reward_model(config)
    may_be = [reward] if reward else [entry.model for entry in entries(config)]
    if source not in (None, "union", "base", *may_be):
        # config.json's pad id would mean another token
        raise MergeError(
            f"tokenizer: source {source}: use base (the reward model's tokens) or union (all)"
        )


def check_models(config: MergeConfiguration, method: Method) -> None:
    """Check that no model is named twice, and how many there are.

    Raises:
        MergeError: too few, too many, or one twice.
    """
    base = set() if config.base_model is None else {config.base_model}
    # Those that are no domain models: the reward model, and the base that it was trained from.
    roles_taken = 2 if base and method.base is Role.PRETRAINED else 1
    most = method.most_domain_models
    for place, models in lists(config):
        names = [entry.model for entry in models]
        for name in names:
            if names.count(name) > 1:
                raise MergeError(f"{place}: names {name} {names.count(name)} times: name it once")
        count = len(base | {*names}) - roles_taken
        if names and most is not None and count > most:
            raise MergeError(
                f"{place}: names {count} domain models, and {method.name} takes at most {most}"
            )
        if method.one_model_each and len(names) > 1:
            raise MergeError(
                f"{place}: names {len(names)} models, and {method.name} takes every tensor from "
                "one of them: write slices with one source each"
            )
    count = len(base | {entry.model for entry in entries(config)}) - roles_taken
    if count >= method.fewest_domain_models:
        return
    if method.heads is not Heads.KEPT:
        raise MergeError(
            f"models: names {count + 1}, and {method.name} merges two reward models or more: add "
            "the others"
        )
    if method.base is Role.REWARD_MODEL:
        raise MergeError(
            f"models: names no model besides the reward model {config.base_model}: add the domain "
            "model"
        )
    raise MergeError(
        f"models: names {count + 1} beside the pretrained base, and {method.name} merges a reward "
        "model and a domain model: add the other one"
        if roles_taken == 2
        else f"models: names {count + 1}, and {method.name} merges a reward model and a domain "
        "model: add the other one"
    )
