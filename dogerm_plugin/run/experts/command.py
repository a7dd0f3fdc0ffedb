# SPDX-License-Identifier: Apache-2.0
"""Where `mergekit-moe` comes in: recipes with a reward model go one way, all others mergekit's."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mergekit.common import ModelReference
from mergekit.moe.config import MoEMergeConfig
from mergekit.options import MergeOptions

from dogerm_plugin.anatomy import adapter
from dogerm_plugin.errors import MergeError
from dogerm_plugin.recipe import configuration, paths
from dogerm_plugin.run import prepare
from dogerm_plugin.run.experts import recipe
from dogerm_plugin.run.experts.build import build

LOG = logging.getLogger("dogerm")


def command(original: Callable[..., Any], given: dict[str, Any]) -> Any:
    """`mergekit-moe`'s own function, but for recipes with a reward model in them.

    Args:
        original: mergekit's.
        given: the command's arguments and options, as click hands them over.

    Raises:
        MergeError: a recipe for rewards can't be followed, or is one for `mergekit-yaml`. Other
            recipes go to `original`.
    """
    path = given["config_path"]
    options = MergeOptions(**{key: given[key] for key in MergeOptions.model_fields if key in given})
    content = recipe.read(path)
    keys = content if isinstance(content, dict) else {}
    if "experts" not in keys and configuration.is_ours(keys.get("merge_method", "")):
        raise MergeError(f"{path}: has a merge_method and no experts: run it by mergekit-yaml")
    with paths.of_file(path):
        if not _is_for_rewards(content, options):
            return original(**given)
        options.apply_global_options()
        build(
            recipe.parse(content, path),
            given["out_path"],
            options,
            load_in_4bit=given["load_in_4bit"],
            load_in_8bit=given["load_in_8bit"],
            allow_all_same=given["i_understand_this_is_not_useful_without_training"],
            source=Path(path).read_text(encoding="utf-8"),
        )


def called(
    original: Callable[..., Any],
    config: MoEMergeConfig,
    out_path: str,
    merge_options: MergeOptions,
    **others: Any,
) -> Any:
    """`mergekit.scripts.moe.build` for a program that calls it; as `command` for the rest."""
    content = config.model_dump(mode="json", exclude_none=True)
    if not _is_for_rewards(content, merge_options):
        return original(config, out_path, merge_options, **others)
    kept = ("load_in_4bit", "load_in_8bit", "allow_all_same")
    flags = {name: others[name] for name in kept if name in others}
    build(recipe.parse(content), out_path, merge_options, **flags)


def _is_for_rewards(content: Any, options: MergeOptions) -> bool:
    """Whether a recipe's base is a reward model, or an expert is and no base can be read.

    Raises:
        MergeError: an expert is one, and the base is not; or it can't be read.
    """
    base, experts = recipe.references(content)
    before, LOG.disabled = LOG.disabled, True  # a language model's recipe is none of ours
    try:
        if base is not None and _gives_rewards(base, options, thorough=True):
            return True
        rewards = [one for one in experts if _gives_rewards(one, options, thorough=False)]
    finally:
        LOG.disabled = before
    if rewards and base is not None:
        _require_readable(base, options)
        raise MergeError(
            f"base_model {base} is a language model and the expert {rewards[0]} a reward model: "
            "the reward head would be lost; the base must be a reward model (its head is the "
            "output's), language models may be experts"
        )
    return bool(rewards)  # without a base: its key is misspelt, and `recipe.parse` says so


def _require_readable(model: ModelReference, options: MergeOptions) -> None:
    found = paths.in_value(model)
    if found.lora is not None:
        adapter.read(found.lora.path, found.lora.revision)
        found = ModelReference(model=found.model)
    prepare.examine(found, options)


def _gives_rewards(model: ModelReference, options: MergeOptions, thorough: bool) -> bool:
    """Whether a model is a reward model; what can't be told is left to mergekit.

    Args:
        thorough: look for a head that config.json does not tell of, too.
    """
    found = paths.in_value(model)
    try:
        if found.lora is not None:
            return adapter.read(found.lora.path, found.lora.revision).task == adapter.REWARD
        names = found.config(options.trust_remote_code).architectures or ()
    except Exception:  # no model, no adapter, no network: mergekit says so in its own words
        return False
    if any(str(name).endswith("ForSequenceClassification") for name in names):
        return True
    if not thorough:
        return False
    try:
        return bool(prepare.examine(found, options).reward_head)
    except MergeError:
        return False
