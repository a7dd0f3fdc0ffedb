# SPDX-License-Identifier: Apache-2.0
"""``router.yml``: who the experts are, who chooses among them, and on what scale their rewards are.

    experts:
      general: general-rm/          # a folder, beside this file or in the current one, or a Hub id
      math: math-merge.yml          # or a recipe that makes it, here or in place
    router: router/                 # or a text classifier, `oracle`, `{always: math}`
    fallback: general               # for what no expert is for, and below the threshold
    threshold: 0.5
    domain: subset                  # the column that says a row's domain, or `task`
    domains: {math-prm: math, "hep-*": code}
    beside: [all]                   # experts that are never chosen, for `all_experts` alone
    calibration:
      general: {mean: 1.25, std: 3.1}
      math: {mean: -0.4, std: 0.8}

With ``base: base-model/`` the experts are adapters of that model (`harness.models.adapters`). The
same can be said in ``--model_args``, which count more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from dogerm_plugin.errors import MergeError
from dogerm_plugin.recipe.router import ExpertRecipe, recipes
from harness.errors import HarnessError
from harness.models.routing.scale import Scale
from harness.rows.columns import with_guess

ORACLE = "oracle"
ALWAYS = "always"
TASK = "task"
TAKEN = (ORACLE, "routed")  # what tables and reports set beside the experts by these names
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


class RouterFile(BaseModel):
    """What is known of a routed set of experts before anything is loaded.

    Attributes:
        experts: folder or Hub id by the domain's name, in the user's order; of one that is made
            by merging its recipe's file, or the router file that it stands in.
        base: the model that all experts are adapters of; None where each is a model of its own.
        router: a folder or Hub id, ``oracle``, or ``{always: NAME}``.
        fallback: the expert for prompts that none is for.
        threshold: the fallback is taken where the likeliest expert is less likely than this.
        domain: the column of a document that says its domain, or ``task`` for the task's name.
        domains: expert by value of that column; ``*`` and ``?`` stand for anything. A value that
            is an expert's name needs no entry. What is written in full counts before names, and
            these before patterns, of which the first that fits is taken.
        beside: experts that no prompt is for, to be compared with.
        calibration: the scale of each expert's rewards.
        template: what renders a prompt for a text classifier: as ``chat_template=``, or ``plain``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    experts: dict[str, str] = {}
    base: str | None = None
    router: str | dict[str, str] | None = None
    fallback: str | None = None
    threshold: float = Field(default=0.0, ge=0, le=1)
    domain: str | None = None
    domains: dict[str, str] = {}
    beside: list[str] = []
    calibration: dict[str, Scale] = {}
    template: str | None = None
    _recipes: dict[str, ExpertRecipe] = PrivateAttr(default_factory=dict)

    @property
    def recipes(self) -> dict[str, ExpertRecipe]:
        """The experts that are made by merging."""
        return self._recipes

    @property
    def routed(self) -> list[str]:
        """The experts that prompts are for."""
        return [name for name in self.experts if name not in self.beside]

    @property
    def always(self) -> str | None:
        """The one expert for all rows, if that is what the router is."""
        return self.router.get(ALWAYS) if isinstance(self.router, Mapping) else None

    def checked(self, where: str) -> RouterFile:
        """Itself, if all names in it are experts and it says who chooses.

        Raises:
            HarnessError: naming what is missing or unknown.
        """
        if len(self.routed) < 2:
            raise HarnessError(
                f"{where}: a router chooses among two or more experts, and here are "
                f"{len(self.routed)}; for one use --model reward"
            )
        bad = [name for name in self.experts if not _NAME.fullmatch(name)]
        if bad:
            raise HarnessError(
                f"{where}: the expert {bad[0]!r} has a name of other signs than letters, digits, "
                "'_', '-' and '.'; it becomes a metric's name: write math=FOLDER (in a router.yml "
                "math: FOLDER)"
            )
        if name := next((name for name in self.experts if name in TAKEN), None):
            raise HarnessError(
                f"{where}: the expert {name!r} has a name that tables give to something else: call "
                "it otherwise"
            )
        if self.router is None:
            raise HarnessError(
                f"{where}: nobody chooses among the experts; give router=FOLDER (dogerm train "
                "router, or a text classifier), router=oracle or always=NAME"
            )
        if isinstance(self.router, Mapping) and set(self.router) != {ALWAYS}:
            raise HarnessError(
                f"{where}: router is {dict(self.router)!r}; expected a folder or Hub id, oracle, "
                "or {always: NAME}"
            )
        named: list[tuple[str, str]] = [
            *([("always", self.always)] if self.always is not None else []),
            *([("fallback", self.fallback)] if self.fallback is not None else []),
            *(("domains", name) for name in self.domains.values()),
            *(("calibration", name) for name in self.calibration),
            *(("beside", name) for name in self.beside),
        ]
        for key, name in named:
            if name not in self.experts:
                raise HarnessError(
                    f"{where}: {key} names the expert {with_guess(name, tuple(self.experts))}; "
                    f"there are {', '.join(self.experts)}"
                )
        chosen = [name for key, name in named if key in ("fallback", "domains")]
        if never := next((name for name in chosen if name in self.beside), None):
            raise HarnessError(
                f"{where}: {never} is listed beside, so no prompt is for it, and it is named as "
                "the fallback or for a domain: leave one of the two out"
            )
        lacking = [name for name in self.experts if name not in self.calibration]
        if self.calibration and lacking:
            raise HarnessError(
                f"{where}: calibration has no {lacking[0]}; give the scale of every expert or of "
                "none"
            )
        if self.router == ORACLE and self.domain is None:
            raise HarnessError(
                f"{where}: router=oracle needs domain=COLUMN, the column that says a row's domain "
                "(domain=task for the task's name)"
            )
        if self.threshold and self.fallback is None:
            raise HarnessError(f"{where}: threshold={self.threshold:g} needs a fallback=NAME")
        return self


