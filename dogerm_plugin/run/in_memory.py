"""The merges of one recipe at any values of its parameters, tensor by tensor, nothing written.

The models are examined once and their files mapped, not read whole: at any moment there are the
tensors that are being merged and no more. What comes out is what mergekit-yaml would write, for it
is made by mergekit's own tasks for the same plan.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mergekit.common import dtype_from_name
from mergekit.config import MergeConfiguration
from mergekit.graph import Task
from mergekit.io.tasks import LoaderCache
from mergekit.options import MergeOptions

from dogerm_plugin.anatomy import vocabulary
from dogerm_plugin.anatomy.heads import Heads
from dogerm_plugin.anatomy.layout import Layout
from dogerm_plugin.errors import MergeError, from_host
from dogerm_plugin.host.execution import SequentialExecutor
from dogerm_plugin.host.view import ModelView
from dogerm_plugin.methods import registry
from dogerm_plugin.run import body_alone, prepare
from dogerm_plugin.run.kinship import Kinship


class Merges:
    """One recipe's models, examined and laid out, to be merged at one set of values after another.

    Args:
        config: the recipe; its parameters are those that the check at the start is made with.
        options: mergekit's; `cuda` does the arithmetic, and leaves the tensors, on the GPU.

    Attributes:
        layout: where every output tensor comes from.
        keeps_all_but_the_body: whether the output is the reward model's own checkpoint with another
            body: its layers, head, tokenizer and template.

    Raises:
        MergeError: the recipe or its models; see `prepare.prepare`.
    """

    def __init__(self, config: MergeConfiguration, options: MergeOptions | None = None) -> None:
        self._options = options or MergeOptions(quiet=True)
        self._views: dict[Any, ModelView] = {}  # filled by `prepare`
        self._fixed = _without_parameters(config)
        self._known: dict[Task, Any] = {}
        with self._shown():
            ours = prepare.handed(config, self._options)
            self._prepared = prepare.prepare(ours, self._options)
            self.keeps_all_but_the_body = body_alone.is_all(self._prepared, config, self._options)
        self._kinship = Kinship.of(self._prepared.layout, self._prepared.method)

    @property
    def layout(self) -> Layout:
        return self._prepared.layout

    def tensors(self, config: MergeConfiguration) -> Iterator[tuple[str, torch.Tensor]]:
        """Every tensor that mergekit-yaml writes for `config`, in the dtype that it is written in.

        Between two tensors nothing of mergekit's is held: other merges may run meanwhile, and the
        iterator may be left before its end.

        Args:
            config: this recipe with other values of the method's parameters.

        Raises:
            MergeError: it differs in more than those; values that the method refuses; a tensor with
                NaN or Inf, or a result that does not fit its dtype; the first time, models that
                have no base in common (`kinship`); a file of the models that changed since they
                were examined (told after the last tensor at the latest).
        """
        if _without_parameters(config) != self._fixed:
            symbols = self._prepared.method.symbols
            raise MergeError(
                f"the recipe differs from the one that was laid out in more than {symbols}"
            )
        with self.layout.inputs_unchanged(), self._shown():
            ready = self._prepared.with_values_of(config, self._options)
            if ready.tokenizer is not None and not self._known:  # the same for all values
                with vocabulary.alignment_repaired(self.layout.reward.model):
                    self._known = {ready.tokenizer: ready.tokenizer.execute()}
        try:
            for task in ready.tasks:
                with self._shown():
                    tensor = self._run(task.tensor_task)
                if tensor is None:
                    continue  # optional, and in no model
                yield task.tensor_name, _as_saved(tensor, task.dtype)
                del tensor
            self.layout.check_inputs()
            self._kinship.conclude()
        finally:
            self._flush()

    def unmerged(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The reward model's own body, as it is stored, by the names of `tensors`.

        Raises:
            MergeError: a file that can't be read, or that changed since it was examined.
        """
        own = self._views[self.layout.reward.model]
        try:
            joined = self.layout.joined
            head = joined.dtypes if joined and joined.kind is Heads.AVERAGED else ()
            for name in (*self.layout.body, *self.layout.kept, *head):
                tensor = own.get_tensor(name)
                assert tensor is not None
                yield name, tensor
                del tensor
            self.layout.check_inputs()
        finally:
            self._flush()

    def _run(self, task: Task) -> torch.Tensor | None:
        device = self._options.device or "cpu"
        ((_, tensor),) = SequentialExecutor(
            [task], device, device, self._known, self._kinship.watch
        ).run(quiet=True)
        return tensor

    def _flush(self) -> None:
        for view in self._views.values():
            view.flush()

    @contextmanager
    def _shown(self) -> Iterator[None]:
        """Show mergekit this recipe's views of the models, in this thread, for a moment."""
        cache = LoaderCache()  # one in each thread; `loaders` is the class's, common to all
        before = vars(cache).get("loaders")
        cache.loaders = self._views
        try:
            yield
        except MergeError:
            raise
        except Exception as error:  # whatever the host libraries meet
            raise from_host(error) from error
        finally:
            if before is None:
                del cache.loaders
            else:
                cache.loaders = before


def _as_saved(tensor: torch.Tensor, dtype: str | None) -> torch.Tensor:
    return tensor.to(dtype=dtype_from_name(dtype)) if dtype else tensor


def _without_parameters(config: MergeConfiguration) -> Any:
    """All of a recipe but its method's parameters."""
    return _strip(config.model_dump(mode="json"), registry.of(config.merge_method).by_name)


def _strip(value: Any, names: Container[str]) -> Any:
    if isinstance(value, dict):
        return {
            key: {name: one for name, one in (inner or {}).items() if name not in names}
            if key == "parameters"
            else _strip(inner, names)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_strip(one, names) for one in value]
    return value
