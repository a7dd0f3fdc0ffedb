"""A recipe file, checked key by key before mergekit parses it: it would ignore what is misspelt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from mergekit.common import ModelReference
from mergekit.config import MergeConfiguration
from pydantic import BaseModel, ValidationError

from dogerm_plugin.errors import MergeError, suggest
from dogerm_plugin.methods import registry
from dogerm_plugin.methods.declaration import Role
from dogerm_plugin.methods.parameter import ALLOW_UNRELATED, REWARD
from dogerm_plugin.recipe.configuration import is_ours
from dogerm_plugin.recipe.values import check_values


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
        if isinstance(document, dict) and "experts" in document and "merge_method" not in document:
            raise MergeError(f"{path}: has experts and no merge_method: run it by mergekit-moe")
        if not isinstance(document, dict) or "merge_method" not in document:
            what = "an empty file" if document is None else type(document).__name__
            what = (
                f"the keys {', '.join(map(str, document))}" if isinstance(document, dict) else what
            )
            raise MergeError(
                f"{path}: not a recipe: expected keys such as merge_method, base_model and models, "
                f"found {what}"
            )
    if len(documents) > 1 and not several:
        raise MergeError(f"{path}: {len(documents)} recipes in one file: run it by mergekit-multi")
    for document in documents:
        if is_ours(document["merge_method"]):
            _check_document(document, path)


def _check_document(document: dict[str, Any], path: str) -> None:
    try:
        method = registry.of(str(document["merge_method"]))
    except MergeError as error:
        raise MergeError(f"{path}: {error}") from None
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
    others = [ALLOW_UNRELATED.name, *([] if method.base is Role.REWARD_MODEL else [REWARD.name])]
    _check_keys(document, config, path, (*method.by_name, *others))
    check_values(config)


def _check_keys(value: Any, parsed: Any, path: str, parameters: Sequence[str]) -> None:
    """mergekit's schema ignores keys it does not know: a misspelt one would be lost silently.

    Walks the recipe beside what mergekit made of it, which knows the schema of each place.
    """
    if isinstance(parsed, ModelReference) or not isinstance(value, (dict, list)):
        return
    if isinstance(parsed, (list, tuple)):
        for inner, inner_parsed in zip(value, parsed, strict=True):
            _check_keys(inner, inner_parsed, path, parameters)
    elif isinstance(parsed, dict):
        for key, inner_parsed in parsed.items():
            _check_keys(value[key], inner_parsed, path, parameters)
    elif isinstance(parsed, BaseModel) and isinstance(value, dict):
        _check_known(value, type(parsed), path)
        for key, inner in value.items():
            if key == "parameters":
                for name in inner or ():
                    if name not in parameters:
                        close = suggest(name, parameters)
                        raise MergeError(f"{path}: unknown parameter {name!r}{close}")
            _check_keys(inner, getattr(parsed, key), path, parameters)


def _check_known(value: Any, schema: type[BaseModel], path: str) -> None:
    for key in value:
        if key not in schema.model_fields:
            raise MergeError(f"{path}: unknown key {key!r}{suggest(key, schema.model_fields)}")
        if key == "residual_weight" and value[key] is not None:
            raise MergeError(f"{path}: residual_weight has no effect in mergekit: leave it out")