def read(path: Path) -> RouterFile:
    """A ``router.yml``; its relative places are made those of the file.

    Raises:
        HarnessError: it can't be read, or holds what a router file does not.
    """
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise HarnessError(f"{path}: expected `key: value` lines, with `experts:` among them")
    experts = content.get("experts")
    found = recipes_among(experts, str(path), path.parent) if isinstance(experts, dict) else {}
    for name, recipe in found.items():
        content = {**content, "experts": {**content["experts"], name: str(recipe.file)}}
    made = validated(content, str(path))
    place = {name: _beside(path, expert) for name, expert in made.experts.items()}
    router = made.router
    if isinstance(router, str) and router != ORACLE:
        router = _beside(path, router)
    base = made.base if made.base is None else _beside(path, made.base)
    changed = {"experts": place, "base": base, "router": router}
    return having(made.model_copy(update=changed), found)


def recipes_among(experts: Mapping[str, Any], where: str, folder: Path) -> dict[str, ExpertRecipe]:
    """See `dogerm_plugin.recipe.router.recipes`.

    Raises:
        HarnessError: as there.
    """
    try:
        return recipes(experts, where, folder)
    except MergeError as error:
        raise HarnessError(str(error)) from error


def having(made: RouterFile, found: Mapping[str, ExpertRecipe]) -> RouterFile:
    """What is known, with the experts that are made by merging."""
    made._recipes = dict(found)
    return made


def _beside(file: Path, place: str) -> str:
    """A folder beside the file, where there is one; else the place as it is written."""
    beside = file.parent / Path(place).expanduser()
    return str(beside) if beside.exists() else place


def validated(content: Mapping[str, Any], where: str) -> RouterFile:
    """What these keys say.

    Raises:
        HarnessError: naming the key that is unknown, or whose value makes no sense.
    """
    try:
        return RouterFile.model_validate(dict(content))
    except ValidationError as error:
        mistake = error.errors(include_url=False)[0]
        steps = [str(step) for step in mistake["loc"]]
        if mistake["type"] == "extra_forbidden":
            known: tuple[str, ...] = tuple(
                Scale.model_fields if "calibration" in steps else RouterFile.model_fields
            )
            raise HarnessError(
                f"{where}: unknown key {with_guess(steps[-1], known)}; known: {', '.join(known)}"
            ) from error
        place = ".".join(step for step in steps if step not in ("str", "dict[str,str]"))
        way_out = (
            f"; write it as an argument of its own, after the others (--model_args router=... "
            f"'{place}={{...}}'), or into a router.yml"
            if mistake["type"] == "dict_type" and str(mistake["input"]).startswith("{")
            else ""
        )
        raise HarnessError(
            f"{where}: `{place}` is {mistake['input']!r}: {mistake['msg'].lower()}{way_out}"
        ) from error
