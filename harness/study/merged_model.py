# SPDX-License-Identifier: Apache-2.0
"""One loaded reward model that becomes any merge of a recipe's models."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.runs import identity
from harness.runs.source import HOOKS
from harness.study.recipe import METHOD, Point, StudyRecipe, strength_of
from harness.study.spec import Settings

if TYPE_CHECKING:
    from dogerm_plugin.anatomy.layout import Layout
    from harness.models.live import LiveMerge, LiveReward

# With all that these import: what makes the scores of a merge's rows.
MEASURED_BY = ("harness.study.worker", *HOOKS)


class MergedModel:
    """The merges of a recipe's models at any point, one after another in one loaded model.

    Nothing is loaded before a merge is asked for.

    Args:
        recipe: which models, and what else a merge of them depends on.
        settings: how they are loaded.
        say: told what takes a while.
        methods: by which points may be merged, beside the recipe's own.

    Attributes:
        set_to: the point whose merge the loaded model is; None where that is not known.

    Raises:
        MergeError: the recipe or its models don't make a merge.
        HarnessError: model arguments that a sweep can't have.
    """

    def __init__(
        self,
        recipe: StudyRecipe,
        settings: Settings,
        say: Callable[[str], None] = lambda text: None,
        methods: Sequence[str] = (),
    ) -> None:
        from dogerm_plugin import _autoload

        _autoload.install(force=True)
        from mergekit.options import MergeOptions

        from dogerm_plugin.run.in_memory import Merges

        for name in ("pretrained", "tokenizer", "subfolder", "revision"):
            if name in settings.model_args:
                raise HarnessError(
                    f"--model_args {name}=: the recipe says which model and tokenizer it is"
                )
        self.recipe = recipe
        self.settings = settings
        self._say = say
        self._methods = {recipe.content[METHOD], *methods}
        self._options = MergeOptions(quiet=True, **settings.merge_options)
        self._merges = Merges(recipe.configuration(recipe.rest), self._options)
        self.set_to: Point | None = None

    @property
    def layout(self) -> Layout:
        """Which of the models' tensors are merged."""
        return self._merges.layout

    @cached_property
    def made_with(self) -> dict[str, str]:
        """What every measurement depends on beside the rows and the point."""
        folders = {}
        for one in (self.layout.reward, *self.layout.others):
            parts = [one.model.model, one.model.lora]
            local = [Path(part.path) for part in parts if part and Path(part.path).is_dir()]
            folders.update(dict.fromkeys([one.checkpoint.folder, *local]))
        self._say("reading the model files once, to know them again")
        files = identity.model_files(folders)
        return {
            "recipe": identity.as_text(self.recipe.at(self.recipe.rest)),
            **_left(self.recipe),
            **{f"model file {path}": digest for path, digest in files.items()},
            **identity.software(),
            **identity.code(*MEASURED_BY),
            **identity.methods(*sorted(self._methods)),
            "model_args": identity.as_text(dict(self.settings.model_args)),
            **identity.argument_files(self.settings.model_args),
            "device": identity.device(self.settings.model_args),
            "batch_size": str(self.settings.batch_size),
            "merge options": identity.as_text(dict(self.settings.merge_options)),
        }

    @cached_property
    def _loaded(self) -> tuple[LiveReward, dict[str, LiveMerge]]:
        from harness.models.live import LiveMerge

        if self._is_reward_model:
            self._say("loading the reward model")
            reference = self._merges.layout.reward.model.model
            revision = {"revision": reference.revision} if reference.revision else {}
            model = self._load(reference.path, **revision)
        else:
            model = self._load_written()
        live = LiveMerge(self._merges, model.model)
        live.check(self.recipe.configuration(self.recipe.rest))
        self.set_to = self.recipe.rest
        return model, {self.recipe.content[METHOD]: live}

    @property
    def _is_reward_model(self) -> bool:
        """Whether the merge with λ = 0 is the reward model's own folder."""
        content = self.recipe.content
        other = any(content.get(k) for k in ("tokenizer", "tokenizer_source", "chat_template"))
        return not other and self._merges.layout.reward.model.lora is None

    def _load_written(self) -> LiveReward:
        """The merge with λ = 0, written and loaded.

        With another tokenizer or template, or an adapter, that is how to know what the output is.
        """
        from dogerm_plugin.errors import MergeError
        from harness.models import written_merge

        self._say("writing the merge with λ = 0 to a temporary folder, and loading it")
        config = self.recipe.configuration(self.recipe.rest)
        try:
            return written_merge.load(config, self._options, self._load)
        except MergeError as error:
            raise HarnessError(
                f"{self.recipe.path}: the merge with λ = 0, which shows what the recipe's output "
                f"is, can't be written: {error}; TMPDIR names another place for temporary folders"
            ) from error

    def _load(self, pretrained: str, **options: Any) -> LiveReward:
        from harness.models import written_merge
        from harness.models.live import LiveReward

        arguments = written_merge.with_dtype(self.settings.model_args, self.recipe.content)
        if self._options.trust_remote_code:
            arguments.setdefault("trust_remote_code", True)
        return LiveReward(
            pretrained, batch_size=self.settings.batch_size, **{**options, **arguments}
        )

    def _by(self, method: str) -> LiveMerge:
        """The loaded model as it is merged by another method."""
        from dogerm_plugin.run.in_memory import Merges
        from harness.models.live import LiveMerge

        recipe = self.recipe.by(method)
        return LiveMerge(
            Merges(recipe.configuration(recipe.rest), self._options), self.loaded.model
        )

    @property
    def loaded(self) -> LiveReward:
        """The loaded model, whatever it is set to."""
        return self._loaded[0]

    def bytes(self) -> int:
        """What the loaded model's tensors take."""
        model = self.loaded.model
        return sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])

    def set(self, point: Point) -> float:
        """Make the model the merge of a point; gives the seconds it took."""
        _, lives = self._loaded
        if self.set_to == point:
            return 0.0
        began = time.perf_counter()
        self.set_to = None  # should it fail half-way
        method = point.values.get(METHOD, self.recipe.content[METHOD])
        if method not in lives:
            lives[method] = self._by(method)
        lives[method].set(self.recipe.configuration(point))
        self.set_to = point
        return time.perf_counter() - began


def _left(recipe: StudyRecipe) -> dict[str, str]:
    """What the recipe says of the parameter at rest, which stays at points that vary others."""
    strength = strength_of(recipe.method)
    varied = recipe.axis or (strength.name if strength else None)
    holders = [recipe.content, *recipe.content["models"]]
    return {
        f"{name} of the recipe": identity.as_text(
            [(one.get("parameters") or {}).get(name) for one in holders]
        )
        for name in recipe.rest.values
        if name != varied
    }
