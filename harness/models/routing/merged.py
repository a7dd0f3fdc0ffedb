# SPDX-License-Identifier: Apache-2.0
"""Experts made by merging: one loaded reward model that becomes each recipe's merge in turn.

Recipes share a loaded model where their merges differ from its checkpoint in nothing but the body:
one reward model, its tokenizer, its head, one dtype. Where that checkpoint is an expert, too, it is
the same model with nothing merged into it. Other recipes have a model of their own, made by way of
a temporary folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dogerm_plugin.errors import MergeError
from dogerm_plugin.recipe.router import ExpertRecipe
from harness.errors import HarnessError
from harness.models import written_merge
from harness.models.live import LiveMerge, LiveReward
from harness.models.reward import Reward
from harness.models.routing.slots import Slot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mergekit.options import MergeOptions

    from dogerm_plugin.run.in_memory import Merges


def slots_of(
    places: Mapping[str, str], recipes: Mapping[str, ExpertRecipe], arguments: Mapping[str, Any]
) -> list[Slot]:
    """What is to be loaded for these experts, in their order.

    Args:
        places: folder or Hub id by name; of a recipe, what tells of it.
        recipes: the experts that are made by merging.
        arguments: of `Reward`, the same for all.

    Raises:
        HarnessError: a recipe, or its models, can't be merged.
    """
    live: dict[tuple[str, ...], LiveSlot] = {}
    made: dict[str, Slot] = {}
    for name, recipe in recipes.items():
        with _told(recipe):
            slot: Slot = _slot(name, places[name], recipe, arguments)
        if isinstance(slot, LiveSlot):
            slot = live.setdefault(slot.key, slot).with_expert(slot)
        made[name] = slot
    for name, place in places.items():
        if name in recipes:
            continue
        key = _key(place, arguments.get("revision"), "")
        shared = next((one for one in live.values() if one.is_loaded_as(key, arguments)), None)
        if shared is not None:
            made[name] = shared.with_checkpoint(name, place)
        else:
            made[name] = Slot(name, place, lambda one: Reward(one, **arguments), arguments)
    return list(dict.fromkeys(made[name] for name in places))


def _slot(name: str, place: str, recipe: ExpertRecipe, arguments: Mapping[str, Any]) -> Slot:
    from mergekit.options import MergeOptions

    from dogerm_plugin import _autoload
    from dogerm_plugin.run.in_memory import Merges

    _autoload.install(force=True)
    trusted = str(arguments.get("trust_remote_code", False)).lower() == "true"
    options = MergeOptions(quiet=True, trust_remote_code=trusted)
    merges = Merges(recipe.configuration(), options)
    if merges.keeps_all_but_the_body:
        return LiveSlot(name, recipe, merges, arguments)
    return WrittenSlot(name, place, recipe, options, arguments)


class LiveSlot(Slot):
    """A reward model whose body is overwritten with the merge that is asked for.

    Args:
        name: the first expert.
        recipe: its recipe.
        merges: of that.
        arguments: of `Reward`.
    """

    def __init__(
        self, name: str, recipe: ExpertRecipe, merges: Merges, arguments: Mapping[str, Any]
    ) -> None:
        reference = merges.layout.reward.model.model
        revision = {"revision": reference.revision} if reference.revision else {}
        given = {key: value for key, value in arguments.items() if key != "revision"}
        given = written_merge.with_dtype({**given, **revision}, recipe.content)
        super().__init__(
            name, reference.path, lambda one: LiveReward(one, quiet=False, **given), given
        )
        self._own_dtype = _name(getattr(merges.layout.reward.config, "dtype", None))
        asked = _name(given.get("dtype", "auto"))
        self._dtype = self._own_dtype if asked == "auto" else asked
        self._recipes = {name: recipe}
        self._merges = {name: merges}
        self._lives: dict[str, LiveMerge] = {}
        self._checkpoints: dict[str, str] = {}

    @property
    def key(self) -> tuple[str, ...]:
        """What recipes have in common that share this model."""
        return _key(self._place, self._options.get("revision"), self._dtype)

    def is_loaded_as(self, key: tuple[str, ...], arguments: Mapping[str, Any]) -> bool:
        """Whether a checkpoint, loaded with these arguments, is this model before any merge."""
        given = _name(arguments.get("dtype", "auto"))
        dtype = self._own_dtype if given == "auto" else given
        return key[:2] == self.key[:2] and dtype == self._dtype

    def with_expert(self, other: LiveSlot) -> LiveSlot:
        """Itself, with another recipe's expert."""
        self._recipes |= other._recipes
        self._merges |= other._merges
        self.names = tuple(dict.fromkeys((*self.names, *other.names)))
        return self

    def with_checkpoint(self, name: str, place: str) -> LiveSlot:
        """Itself, with the checkpoint as an expert; it is the first."""
        self._checkpoints[name] = place
        self.names = (name, *self.names)
        return self

    def look_at(self) -> None:
        """Nothing is left to look at: its models have been examined."""

    def load(self) -> LiveReward:
        """The reward model, with nothing merged into it yet."""
        model = self._load_from(self._place)
        assert isinstance(model, LiveReward)
        self._lives = {n: LiveMerge(one, model.model) for n, one in self._merges.items()}
        with _as_harness_error():
            next(iter(self._lives.values())).check_unmerged()
        self.now = next(iter(self._checkpoints), None)
        return model

    def become(self, name: str, model: Reward) -> None:
        """Write the expert's merge, or the checkpoint's own body, into the model."""
        self.now = None  # should it fail half-way
        with _as_harness_error():
            if name in self._checkpoints:
                next(iter(self._lives.values())).unmerge()
            else:
                self._lives[name].set(self._recipes[name].configuration())
                self.merges += 1
        self.now = name

    def release(self) -> None:
        """Forget the loaded model."""
        self._lives = {}
        super().release()

    def where(self, name: str) -> str:
        """The expert, for messages."""
        return self._recipes[name].where if name in self._recipes else super().where(name)

    def place(self, name: str) -> str:
        """Its recipe's file, or the checkpoint."""
        return self._checkpoints.get(name) or _recipe_place(self._recipes[name])

    def identity(self, name: str) -> dict[str, str] | None:
        """The recipe and the files of its models."""
        if name in self._checkpoints:
            return None
        return {"recipe and model files": self._recipes[name].digest}


