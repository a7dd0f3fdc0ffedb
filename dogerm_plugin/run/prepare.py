"""A recipe made ready: its models examined and laid out, every tensor of the merge planned."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mergekit.architecture.base import ModelArchitecture
from mergekit.common import ModelReference
from mergekit.config import ConditionalParameter, MergeConfiguration
from mergekit.graph import Task
from mergekit.io.tasks import LoaderCache, SaveTensor
from mergekit.merge_methods.task_adapter import ExecuteMergeMethodTask
from mergekit.options import MergeOptions
from mergekit.plan import MergePlanner
from mergekit.tokenizer import BuildTokenizer

from dogerm_plugin.anatomy import architecture, body_and_head, checkpoint, layout, vocabulary
from dogerm_plugin.errors import MergeError, from_host
from dogerm_plugin.host import view
from dogerm_plugin.host.lora_cache import adapters_merged
from dogerm_plugin.methods import registry
from dogerm_plugin.methods.declaration import Method, Role
from dogerm_plugin.methods.hosted import RESULT_DTYPE, REWARD_MODEL, values_of
from dogerm_plugin.methods.wrapped import KEPT
from dogerm_plugin.recipe import configuration, models, paths, roles, values

NOT_ALIKE = "this model's layers are not all alike, so they can't be moved"


class LaidOut(configuration.OrderedConfiguration):
    """A recipe whose architecture is worked out already, on its way through mergekit."""

    architecture: Any


def lay_out(
    config: configuration.OrderedConfiguration, options: MergeOptions
) -> tuple[layout.Layout, ModelArchitecture]:
    """Examine the models and match their tensors; from then on mergekit sees them as `view` does.

    Args:
        config: the recipe; is told which of its models is the reward model.
        options: mergekit's.

    Raises:
        MergeError: the models don't fit each other; see `layout` and `vocabulary`.
    """
    values.check_values(config)
    named = configuration.OrderedConfiguration.referenced_models(config)
    examined = {model: examine(model, options) for model in named}
    own = roles.told_apart(config, {model: one.reward_head for model, one in examined.items()})
    config.reward_model = own
    models.check_tokenizer(config)
    reward = examined.pop(own)
    method = registry.of(config.merge_method)
    plan = layout.lay_out(reward, list(examined.values()), options, method.heads, named)
    if roles.pretrained(config) is not None:
        plan.keep_what_not_all_have()
    padded = vocabulary.padded_embeddings(plan, config, options)
    single = method.one_model_each
    LoaderCache().loaders.update(view.views(plan, padded, lends_head=single))
    aligned = config.tokenizer is not None or config.tokenizer_source is not None
    rows = plan.vocabulary if aligned else set().union(*padded.values())
    return plan, architecture.architecture(plan, rows, ends_apart=single)


def find_reward_model(config: MergeConfiguration, options: MergeOptions) -> ModelReference:
    """The model of a recipe whose head the output has; its models are looked at.

    Args:
        config: a recipe without adapters.
        options: mergekit's.

    Raises:
        MergeError: a model that can't be read; no model with a reward head, or several.
    """
    ours = configuration.prepared(config)
    heads = {model: examine(model, options).reward_head for model in ours.referenced_models()}
    return roles.told_apart(ours, heads)


def examine(model: ModelReference, options: MergeOptions) -> body_and_head.Anatomy:
    """Open one input and take it apart.

    Raises:
        MergeError: it can't be read, by whatever means it lies there; see `body_and_head.examine`.
    """
    try:
        return body_and_head.examine(checkpoint.open_checkpoint(model, options), options)
    except MergeError:
        raise
    except Exception as error:  # whatever the Hub's client and transformers meet
        explained = from_host(error).message
        raise MergeError(
            f"{model}: can't be read: {explained}; if it is a Hub id, check its name, your access "
            "and the network, or give a local folder"
        ) from error


@dataclass(frozen=True)
class Prepared:
    """A merge that only has to be run.

    Attributes:
        config: the recipe as mergekit is handed it.
        layout: where every output tensor comes from.
        architecture: the output in mergekit's terms.
        targets: all of mergekit's tasks for writing it, to a folder that `writer` says.
        tasks: those of them that save a tensor, one per output tensor.
        tokenizer: that of them that builds the output's tokenizer; None without `tokenizer:`.
    """

    config: configuration.OrderedConfiguration
    layout: layout.Layout
    architecture: ModelArchitecture
    targets: tuple[Task, ...]

    @property
    def method(self) -> Method:
        return registry.of(self.config.merge_method)

    @property
    def tasks(self) -> tuple[SaveTensor, ...]:
        return tuple(task for task in self.targets if isinstance(task, SaveTensor))

    @property
    def tokenizer(self) -> BuildTokenizer | None:
        return next((task for task in self.targets if isinstance(task, BuildTokenizer)), None)

    @property
    def names(self) -> set[str]:
        """The output's tensors."""
        return {task.tensor_name for task in self.tasks}

    def with_values_of(self, config: MergeConfiguration, options: MergeOptions) -> Prepared:
        """The same models merged with another recipe's parameters.

        Args:
            config: this merge's recipe but for the method's parameters; not prepared.
            options: mergekit's.

        Raises:
            MergeError: values that the method refuses, or a filter that matches nothing.
        """
        values.check_values(config)
        ours = handed(config, options)
        ours.reward_model = self.layout.reward.model
        return _planned(ours, self.layout, self.architecture, options)


