"""What a recipe may say: checked by key and by value before anything is read or written."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from mergekit import merge_methods
from mergekit._data import chat_templates
from mergekit.common import ModelReference, dtype_from_name
from mergekit.config import ConditionalParameter, MergeConfiguration
from pydantic import BaseModel, ValidationError

from dogerm_plugin.errors import MergeError

PREFIX = "reward_preserving_"
PARAMETERS = ("weight",)


def method_names() -> list[str]:
    """This project's methods that mergekit knows at the moment."""
    names = (method.spec.name for method in merge_methods.registered_methods())
    return sorted(name for name in names if name.startswith(PREFIX))


def is_ours(method: object) -> bool:
    """Whether a `merge_method` is one of this project's, or a misspelling of one.

    A misspelt name is refused by this project in one line; mergekit would print a traceback.
    """
    name = str(method).lower()
    if name.startswith(PREFIX):
        return True
    if any(name == other.spec.name for other in merge_methods.registered_methods()):
        return False
    return bool(difflib.get_close_matches(name, method_names(), cutoff=0.7))


class OrderedConfiguration(MergeConfiguration):
    """A recipe whose models always come in one order: the reward model, then as written.

    mergekit's own `referenced_models` is a set in hash order, so that the union tokenizer and the
    model card would change with PYTHONHASHSEED.
    """

    def referenced_models(self) -> list[ModelReference]:
        seen: dict[ModelReference, None] = {}
        if self.base_model:
            seen[self.base_model] = None
        for entry in entries(self):
            seen[entry.model] = None
        return list(seen)


def _lists(config: MergeConfiguration) -> Iterator[tuple[str, list[Any]]]:
    """Each list of models that are merged with one another, and where the recipe has it."""
    yield "models", config.models or []
    for number, piece in enumerate(config.slices or []):
        yield f"slices.{number}.sources", piece.sources
    for name, module in (config.modules or {}).items():
        yield f"modules.{name}.models", module.models or []
        for number, piece in enumerate(module.slices or []):
            yield f"modules.{name}.slices.{number}.sources", piece.sources


def entries(config: MergeConfiguration) -> list[Any]:
    """Every model entry of a recipe, in `models:`, `slices:` or `modules:`, as written."""
    return [entry for _, models in _lists(config) for entry in models]


def check_file(path: str, several: bool = True) -> None:
    """Check a recipe file before mergekit parses it.

    Only recipes that name one of this project's methods are held to its rules; that a file is
    YAML at all is asked of every recipe. `several`: whether it may have more than one document.

    Raises:
        MergeError: no such file, not YAML, an unknown key, a value mergekit can't take.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MergeError(f"{path}: can't be read as a YAML recipe ({error})") from None
    check_text(text, path, several)


def check_text(text: str, path: str = "recipe", several: bool = True) -> None:
    """`check_file` for a recipe's text, one or several YAML documents."""
    try:
        documents = list(yaml.safe_load_all(text))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:  # 2001-99-99: a date
        raise MergeError(f"{path}: not YAML: {error}") from None
    for document in documents or [None]:
        if not isinstance(document, dict) or "merge_method" not in document:
            found = "an empty file" if document is None else type(document).__name__
            found = (
                f"the keys {', '.join(map(str, document))}" if isinstance(document, dict) else found
            )
            raise MergeError(
                f"{path}: not a recipe: expected keys such as merge_method, base_model and models, "
                f"found {found}"
            )
    if len(documents) > 1 and not several:
        raise MergeError(f"{path}: {len(documents)} recipes in one file: run it by mergekit-multi")
    for document in documents:
        if is_ours(document["merge_method"]):
            _check_document(document, path)


def _check_document(document: dict[str, Any], path: str) -> None:
    method = str(document["merge_method"])
    if method not in method_names():
        known = ", ".join(method_names())
        raise MergeError(f"{path}: unknown merge_method {method}; there is {known}")
    document = {key: value for key, value in document.items() if key != "name"}  # mergekit-multi's
    _check_known(document, MergeConfiguration, path)
    try:
        config = MergeConfiguration.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise MergeError(f"{path}: {place}: {first['msg']} (found {first['input']!r})") from None
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise MergeError(f"{path}: {error}") from None
    _check_keys(document, config, path)
    check_values(config)


def _check_keys(value: Any, parsed: Any, path: str) -> None:
    """mergekit's schema ignores keys it does not know: a misspelt one would be lost silently.

    Walks the recipe beside what mergekit made of it, which knows the schema of each place.
    """
    if isinstance(parsed, ModelReference) or not isinstance(value, (dict, list)):
        return
    if isinstance(parsed, (list, tuple)):
        for inner, inner_parsed in zip(value, parsed, strict=True):
            _check_keys(inner, inner_parsed, path)
    elif isinstance(parsed, dict):
        for key, inner_parsed in parsed.items():
            _check_keys(value[key], inner_parsed, path)
    elif isinstance(parsed, BaseModel) and isinstance(value, dict):
        _check_known(value, type(parsed), path)
        for key, inner in value.items():
            if key == "parameters":
                for name in inner or ():
                    if name not in PARAMETERS:
                        close = _suggest(name, PARAMETERS)
                        raise MergeError(f"{path}: unknown parameter {name!r}{close}")
            _check_keys(inner, getattr(parsed, key), path)


def _check_known(value: Any, schema: type[BaseModel], path: str) -> None:
    for key in value:
        if key not in schema.model_fields:
            raise MergeError(f"{path}: unknown key {key!r}{_suggest(key, schema.model_fields)}")
        if key == "residual_weight" and value[key] is not None:
            raise MergeError(f"{path}: residual_weight has no effect in mergekit: leave it out")


def _suggest(name: object, known: Any) -> str:
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"


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
    for place, models in _lists(config):
        names = [entry.model for entry in models]
        for name in names:
            if names.count(name) > 1:
                raise MergeError(f"{place}: names {name} {names.count(name)} times: name it once")
    shared = list(_shared_settings(config))
    for entry in entries(config):
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


def _shared_settings(config: MergeConfiguration) -> Iterator[Any]:
    """Each `weight` that stands above the models; refuses a slice's own base_model on the way."""
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
        if setting and "weight" in setting:
            yield setting["weight"]


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


def prepared(config: MergeConfiguration) -> OrderedConfiguration:
    """The recipe as it is handed to mergekit: in one order, with what the method needs to know.

    A `weight` on the reward model becomes `own_weight`, because mergekit itself would ignore it.
    `dtype`, to which mergekit would round the inputs, becomes `out_dtype`: one rounding.
    """
    ours = OrderedConfiguration(**{k: v for k, v in dict(config).items() if v is not None})
    ours = ours.model_copy(deep=True)
    for entry in entries(ours):
        if entry.model == ours.base_model and "weight" in (entry.parameters or {}):
            entry.parameters["own_weight"] = entry.parameters.pop("weight")
    ours.dtype, ours.out_dtype = None, ours.out_dtype or ours.dtype
    return ours


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
            raise MergeError(f"filter {text!r} matches no tensor{_suggest(text, parts)}")