class WrittenSlot(Slot):
    """A merge that has more of its own than a body: another tokenizer, template or head."""

    def __init__(
        self,
        name: str,
        place: str,
        recipe: ExpertRecipe,
        options: MergeOptions,
        arguments: Mapping[str, Any],
    ) -> None:
        given = {key: value for key, value in arguments.items() if key != "revision"}
        super().__init__(name, place, lambda one: Reward(one, **given), given)
        self._recipe, self._merge_options = recipe, options

    def look_at(self) -> None:
        """Nothing is left to look at: its models have been examined."""

    def load(self) -> Reward:
        """The merge, written and loaded."""
        with _as_harness_error():
            model = written_merge.load(
                self._recipe.configuration(), self._merge_options, self._load_from
            )
        self.merges += 1
        self.now = self.names[0]
        return model

    def where(self, name: str) -> str:
        """The expert, for messages."""
        return self._recipe.where

    def place(self, name: str) -> str:
        """Its recipe's file."""
        return _recipe_place(self._recipe)

    def identity(self, name: str) -> dict[str, str] | None:
        """The recipe and the files of its models; its own folder is gone."""
        return {"recipe and model files": self._recipe.digest, "path": "merged"}


def _recipe_place(recipe: ExpertRecipe) -> str:
    return "a recipe in the router file" if recipe.in_place else str(recipe.file)


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _key(path: str, revision: Any, dtype: str) -> tuple[str, str, str]:
    if os.path.isdir(path):
        return os.path.realpath(path), "", dtype
    return path, str(revision or "main"), dtype


@contextmanager
def _as_harness_error() -> Iterator[None]:
    try:
        yield
    except MergeError as error:
        raise HarnessError(str(error)) from error


@contextmanager
def _told(recipe: ExpertRecipe) -> Iterator[None]:
    """A mistake in what is done with a recipe is told with its file and expert before it."""
    try:
        yield
    except MergeError as error:
        raise HarnessError(f"{recipe.where}: {error}") from error
