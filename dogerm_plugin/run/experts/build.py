# SPDX-License-Identifier: Apache-2.0
"""One mixture from recipe to output: examine, rehearse, write, verify, move into place."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click
import torch
import yaml
from mergekit.common import ModelReference
from mergekit.config import MergeConfiguration
from mergekit.options import MergeOptions

from dogerm_plugin.anatomy import vocabulary
from dogerm_plugin.errors import MergeError, from_host
from dogerm_plugin.host.lora_cache import adapter_merged
from dogerm_plugin.recipe import paths
from dogerm_plugin.run import output, trial_load, verify
from dogerm_plugin.run.experts import gates, head, parameters, recipe, rehearsal
from dogerm_plugin.run.experts.models import Models, open_models
from dogerm_plugin.run.experts.recipe import RewardMixture
from dogerm_plugin.run.experts.views import EXPERT
from dogerm_plugin.run.experts.write import Written, write

LOG = logging.getLogger("dogerm")
RECIPE = "mergekit_moe_config.yml"


def build(
    mixture: RewardMixture,
    out_path: str,
    options: MergeOptions,
    *,
    load_in_4bit: bool = False,
    load_in_8bit: bool = False,
    allow_all_same: bool = False,
    source: str | None = None,
) -> None:
    """Make a mixture of reward experts; the output appears when it is complete.

    Args:
        mixture: the recipe.
        out_path: the output folder.
        options: mergekit's.
        load_in_4bit: for the hidden states of prompts.
        load_in_8bit: the same.
        allow_all_same: experts may all be one model.
        source: the recipe's text, to be kept beside the output.

    Raises:
        MergeError: see the message; nothing that existed before is changed.
    """
    quantized = {"load_in_4bit": load_in_4bit, "load_in_8bit": load_in_8bit}
    try:
        recipe.check_as_mergekit(mixture, allow_all_same)
        found = _with_adapters(paths.in_value(mixture), options)
        inputs = [Path(model.model.path) for model in (found.base_model, *_sources(found))]
        output.check_target(out_path, inputs)
        with torch.random.fork_rng(devices=[]):  # classes are built with numbers, too
            models = open_models(found, options)
            made = _make(mixture, models, out_path, options, quantized, source)
    except MergeError:
        raise
    except Exception as error:  # whatever the host libraries meet; -v shows it in full
        LOG.info("the error in full", exc_info=error)
        raise from_host(error) from error
    if not options.quiet:
        click.echo(f"{out_path}: {made}", err=True)


def _make(
    mixture: RewardMixture,
    models: Models,
    out_path: str,
    options: MergeOptions,
    quantized: dict[str, bool],
    source: str | None,
) -> str:
    """Do the work, and say in a line what was made."""
    own = mixture.head == "base"
    if own:
        rewards = head.of_base(models.base)
    else:
        names = [str(expert.source_model) for expert in mixture.experts]
        rewards = head.of_experts(models.base, models.experts, mixture.head, names)
    architecture = rehearsal.choose(mixture, models.recipe, models.base, options)
    _warn_of_shared(mixture)
    with output.staged(out_path) as stage, models.plan.inputs_unchanged():
        routers = gates.gates(models, mixture.seed, options, **quantized)
        written = write(stage, architecture, models, routers, rewards, mixture.seed, options)
        if lost := [name for name in models.unread if EXPERT not in name]:
            raise MergeError(
                f"{models.base.model}: {lost[0]} has no place in {written.kind.__name__}"
            )
        models.kinship.conclude()
        if options.copy_tokenizer and vocabulary.has_tokenizer(models.base):
            _copy_tokenizer(models, stage, options)
        if options.write_model_card:
            text = source or yaml.safe_dump(mixture.model_dump(mode="json", exclude_none=True))
            (stage / RECIPE).write_text(text, encoding="utf-8")
        counted = _check(stage, written, models, routers, options)
    said = f"{written.kind.__name__} of {counted.experts} experts, {counted.per_token} a token; "
    said += f"head {'kept' if own else mixture.head}: {', '.join(written.head)}; {counted}"
    return "; ".join(filter(None, (said, models.kinship.summary())))


def _check(
    stage: Path, written: Written, models: Models, routers: Any, options: MergeOptions
) -> parameters.ParameterCount:
    """Read the output back, and hold its size against the formula."""
    result = trial_load.check(stage, options)
    verify.verify(stage, written.names, written.head)
    counted = parameters.count(result.network)
    tensors = models.base.checkpoint.tensors
    sizes = {name: _size(tensors[name].shape) for name in models.base.body.values()}
    in_mlps = sum(size for name, size in sizes.items() if EXPERT in name)
    wanted = sum(sizes.values()) + _size(next(iter(written.head.values())).shape)
    wanted += (counted.experts - 1) * in_mlps + routers[0].numel()
    if not models.recipe.shared_experts and counted.total != wanted:
        raise MergeError(
            f"the output has {counted.total:,} parameters, and the base with the MLPs of "
            f"{counted.experts} experts, gates and head makes {wanted:,}"
        )
    return counted


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for one in shape:
        size *= one
    return size


def _warn_of_shared(mixture: RewardMixture) -> None:
    for shared in mixture.shared_experts or ():
        if shared.residual_scale != 0:
            LOG.warning(
                "shared_experts: %s is added to what the other experts give, so that even with "
                "equal experts the rewards are not those of one model; `residual_scale: 0` makes "
                "it silent, else train the model",
                shared.source_model,
            )


def _copy_tokenizer(models: Models, stage: Path, options: MergeOptions) -> None:
    """The base's own: mergekit-moe saves the one that it has set up to read prompts."""
    from mergekit import merge as host

    donor = {"model": models.base.model}
    config = MergeConfiguration(merge_method="passthrough", models=[donor])
    try:
        host._copy_tokenizer(config, str(stage), options=options)
    except Exception as error:  # transformers raises whatever its tokenizer classes meet
        raise MergeError(
            f"{models.base.model}: its tokenizer could not be copied ({error}); "
            "--no-copy-tokenizer goes on without it"
        ) from None


def _sources(mixture: RewardMixture) -> list[ModelReference]:
    return [one.source_model for one in (*mixture.experts, *(mixture.shared_experts or ()))]


def _with_adapters(mixture: RewardMixture, options: MergeOptions) -> RewardMixture:
    """The recipe with each `MODEL+ADAPTER` named by the folder with the two made one."""

    def folder(model: ModelReference) -> ModelReference:
        return adapter_merged(model, options) if model.lora else model

    def shown(expert: Any) -> Any:
        return expert.model_copy(update={"source_model": folder(expert.source_model)})

    shared = mixture.shared_experts
    return mixture.model_copy(
        update={
            "base_model": folder(mixture.base_model),
            "experts": [shown(expert) for expert in mixture.experts],
            "shared_experts": None if shared is None else [shown(one) for one in shared],
        }
    )