def handed(config: MergeConfiguration, options: MergeOptions) -> configuration.OrderedConfiguration:
    """A recipe as mergekit is handed it: its folders found, adapters merged into their models.

    Raises:
        MergeError: an adapter that is none, or does not fit; see `lora_cache.adapters_merged`.
    """
    ours = configuration.prepared(paths.in_configuration(config))
    return adapters_merged(ours, options)


def prepare(ours: configuration.OrderedConfiguration, options: MergeOptions) -> Prepared:
    """Everything that can go wrong with a recipe and its models does so here.

    Args:
        ours: as `handed` gives it.
        options: mergekit's.

    Raises:
        MergeError: see `lay_out`; values that the method refuses; slices that can't be stacked.
    """
    plan, arch = lay_out(ours, options)
    return _planned(ours, plan, arch, options)


def _planned(
    ours: configuration.OrderedConfiguration,
    plan: layout.Layout,
    arch: ModelArchitecture,
    options: MergeOptions,
) -> Prepared:
    ours.parameters = {**(ours.parameters or {}), **_internal(ours, plan)}
    return Prepared(ours, plan, arch, _check_plan(ours, arch, options, plan))


def _internal(config: MergeConfiguration, plan: layout.Layout) -> dict[str, Any]:
    """What a method needs to know of the models, as parameters that users don't write."""
    told: dict[str, Any] = {RESULT_DTYPE: _dtypes(config, plan)}
    method = registry.of(config.merge_method)
    if method.base is not Role.REWARD_MODEL:
        told[REWARD_MODEL] = str(plan.reward.model)
    if method.formula is None:
        # One text, not conditions: mergekit's would match every name that contains one of these.
        told[KEPT] = "\n".join((*plan.head, *plan.kept))
    return told


def _dtypes(config: MergeConfiguration, plan: layout.Layout) -> Any:
    """The dtype to round to: the recipe's, or the reward model's own.

    Aligned embeddings need it said by name: mergekit promotes them to the models' common dtype. So
    do all tensors where a tensor may be of another model alone.
    """
    # An averaged head keeps its digits, as one that is copied does.
    dtypes = plan.joined.dtypes if plan.joined else {}
    heads = [ConditionalParameter(filter=name, value=dtype) for name, dtype in dtypes.items()]
    if config.out_dtype:
        return [*heads, ConditionalParameter(value=config.out_dtype)] if heads else config.out_dtype
    if registry.of(config.merge_method).one_model_each:
        stored = plan.reward.checkpoint.tensors
        return statistics.mode(stored[name].dtype for name in plan.body if name in stored)
    tensors = plan.reward.checkpoint.tensors
    rows = sorted(name for name in plan.vocabulary if name in tensors)
    rows = [name for name in rows if name not in plan.head]
    own = [ConditionalParameter(filter=n, value=tensors[n].dtype) for n in rows]
    return [*heads, *own] or None


def _check_plan(
    config: configuration.OrderedConfiguration,
    arch: ModelArchitecture,
    options: MergeOptions,
    plan: layout.Layout,
) -> tuple[Task, ...]:
    """Plan the merge without running it, and check the values and pairing of every tensor."""
    method = registry.of(config.merge_method)
    planner = MergePlanner(
        config.model_copy(deep=True), arch, options=options, out_model_config=plan.reward.config
    )
    try:
        targets = planner.plan_to_disk(out_path="said when it is written")
    except IndexError:  # one layer has more tensors than another
        raise MergeError("slices: " + NOT_ALIKE) from None
    finally:
        # mergekit caches by planner, and so keeps 64 of them with all their tasks
        MergePlanner._model_arch.cache_clear()
    values.check_filters(config, [weight.name for weight in arch.all_weights(plan.reward.config)])
    body = set(plan.body)
    own, pretrained = plan.reward.model, roles.pretrained(config)
    for task in targets:
        if not isinstance(task, SaveTensor):
            continue
        merge: ExecuteMergeMethodTask = task.tensor_task
        name = task.tensor_name
        if own not in merge.model_order and not method.one_model_each:
            raise MergeError(f"slices: {name} has no source from the reward model")
        inputs = {model: weight.name for model, weight in _gathered(merge).items()}
        if len(inputs) < len(merge.model_order):
            raise MergeError(
                f"slices: the last names {len(merge.model_order)} models, and mergekit makes "
                f"{name} of as many as the first names, {len(inputs)}: name as many in both"
            )
        source = inputs.get(own, next(iter(inputs.values())))
        if any(
            architecture.unnumbered(n) != architecture.unnumbered(name) for n in inputs.values()
        ):
            raise MergeError(f"slices: {name} would be made of {source}: {NOT_ALIKE}")
        if source not in body:
            continue
        others = [model for model in merge.model_order if model not in (own, pretrained)]
        reward = own if own in merge.model_order else None
        method.check(values_of(method, _bound(merge), reward, others, name), name)
    return tuple(targets)


def _bound(merge: ExecuteMergeMethodTask) -> Callable[[str, Any], Any]:
    """What mergekit found in the recipe for a tensor: by parameter and model, None for all."""

    def value_of(parameter: str, model: Any) -> Any:
        return (merge.parameters if model is None else merge.input_parameters[model])[parameter]

    return value_of


def _gathered(merge: ExecuteMergeMethodTask) -> Any:
    gather = merge.gather_tensors
    return getattr(gather, "gather_tensors", gather).weight_info
