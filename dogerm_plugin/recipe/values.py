"""The values of a recipe, checked before anything is read or written."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib import resources
from typing import Any

from mergekit._data import chat_templates
from mergekit.common import dtype_from_name
from mergekit.config import ConditionalParameter, MergeConfiguration

from dogerm_plugin.errors import MergeError, suggest
from dogerm_plugin.method import ALLOW_UNRELATED
from dogerm_plugin.recipe.configuration import entries, lists


def check_values(config: MergeConfiguration) -> None:
    """Check base_model, models, dtypes, tokenizer and the λs as they are written.

    Raises:
        MergeError: base_model or λ missing; a λ that is no number, NaN or outside 0..1; an
            unknown dtype; a model named twice; a tokenizer that isn't the reward model's.
    """
    base = config.base_model
    if base is None:
        raise MergeError(
            "no base_model: it names the reward model, whose head and tokenizer the output keeps"
        )
    for key in ("dtype", "out_dtype"):
        _check_dtype(key, getattr(config, key))
    source = config.tokenizer.source if config.tokenizer else config.tokenizer_source
    if source not in (None, "union", "base", base):
        # config.json's pad id would mean another token
        raise MergeError(
            f"tokenizer: source {source}: use base (the reward model's tokens) or union (all)"
        )
    _check_chat_template(config.chat_template)
    if all(entry.model == base for entry in entries(config)):
        raise MergeError(
            f"models: names no model besides the reward model {base}: add the domain model"
        )
    for place, models in lists(config):
        names = [entry.model for entry in models]
        for name in names:
            if names.count(name) > 1:
                raise MergeError(f"{place}: names {name} {names.count(name)} times: name it once")
    shared = list(_shared_settings(config))
    for setting in _shared_settings(config, ALLOW_UNRELATED):
        _check_switch(setting, "parameters")
    for entry in entries(config):
        _check_switch(
            (entry.parameters or {}).get(ALLOW_UNRELATED), entry.model, entry.model == base
        )
        own = (entry.parameters or {}).get("weight")
        if own is not None:
            _check_setting(own, entry.model)
        elif not shared and entry.model != base:
            raise MergeError(
                f"models: {entry.model} has no weight: add `parameters: {{weight: 0.3}}` to it "
                "(λ, its share of the merged body)"
            )
    for setting in shared:
        _check_setting(setting, "parameters")


def _check_dtype(key: str, name: str | None) -> None:
    try:
        dtype = dtype_from_name(name)
    except RuntimeError:
        dtype = None
    if name is not None and (dtype is None or not dtype.is_floating_point):
        raise MergeError(f"{key}: {name}: expected bfloat16, float16 or float32")


def _check_chat_template(template: str | None) -> None:
    """By mergekit's rule, which it applies when the weights are written already."""
    if not template or template == "auto" or (len(template) >= 20 and "{" in template):
        return
    known = [file.name for file in resources.files(chat_templates).iterdir()]
    known = sorted(name.removesuffix(".jinja") for name in known if name.endswith(".jinja"))
    if template not in known:
        raise MergeError(
            f"chat_template: {template!r} is no template; write auto, {', '.join(known)} "
            "or Jinja text"
        )


def _check_switch(setting: Any, where: object, of_the_reward_model: bool = False) -> None:
    """Check `allow_unrelated`: true or false, perhaps filtered by tensor name."""
    if setting is None:
        return
    if of_the_reward_model:
        raise MergeError(
            f"{where}: {ALLOW_UNRELATED} says that a domain model may be no relative of the reward "
            "model: write it there, or above the models"
        )
    settings = setting if isinstance(setting, list) and setting else [setting]
    for one in settings:
        value = one.value if isinstance(one, ConditionalParameter) else one
        if not isinstance(value, bool):
            raise MergeError(f"{where}: {ALLOW_UNRELATED} {value!r}: expected true or false")


def _shared_settings(config: MergeConfiguration, name: str = "weight") -> Iterator[Any]:
    """Each such parameter above the models; refuses a slice's own base_model on the way."""
    pieces = list(config.slices or [])
    settings = [config.parameters]
    for module in (config.modules or {}).values():
        pieces += module.slices or []
        settings.append(module.parameters)
    for piece in pieces:
        if piece.base_model not in (None, config.base_model):
            raise MergeError(
                f"slices: base_model {piece.base_model} isn't the recipe's base_model "
                f"{config.base_model}: a merge has one reward model"
            )
        settings.append(piece.parameters)
    for setting in settings:
        if setting and name in setting:
            yield setting[name]


def _check_setting(setting: Any, where: object) -> None:
    """Check every number in a weight: plain, a gradient over the layers, or filtered by name."""
    if isinstance(setting, ConditionalParameter):
        setting = setting.value
    if isinstance(setting, list):
        if not setting:
            raise MergeError(f"{where}: weight is an empty list")
        for part in setting:
            _check_setting(part, where)
        return
    try:
        if isinstance(setting, bool):
            raise ValueError
        number = float(setting)  # YAML reads 1e-1 as a string, and so does mergekit
    except (TypeError, ValueError):
        raise MergeError(f"{where}: weight {setting!r} is not a number in 0..1") from None
    if math.isnan(number) or not 0 <= number <= 1:
        raise MergeError(
            f"{where}: weight {setting} is not in 0..1: it is λ, the model's share of the merged "
            "body"
        )


def check_filters(config: MergeConfiguration, names: list[str]) -> None:
    """Refuse a filter that no tensor's name contains: its weight would never be used.

    Raises:
        MergeError: names the filter and the nearest part of a tensor's name.
    """
    parts = sorted({part for name in names for part in name.split(".") if not part.isdigit()})
    own = [entry.parameters or {} for entry in entries(config)]
    weights = [found.get(key) for found in own for key in ("weight", "own_weight")]
    for conditions in [*weights, *_shared_settings(config)]:
        for condition in conditions if isinstance(conditions, list) else [conditions]:
            text = getattr(condition, "filter", None)
            if text in (None, "*") or any(text in name for name in names):
                continue
            raise MergeError(f"filter {text!r} matches no tensor{suggest(text, parts)}")
