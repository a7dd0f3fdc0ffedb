"""One merge from recipe to output: prepare, let mergekit work, verify, move into place."""

from __future__ import annotations

import functools
import gc
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import torch
from mergekit import card
from mergekit.architecture.base import ModelArchitecture
from mergekit.common import ModelReference
from mergekit.config import MergeConfiguration
from mergekit.graph import Task
from mergekit.io.tasks import LoaderCache
from mergekit.options import MergeOptions

from dogerm_plugin.anatomy import layout, vocabulary
from dogerm_plugin.anatomy.heads import Heads
from dogerm_plugin.errors import MergeError, from_host
from dogerm_plugin.host import view, writer
from dogerm_plugin.host.execution import SequentialExecutor
from dogerm_plugin.methods.declaration import Role
from dogerm_plugin.methods.linear import check_finite
from dogerm_plugin.recipe import configuration, keys, paths, reward_line
from dogerm_plugin.recipe.entries import as_written
from dogerm_plugin.run import output, output_config, prepare, trial_load, verify
from dogerm_plugin.run.kinship import Kinship

LOG = logging.getLogger("dogerm")


def reward_model_architecture(
    config: MergeConfiguration, options: MergeOptions
) -> ModelArchitecture:
    """mergekit's `get_architecture_info` for this project's methods.

    Also shows mergekit the input models under the reward model's names (`view`).

    Raises:
        MergeError: the models don't fit each other; see `layout` and `vocabulary`.
    """
    if isinstance(config, prepare.LaidOut):
        return config.architecture
    from mergekit import merge as host

    if not hasattr(host.run_merge, "__wrapped__"):
        raise MergeError(
            "this project is only half active in mergekit (see the line 'dogerm: not active' "
            "above): its output would be neither checked nor staged; run dogerm doctor"
        )
    return prepare.lay_out(prepare.handed(config, options), options)[1]


def run(
    original: Callable[..., None],
    config: MergeConfiguration,
    out_path: str,
    options: MergeOptions,
    config_source: str | None = None,
) -> None:
    """mergekit's `run_merge` for this project's methods; other recipes go to `original` as is.

    Raises:
        MergeError: bad input; `out_path` is as it was.
    """
    if not configuration.is_ours(config.merge_method):
        original(config, out_path, options=options, config_source=config_source)
        return
    gc.freeze()  # else the collector goes through all that the imports made, a third of a second
    try:
        _run(original, config, out_path, options, config_source)
    except MergeError:
        raise
    except Exception as error:  # whatever the host libraries meet; -v shows it in full
        LOG.info("the error in full", exc_info=error)
        raise from_host(error) from error
    finally:
        gc.unfreeze()


def _run(
    original: Callable[..., None],
    config: MergeConfiguration,
    out_path: str,
    options: MergeOptions,
    config_source: str | None,
) -> None:
    source = config_source or config.to_yaml()
    keys.check_text(source)
    named = configuration.prepared(paths.in_configuration(config)).referenced_models()
    output.check_target(out_path, _folders(named))
    ours = prepare.handed(config, options)
    output.check_target(out_path, _folders(ours.referenced_models()))
    with view.shown_to_mergekit():
        ready = prepare.prepare(ours, options)
        plan, wanted = ready.layout, ready.names
        made = ready.method.heads is Heads.AVERAGED
        own = {} if made else {name: _own_tensor(plan, name) for name in plan.head}
        for name in plan.kept:
            _own_tensor(plan, name)
        if not vocabulary.has_tokenizer(plan.reward):
            options = options.model_copy(update={"copy_tokenizer": False})
        kinship = Kinship.of(plan, ready.method)
        if options.multi_gpu:
            compare_first(kinship, ready)
        # Config, tokenizer and code of the output are those of mergekit's base model.
        told = {**dict(ours), "base_model": plan.reward.model}
        known = prepare.LaidOut(**told, architecture=ready.architecture)
        if ready.method.base is not Role.REWARD_MODEL:
            source = reward_line.added(source, as_written(plan.reward.model, config, ours))
        with output.staged(out_path) as stage, plan.inputs_unchanged():
            with (
                vocabulary.alignment_repaired(plan.reward.model),
                _local_paths_stay_local(),
                _planned_once(ready, kinship),
                writer.writing(str(stage), ready.names),
            ):
                original(known, str(stage), options=options, config_source=source)
            kinship.conclude()
            if options.copy_tokenizer and not any(stage.glob("tokenizer*")):
                raise MergeError(
                    f"{plan.reward.model}: its tokenizer could not be copied (mergekit says why "
                    "above); --no-copy-tokenizer merges without it"
                )
            _check_loads(stage, plan, options)
            verify.verify(stage, wanted, own)
    if not options.quiet:
        count, head = len(wanted) - len(plan.head), ", ".join(plan.reward.head)
        said = f"{out_path}: {count} body tensors, {_of_head(ready)}: {head}"
        click.echo("; ".join(filter(None, (said, kinship.summary()))), err=True)


