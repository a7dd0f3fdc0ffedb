# SPDX-License-Identifier: Apache-2.0
"""A recipe of `mergekit-moe` whose base is a reward model: mergekit's keys and three more.

mergekit's own schema ignores keys that it does not know; here a misspelt one is an error.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import yaml
from mergekit.common import ModelReference
from mergekit.moe import config as host
from pydantic import BaseModel, ConfigDict, ValidationError

from dogerm_plugin.errors import MergeError, suggest
from dogerm_plugin.recipe.values import check_dtype

# mergekit.moe.router.get_gate_params ends in a TypeError on any other.
PROMPTED = ("hidden", "hidden_avg", "hidden_last", "cheap_embed")
DRAWN = ("random", "uniform_random")


class RewardExpert(host.Expert):
    """One expert: mergekit's keys, and whether a stranger's weights are welcome."""

    model_config = ConfigDict(extra="forbid")

    allow_unrelated: bool = False


class RewardMixture(host.MoEMergeConfig):
    """The whole recipe.

    Attributes:
        trunk: where attention, norms and embeddings come from: the base, or the experts' mean.
        head: the base's; the mean of the experts'; or each expert's own, as one label each.
        seed: of `random` gates and of `noise_scale`.
    """

    model_config = ConfigDict(extra="forbid")

    experts: list[RewardExpert]
    shared_experts: list[RewardExpert] | None = None
    trunk: Literal["base", "average"] = "base"
    head: Literal["base", "average", "apart"] = "base"
    seed: int = 0


def read(path: str) -> Any:
    """A recipe file as YAML gives it; None where it is none that can be read."""
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError):
        return None


def references(content: Any) -> tuple[ModelReference | None, list[ModelReference]]:
    """The base model and the experts that a recipe names, as far as it can be read."""
    if not isinstance(content, dict):
        return None, []
    named = [content.get("base_model")]
    for key in ("experts", "shared_experts"):
        entries = content.get(key)
        for entry in entries if isinstance(entries, list) else []:
            named.append(entry.get("source_model") if isinstance(entry, dict) else None)
    base, *experts = (_reference(name) for name in named)
    return base, [expert for expert in experts if expert is not None]


def _reference(name: Any) -> ModelReference | None:
    try:
        return None if name is None else ModelReference.model_validate(name)
    except (ValidationError, RuntimeError, ValueError, TypeError):
        return None


def parse(content: Any, path: str = "recipe") -> RewardMixture:
    """The recipe, checked.

    Raises:
        MergeError: an unknown key, a value of the wrong type, or what mergekit itself refuses.
    """
    try:
        recipe = RewardMixture.model_validate(content)
    except ValidationError as error:
        raise MergeError(f"{path}: {_told(error)}") from None
    except (RuntimeError, ValueError, TypeError) as error:
        raise MergeError(f"{path}: {error}") from None
    if recipe.gate_mode not in (*PROMPTED, *DRAWN):
        close = suggest(recipe.gate_mode, (*PROMPTED, *DRAWN))
        raise MergeError(f"{path}: unknown gate_mode {recipe.gate_mode!r}{close}")
    _check_prompts(recipe, path)
    check_dtype(f"{path}: dtype", recipe.dtype)
    _check_experts(recipe, path)
    _check_shared(recipe, path)
    return recipe


def _told(error: ValidationError) -> str:
    mistakes = error.errors(include_url=False)
    # a misspelt key is also a missing one, and tells more
    first = min(mistakes, key=lambda one: one["type"] != "extra_forbidden")
    *above, last = first["loc"]
    place = "".join(f" entry {one + 1}" if isinstance(one, int) else f"{one}" for one in above)
    place = f"{place}: " if place else ""
    if first["type"] == "extra_forbidden":
        schema: type[BaseModel] = RewardExpert if above else RewardMixture
        return f"{place}unknown key {last!r}{suggest(last, schema.model_fields)}"
    if first["type"] == "missing":
        return f"{place}{last} is missing"
    if last in ("base_model", "source_model"):
        return f"{place}{last}: expected a folder or a Hub id (found {first['input']!r})"
    if first["type"] == "model_type":
        return "expected keys such as base_model, gate_mode and experts"
    return f"{place}{last}: {first['msg']} (found {first['input']!r})"


def _check_prompts(recipe: RewardMixture, path: str) -> None:
    for key in ("experts", "shared_experts"):
        for number, expert in enumerate(getattr(recipe, key) or (), start=1):
            for kind in ("positive_prompts", "negative_prompts"):
                if any(not prompt.strip() for prompt in getattr(expert, kind) or ()):
                    raise MergeError(
                        f"{path}: {key} entry {number}: {kind}: an empty prompt has no hidden "
                        "states to make a gate of: write what the expert is to be asked for"
                    )


def _check_experts(recipe: RewardMixture, path: str) -> None:
    """What mergekit refuses, too, without a name and a way out."""
    wanted, count = recipe.experts_per_token, len(recipe.experts)
    if wanted < 1:
        raise MergeError(f"{path}: experts_per_token {wanted} is not 1 or more")
    if count < wanted:
        raise MergeError(
            f"{path}: experts has {count} {'entry' if count == 1 else 'entries'}, and "
            f"experts_per_token is {wanted}: add experts (the base may be one) or lower it"
        )
    for number, expert in enumerate(recipe.experts, start=1):
        if recipe.gate_mode != "random" and not expert.positive_prompts:
            raise MergeError(
                f"{path}: experts entry {number}, {expert.source_model}, has no positive_prompts, "
                f"and gate_mode {recipe.gate_mode} asks for them: add some, or write "
                "`gate_mode: random`"
            )


def _check_shared(recipe: RewardMixture, path: str) -> None:
    known = {recipe.base_model, *(expert.source_model for expert in recipe.experts)}
    for shared in recipe.shared_experts or ():
        if shared.source_model not in known:
            raise MergeError(
                f"{path}: shared_experts: {shared.source_model} is neither base_model nor one of "
                "the experts, and mergekit reads no other model"
            )


def check_as_mergekit(recipe: RewardMixture, allow_all_same: bool) -> None:
    """mergekit's own check of prompts and experts.

    Raises:
        MergeError: it refuses the recipe; the message is mergekit's.
    """
    with said_by_host() as lines:
        bad = host.is_bad_config(recipe, allow_all_same=allow_all_same)
    if bad:
        raise MergeError(" ".join(lines))


@contextmanager
def said_by_host() -> Iterator[list[str]]:
    """Collect what mergekit logs: it explains a refusal by several lines, and then exits."""
    lines: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers[:] = [Collect(logging.WARNING)]
    root.setLevel(logging.WARNING)
    try:
        yield lines
    finally:
        root.handlers[:] = before
        root.setLevel(level)
