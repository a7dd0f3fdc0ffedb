# SPDX-License-Identifier: Apache-2.0
"""A recipe's models and one loaded reward model that becomes any of their merges."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.runs import identity
from harness.runs.source import HOOKS
from harness.study import interrupt
from harness.sweep import machine
from harness.sweep.rows import Rows
from harness.sweep.variants import Recipe

if TYPE_CHECKING:
    from dogerm_plugin.anatomy.layout import Layout
    from harness.sweep.live import LiveMerge, LiveReward
    from harness.sweep.store import Store

# With all that these import: what makes a score of a merge.
MEASURED_BY = (__name__, *HOOKS)


@dataclass(frozen=True)
class Settings:
    """How the merge is loaded and scored.

    Attributes:
        model_args: as lm-eval's ``--model_args`` for ``--model reward``, without ``pretrained``.
        batch_size: as lm-eval's.
        merge_options: of mergekit's `MergeOptions`, such as ``trust_remote_code``.
    """

    model_args: Mapping[str, Any] = field(default_factory=dict)
    batch_size: str = "auto"
    merge_options: Mapping[str, Any] = field(default_factory=dict)


class Bench:
    """Measures merges of a recipe's models at any weights.

    Nothing is loaded before the first measurement that is not in the store yet.

    Args:
        recipe: which models, and what else a merge of them depends on.
        settings: how they are loaded.
        say: told what takes a while.

    Raises:
        MergeError: the recipe or its models don't make a merge.
        HarnessError: model arguments that a sweep can't have.
    """

    def __init__(
        self, recipe: Recipe, settings: Settings, say: Callable[[str], None] = lambda text: None
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
        self._options = MergeOptions(quiet=True, **settings.merge_options)
        self._merges = Merges(self._configuration(self._zero), self._options)
        self._set_to: Any = None
        self._seen: set[str] = set()
        self._digests: dict[tuple[str, str], str] = {}

    @property
    def _zero(self) -> list[float]:
        return [0.0] * len(self.recipe.domain_models)

    def _configuration(self, weights: Sequence[Any]) -> Any:
        return self.recipe.configuration(weights)

    @property
    def layout(self) -> Layout:
        """Which of the models' tensors are merged."""
        return self._merges.layout

    @cached_property
    def made_with(self) -> dict[str, str]:
        """What every measurement depends on beside the rows and the weights."""
        folders = {}
        for one in (self.layout.reward, *self.layout.others):
            parts = [one.model.model, one.model.lora]
            local = [Path(part.path) for part in parts if part and Path(part.path).is_dir()]
            folders.update(dict.fromkeys([one.checkpoint.folder, *local]))
        self._say("reading the model files once, to know them again")
        files = identity.model_files(folders)
        return {
            "recipe": identity.as_text(self.recipe.with_weights(self._zero)),
            **{f"model file {path}": digest for path, digest in files.items()},
            **identity.software(),
            **identity.code(*MEASURED_BY),
            "model_args": identity.as_text(dict(self.settings.model_args)),
            **identity.argument_files(self.settings.model_args),
            "device": identity.device(self.settings.model_args),
            "batch_size": str(self.settings.batch_size),
            "merge options": identity.as_text(dict(self.settings.merge_options)),
        }

    @cached_property
    def _loaded(self) -> tuple[LiveReward, LiveMerge]:
        from harness.sweep.live import LiveMerge

        if self._is_reward_model:
            self._say("loading the reward model")
            reference = self._merges.layout.reward.model.model
            revision = {"revision": reference.revision} if reference.revision else {}
            model = self._load(reference.path, **revision)
        else:
            model = self._load_written()
        live = LiveMerge(self._merges, model.model)
        live.check(self._configuration(self._zero))
        self._set_to = self._zero
        return model, live

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
        from mergekit.merge import run_merge

        from dogerm_plugin.errors import MergeError

        self._say("writing the merge with λ = 0 to a temporary folder, and loading it")
        with tempfile.TemporaryDirectory(prefix="dogerm-") as folder:
            out = os.path.join(folder, "merged")
            try:
                run_merge(self._configuration(self._zero), out, self._options)
            except MergeError as error:
                raise HarnessError(
                    f"{out}: the merge with λ = 0, which shows what the recipe's output is, can't "
                    f"be written: {error}; TMPDIR names another place for temporary folders"
                ) from error
            model = self._load(out)
            for tensor in [*model.model.parameters(), *model.model.buffers()]:
                tensor.data = tensor.data.clone()  # else it is mapped, and keeps the deleted file
        return model

    def _load(self, pretrained: str, **options: Any) -> LiveReward:
        from harness.sweep.live import LiveReward

        content, arguments = self.recipe.content, dict(self.settings.model_args)
        rounded = content.get("out_dtype") or content.get("dtype")
        if rounded and arguments.get("dtype", "auto") == "auto":
            arguments["dtype"] = rounded  # what a written merge would be loaded in
        if self._options.trust_remote_code:
            arguments.setdefault("trust_remote_code", True)
        return LiveReward(
            pretrained, batch_size=self.settings.batch_size, **{**options, **arguments}
        )

    @property
    def model(self) -> LiveReward:
        """The loaded model, whatever it is set to."""
        return self._loaded[0]

    def model_bytes(self) -> int:
        """What the loaded model's tensors take."""
        model = self.model.model
        return sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])

    def set(self, weights: Sequence[Any]) -> float:
        """Make the model the merge of these weights; gives the seconds it took.

        Args:
            weights: one for each domain model: a number, or what mergekit takes for it.
        """
        _, live = self._loaded
        if self._set_to == list(weights):
            return 0.0
        began = time.perf_counter()
        self._set_to = None  # should it fail half-way
        live.set(self._configuration(weights))
        self._set_to = list(weights)
        return time.perf_counter() - began

    def measure(self, place: str, weights: Sequence[Any], rows: Rows, into: Store) -> bool:
        """Score the merge of these weights on some rows, unless that is in the store.

        Args:
            place: where in the store; see `Store.path`.
            weights: see `set`.
            rows: what to score.
            into: the store.

        Returns:
            Whether it had to be done.
        """
        data = f"{rows.role} {self._digest(rows)}"
        if into.has(place, rows.name, data):
            return False
        from harness.sweep.evaluate import evaluate

        seconds = self.set(weights)
        about = {
            "model": "reward",
            "model_args": {**self.settings.model_args, "recipe": self.recipe.path},
            "weights": list(weights),
            "batch_size": str(self.settings.batch_size),
            "merge_seconds": seconds,
            "model_bytes": self.model_bytes(),
        }
        with into.writing(place, rows.name, data) as folder:
            evaluate(
                self.model,
                rows,
                about,
                machine.peak_memory,
                folder,
                warn=rows.name not in self._seen,
            )
            interrupt.check()
        self._seen.add(rows.name)
        return True

    def _digest(self, rows: Rows) -> str:
        key = rows.role, rows.name
        if key not in self._digests:
            self._digests[key] = rows.digest()
        return self._digests[key]
