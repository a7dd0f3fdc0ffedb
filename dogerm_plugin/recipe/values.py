"""The values of a recipe, checked before anything is read or written."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import Any

from mergekit._data import chat_templates
from mergekit.common import dtype_from_name
from mergekit.config import ConditionalParameter, MergeConfiguration

from dogerm_plugin.errors import MergeError, suggest
from dogerm_plugin.methods import registry
from dogerm_plugin.methods.parameter import ALLOW_UNRELATED, REWARD, Parameter, Scope
from dogerm_plugin.recipe import models, roles
from dogerm_plugin.recipe.entries import entries


def check_values(config: MergeConfiguration) -> None:
    """Check base_model, models, dtypes, tokenizer and the method's parameters as they are written.

    Raises:
        MergeError: no such method; base_model or a parameter missing; a parameter of another kind,
            out of its bounds, or in the wrong place; an unknown dtype; a model named twice; a
            tokenizer that isn't the reward model's.
    """
    method = registry.of(config.merge_method)
    models.check_base(config, method)
    for key in ("dtype", "out_dtype"):
        check_dtype(key, getattr(config, key))
    models.check_tokenizer(config)
    _check_chat_template(config.chat_template)
    models.check_models(config, method)
    _check_slices(config)
    for parameter in (*method.parameters, ALLOW_UNRELATED, REWARD):
        _check_parameter(config, parameter)
    if any(REWARD.name in (one.parameters or {}) for one in _above_models(config)):
        raise MergeError(f"{REWARD.name}: stands above the models: write it beside one of them")


def check_dtype(key: str, name: str | None) -> None:
    """Refuse what is no dtype of numbers: mergekit meets it when the models are read."""
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


def _check_slices(config: MergeConfiguration) -> None:
    modules = (config.modules or {}).values()
    pieces = [*(config.slices or []), *(one for module in modules for one in module.slices or [])]
    for piece in pieces:
        if piece.base_model not in (None, config.base_model):
            raise MergeError(
                f"slices: base_model {piece.base_model} isn't the recipe's base_model "
                f"{config.base_model}: a merge has one"
            )


def _check_parameter(config: MergeConfiguration, parameter: Parameter) -> None:
    """Check one of the method's parameters wherever the recipe has it."""
    name, of_merge = parameter.name, parameter.scope is Scope.MERGE
    above = list(_above(config, name))
    for entry in entries(config):
        setting = (entry.parameters or {}).get(name)
        beside_base = entry.model == roles.without_parameters(config)
        is_role = beside_base and not _may_be_beside_base(config, parameter)
        if setting is not None:
            if of_merge or is_role:
                raise MergeError(parameter.misplaced(entry.model))
            _check_setting(parameter, setting, entry.model)
        elif parameter.required and not (of_merge or above or beside_base):
            raise MergeError(parameter.missing(entry.model))
    for setting in above:
        _check_setting(parameter, setting, "parameters")
    if parameter.required and of_merge and not above:
        raise MergeError(parameter.missing("the recipe"))
    if not parameter.by_tensor and above and name not in (config.parameters or {}):
        raise MergeError(parameter.one_for_all("parameters"))


def _may_be_beside_base(config: MergeConfiguration, parameter: Parameter) -> bool:
    """Whether what is written beside `base_model` means something."""
    if roles.pretrained(config) is None:
        return parameter.on_reward_model is not None
    return parameter.of_any_model


def _above(config: MergeConfiguration, name: str) -> Iterator[Any]:
    """A parameter's settings above the models: of all, of a slice, of a module."""
    return (one.parameters[name] for one in _above_models(config) if name in (one.parameters or {}))


def _above_models(config: MergeConfiguration) -> Iterator[Any]:
    """All that has parameters for several models: the recipe, its modules, their slices."""
    yield from (config, *(config.slices or []))
    for module in (config.modules or {}).values():
        yield from (module, *(module.slices or []))


def _check_setting(parameter: Parameter, setting: Any, where: object) -> None:
    """Check every value in a setting: plain, a gradient over the layers, or filtered by name."""
    if isinstance(setting, ConditionalParameter | list) and not parameter.by_tensor:
        raise MergeError(parameter.one_for_all(where))
    if isinstance(setting, ConditionalParameter):
        setting = setting.value
    if not isinstance(setting, list):
        parameter.read(setting, where)
        return
    if not setting:
        raise MergeError(f"{where}: {parameter.name} is an empty list")
    for part in setting:
        _check_setting(parameter, part, where)


def check_filters(config: MergeConfiguration, names: list[str]) -> None:
    """Refuse a filter that no tensor's name contains: its value would never be used.

    Raises:
        MergeError: names the filter and the nearest part of a tensor's name.
    """
    parts = sorted({part for name in names for part in name.split(".") if not part.isdigit()})
    settings = [
        one
        for holder in (*entries(config), *_above_models(config))
        for one in (holder.parameters or {}).values()
    ]
    for conditions in settings:
        for condition in conditions if isinstance(conditions, list) else [conditions]:
            text = getattr(condition, "filter", None)
            if text in (None, "*") or any(text in name for name in names):
                continue
            raise MergeError(f"filter {text!r} matches no tensor{suggest(text, parts)}")