def _of_head(ready: prepare.Prepared) -> str:
    """What became of the head, for the line that a merge ends with."""
    joined = ready.layout.joined
    if joined is None:
        return "head kept"
    if joined.labels is None:
        return f"head averaged over {len(joined.sources)} reward models"
    return f"{len(joined.labels)} heads kept ({', '.join(joined.labels)})"


def _folders(models: list[ModelReference]) -> list[Path]:
    return [Path(part.path) for model in models for part in (model.model, model.lora) if part]


def _own_tensor(plan: layout.Layout, name: str) -> torch.Tensor:
    tensor = LoaderCache().get(plan.reward.model).get_tensor(name)
    check_finite(tensor, name, plan.reward.model)
    return tensor


def _check_loads(stage: Path, plan: layout.Layout, options: MergeOptions) -> None:
    """Give the output what mergekit doesn't write, and hold it against its own class."""
    beside = plan.reward.beside
    for file in beside.files:
        shutil.copy2(file, stage / file.name)
    output_config.agree(stage, plan.reward, plan.joined.labels if plan.joined else None)
    result = trial_load.check(stage, options)
    for name, tensor in beside.tensors.items():
        check_finite(tensor, name, plan.reward.model)
        if not verify.same_bits(tensor, result.beside.tensors[name]):
            raise MergeError(f"the head {name} is not the reward model's to the bit")


@contextmanager
def _local_paths_stay_local() -> Iterator[None]:
    """Don't ask the Hub whether a relative path such as `rm` is a repository there.

    mergekit's model card does, which fails without a network after all the work is done, and
    tells the Hub the folder's name. Retired when `card.is_hf` takes an existing path as local.
    """
    original = card.is_hf
    card.is_hf = lambda path: not os.path.exists(path) and original(path)
    try:
        yield
    finally:
        card.is_hf = original


def compare_first(kinship: Kinship, ready: prepare.Prepared) -> None:
    """Look at all inputs before a merge whose executor is mergekit's own.

    The files are mapped: of a tensor, only the rows that are looked at are read.
    """
    for task in ready.tasks:
        merge: Any = task.tensor_task
        inputs = merge.arguments()
        values = SequentialExecutor(list(inputs.values())).run(quiet=True)
        kinship.watch(merge, {n: v for n, (_, v) in zip(inputs, values, strict=True)})


@contextmanager
def _planned_once(ready: prepare.Prepared, kinship: Kinship) -> Iterator[None]:
    """Let `run_merge` run the tasks that were checked, one output tensor after another.

    Retired when `run_merge` takes planned tasks and an executor.
    """
    from mergekit import merge as host

    class Planned:
        def __init__(self, *_args: Any, **_kwargs: Any) -> None: ...

        def plan_to_disk(self, out_path: str) -> list[Task]:
            return list(ready.targets)

    before = host.MergePlanner, host.Executor
    executor = functools.partial(SequentialExecutor, watch=kinship.watch)
    host.MergePlanner, host.Executor = Planned, executor
    try:
        yield
    finally:
        host.MergePlanner, host.Executor = before
