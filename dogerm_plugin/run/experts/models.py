# SPDX-License-Identifier: Apache-2.0
"""The models of a mixture: examined, matched, and handed to mergekit as it is to see them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mergekit.common import ModelReference, dtype_from_name
from mergekit.moe.config import MoEMergeConfig
from mergekit.options import MergeOptions

from dogerm_plugin.anatomy import layout, vocabulary
from dogerm_plugin.anatomy.body_and_head import Anatomy
from dogerm_plugin.errors import MergeError
from dogerm_plugin.host.view import ModelView
from dogerm_plugin.run import prepare
from dogerm_plugin.run.experts.recipe import RewardMixture
from dogerm_plugin.run.experts.views import AveragedTrunk, Compared, Seen, TrunkView
from dogerm_plugin.run.kinship import Kinship


@dataclass(frozen=True)
class Models:
    """All models of a recipe.

    Attributes:
        base: the reward model that the output is made on.
        experts: in the recipe's order; may hold the base, and one model twice.
        plan: the base and every other model, matched.
        views: by model, the base's own trunk, whatever the recipe's `trunk` says.
        kinship: what was compared.
        recipe: as mergekit is to be handed it.
    """

    base: Anatomy
    experts: tuple[Anatomy, ...]
    plan: layout.Layout
    views: dict[ModelReference, TrunkView]
    kinship: Kinship
    recipe: MoEMergeConfig

    @property
    def unread(self) -> list[str]:
        """Tensors of the base that mergekit did not ask for: they have no place in the output."""
        return sorted(self.views[self.base.model].names - self.views[self.base.model].read)


def open_models(recipe: RewardMixture, options: MergeOptions) -> Models:
    """Examine a recipe's models and match their tensors.

    Args:
        recipe: with folders as they are found, and adapters merged into their models.
        options: mergekit's.

    Raises:
        MergeError: a model that can't be read, or the experts are of unlike base: see `layout`;
            tokens with other ids.
    """
    every = [recipe.base_model, *(expert.source_model for expert in recipe.experts)]
    every += [shared.source_model for shared in recipe.shared_experts or ()]
    known: dict[Any, Anatomy] = {}
    anatomies: dict[ModelReference, Anatomy] = {}
    for model in every:
        place = (os.path.realpath(model.model.path), model.model.revision)
        if place not in known:
            known[place] = prepare.examine(model, options)
        anatomies[model] = known[place]
    base = anatomies[recipe.base_model]
    others = [one for one in known.values() if one is not base]
    # the layout warns of heads that are ignored, and here every expert may have one
    others = [replace(one, reward_head=()) for one in others]
    plan = _plan(base, others, options)
    for other in plan.others:
        vocabulary.require_same_ids(base, other, options)
    return _seen(recipe, plan, anatomies)


def _plan(base: Anatomy, others: list[Anatomy], options: MergeOptions) -> layout.Layout:
    if others:
        return layout.lay_out(base, others, options)
    own: dict[str, tuple[str, ...]] = {name: (name,) for name in base.body.values()}
    return layout.Layout(base, [], body=sorted(own), sources={base.model: own})


def _seen(
    recipe: RewardMixture, plan: layout.Layout, anatomies: dict[ModelReference, Anatomy]
) -> Models:
    base = plan.reward
    of_class = {
        stored: f"{base.prefix}{base.fused[relative]}" for relative, stored in base.body.items()
    }
    kinship = Kinship(base.model, frozenset(plan.body), "the experts", "`allow_unrelated: true` "
                      "beside its source_model")  # fmt: skip
    allowed = {
        anatomies[expert.source_model].model
        for expert in (*recipe.experts, *(recipe.shared_experts or ()))
        if expert.allow_unrelated
    }

    def view(anatomy: Anatomy) -> ModelView:
        sources = plan.sources[anatomy.model]
        return ModelView(
            anatomy,
            {of_class.get(name, name): sources[name] for name in sources if name not in plan.head},
        )

    own = view(base)
    views = {base.model: TrunkView(own, base.model)}
    for other in plan.others:
        compared = Compared(kinship, view(base), other.model, other.model in allowed)
        views[other.model] = TrunkView(view(other), other.model, compared)
    experts = tuple(anatomies[expert.source_model] for expert in recipe.experts)
    dtype = dtype_from_name(recipe.dtype) if recipe.dtype else None
    mean = AveragedTrunk(views[base.model], [views[expert.model] for expert in experts], dtype)
    if recipe.trunk == "average":
        _require_same_rows(plan, experts)
    seen = {
        anatomy.model: Seen.of(
            anatomy.model,
            anatomy.config,
            mean if anatomy is base and recipe.trunk == "average" else views[anatomy.model],
        )
        for anatomy in anatomies.values()
    }

    def shown(expert: Any) -> Any:
        model = seen[anatomies[expert.source_model].model]
        return expert.model_copy(update={"source_model": model})

    shared = recipe.shared_experts
    handed = recipe.model_copy(
        update={
            "base_model": seen[base.model],
            "experts": [shown(expert) for expert in recipe.experts],
            "shared_experts": None if shared is None else [shown(expert) for expert in shared],
        }
    )
    return Models(base, experts, plan, views, kinship, handed)


def _require_same_rows(plan: layout.Layout, experts: Sequence[Anatomy]) -> None:
    for expert in experts:
        for name in sorted(plan.vocabulary & set(plan.sources[expert.model])):
            mine, theirs = plan.shape(plan.reward, name), plan.shape(expert, name)
            if mine != theirs:
                raise MergeError(
                    f"trunk: average: {name} has shape {list(mine or ())} in the base "
                    f"{plan.reward.model} and {list(theirs or ())} in {expert.model}: rows of "
                    "unlike vocabularies have no mean; say trunk: base"
                )
