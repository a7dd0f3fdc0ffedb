# SPDX-License-Identifier: Apache-2.0
"""Whether the models' matrices come from one pretrained base, seen while they are merged.

Names, shapes and vocabularies can be equal where nothing else is: another base of the same size, a
fresh model, permuted heads. What tells is the direction of the weights: fine-tunes of one base have
a cosine of .99 and more in every matrix, models that were trained on for long less, strangers
none. Vectors (norms, biases) say nothing, they agree between strangers.

Every matrix is compared by some of its rows, at the moment at which it is merged: nothing is read
twice. The mean of every row and column is taken off first (`Sample`): strangers may share it. The
first matrix that is a stranger's ends the merge, for one noisy layer spoils a model. What may be no
relative and no stranger either: a matrix that is nearly zero beside the others (adapters that
start at zero, experts that were never used), since what it holds is each model's own training.
"""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from mergekit.graph import Task
from mergekit.merge_methods.task_adapter import ExecuteMergeMethodTask
from mergekit.tokenizer import TokenizerInfo

from dogerm_plugin.anatomy.architecture import LAYER
from dogerm_plugin.anatomy.layout import Layout
from dogerm_plugin.errors import MergeError
from dogerm_plugin.methods.declaration import Method
from dogerm_plugin.methods.parameter import ALLOW_UNRELATED
from dogerm_plugin.run.sample import Sample, take

LOG = logging.getLogger("dogerm")

# A warning below it: far for a fine-tune of one base, near for a stranger.
CLOSE = 0.9
# Beside the typical matrix, so little that it may be each model's own training from zero.
TINY = 0.1
# Looked up where rows are aligned by token.
TOKENS = 1 << 11


@dataclass(frozen=True)
class MatrixComparison:
    """How one matrix of a domain model compares with the reward model's.

    Attributes:
        name: in the output.
        source: in the domain model under the reward model's names; another one with `slices:`.
        sample: the comparison.
        allowed: the recipe says that a stranger is welcome.
    """

    name: str
    source: str
    sample: Sample
    allowed: bool

    @property
    def strange(self) -> str:
        """What makes it a stranger's; an empty text where nothing does."""
        in_layer = LAYER.search(self.name) is not None
        if self.sample.is_chance:
            return f"cosine {self.sample.cosine:.3f}"
        if in_layer and self.sample.turned:
            return (
                f"cosine {self.sample.cosine:.3f}, with {self.sample.turned:.0%} of its rows or "
                "columns near 0"
            )
        return ""


@dataclass
class Kinship:
    """Compares what is merged; one for all merges of the same models.

    Attributes:
        reward: the reward model.
        body: names of the output's tensors that are merged.
        symbols: what people call the merge method's parameters.
        way_out: what a recipe says to have strangers merged.
        comparisons: by domain model, and by name in the output.
    """

    reward: Any
    body: frozenset[str]
    symbols: str
    way_out: str = f"`parameters: {{{ALLOW_UNRELATED.name}: true}}` in the recipe"
    comparisons: dict[Any, dict[str, MatrixComparison]] = field(default_factory=dict)
    _told: bool = False

    @classmethod
    def of(cls, layout: Layout, method: Method) -> Kinship:
        """The kinship of a layout's models, merged by a method."""
        return cls(layout.reward.model, frozenset(layout.body), method.symbols)

    def watch(self, task: Task[Any], arguments: Mapping[str, Any]) -> None:
        """Compare the inputs of a merge that is about to run; of other tasks, nothing.

        Raises:
            MergeError: a matrix is a stranger's.
        """
        if not isinstance(task, ExecuteMergeMethodTask):
            return
        if self.reward not in task.model_order or _source(task, self.reward) not in self.body:
            return
        name = task.output_weight.name
        tensors: Mapping[Any, torch.Tensor] = arguments["tensors"]
        mine = tensors.get(self.reward)
        if mine is None or mine.ndim < 2 or not mine.is_floating_point():
            return
        info = arguments.get("tokenizer_info")
        for model, theirs in tensors.items():
            if model == self.reward or name in self.comparisons.get(model, ()):
                continue
            pair = (mine, theirs) if info is None else _common(info, self.reward, model, tensors)
            allowed = bool(task.input_parameters[model][ALLOW_UNRELATED.name])
            self.compare(model, name, _source(task, model), pair, allowed)

    def compare(
        self,
        model: Any,
        name: str,
        source: str,
        pair: tuple[torch.Tensor, torch.Tensor],
        allowed: bool,
    ) -> None:
        """Compare one matrix of a model with the reward model's.

        Args:
            model: the other model.
            name: of the matrix, in the output.
            source: see `MatrixComparison`.
            pair: the reward model's and the other's, of one shape.
            allowed: see `MatrixComparison`.

        Raises:
            MergeError: it is a stranger's.
        """
        sample = take(*pair)
        if sample is None:
            return
        comparison = MatrixComparison(name, source, sample, allowed)
        if comparison.strange and not allowed and not self._may_be_tiny(comparison):
            raise MergeError(self._stranger(model, comparison))
        self.comparisons.setdefault(model, {})[name] = comparison

    def _may_be_tiny(self, comparison: MatrixComparison) -> bool:
        """Whether to wait for all matrices before one is judged: it is small for its width."""
        return comparison.sample.size < TINY / math.sqrt(comparison.sample.width)

    def conclude(self) -> None:
        """Judge what waited for the others, and warn of what is far, once.

        Raises:
            MergeError: a matrix is a stranger's.
        """
        if self._told:
            return
        self._told = True
        for model, comparisons in self.comparisons.items():
            typical = statistics.median(one.sample.size for one in comparisons.values())
            strange = [one for one in comparisons.values() if one.strange]
            for one in strange:
                if not one.allowed and one.sample.size >= TINY * typical:
                    raise MergeError(self._stranger(model, one))
            allowed = [one for one in strange if one.allowed]
            if allowed:
                worst = min(allowed, key=lambda one: one.sample.cosine)
                LOG.warning(
                    "%s: %d of %d matrices are no relatives of the reward model's %s (%s: %s), "
                    "merged because the recipe says %s",
                    model, len(allowed), len(comparisons), self.reward, worst.name, worst.strange,
                    ALLOW_UNRELATED.name,
                )  # fmt: skip
            far = [
                one for one in comparisons.values() if one.sample.cosine < CLOSE and not one.strange
            ]
            if far:
                worst = min(far, key=lambda one: one.sample.cosine)
                LOG.warning(
                    "%s: %d of %d matrices are far from the reward model's %s (mean cosine %.3f, "
                    "least %.3f, %s; %.1f to 1 is usual for fine-tunes of one base): they may not "
                    "mix well, choose %s by what it scores",
                    model, len(far), len(comparisons), self.reward,
                    statistics.fmean(one.sample.cosine for one in comparisons.values()),
                    worst.sample.cosine, worst.name, CLOSE, self.symbols,
                )  # fmt: skip

    def summary(self) -> str:
        """How near each domain model is, in a few words; empty where nothing was compared."""
        parts = []
        for model, comparisons in self.comparisons.items():
            least = min(comparisons.values(), key=lambda one: one.sample.cosine)
            mean = statistics.fmean(one.sample.cosine for one in comparisons.values())
            parts.append(
                f"cosine to {model} {mean:.4f} (least {least.sample.cosine:.4f}, {least.name})"
            )
        return "; ".join(parts)

    def _stranger(self, model: Any, comparison: MatrixComparison) -> str:
        before = [one.sample.cosine for one in self.comparisons.get(model, {}).values()]
        elsewhere = f" (as {comparison.source})" if comparison.source != comparison.name else ""
        known = (
            f"; {len(before)} other matrices are at {statistics.fmean(before):.3f} on average"
            if before
            else ""
        )
        return (
            f"{comparison.name}: that of {model}{elsewhere} is no relative of the reward model's "
            f"{self.reward}: {comparison.strange}, where fine-tunes of one base have .99{known}. "
            "Merged, it would be noise: the models come from unlike pretrained bases, or neurons, "
            "heads, layers or rows of one stand in another order. For those who know better: "
            f"{self.way_out}"
        )


def _source(task: ExecuteMergeMethodTask, model: Any) -> str:
    gather: Any = task.gather_tensors
    gather = getattr(gather, "gather_tensors", gather)
    return str(gather.weight_info[model].name)


def _common(
    info: TokenizerInfo, reward: Any, model: Any, tensors: Mapping[Any, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows of some tokens that both models have, aligned."""
    mine, theirs = info.permutations[reward], info.permutations[model]
    some = list(mine)[:: max(1, len(mine) // TOKENS)]
    ids = [i for i in some if mine[i] >= 0 and theirs.get(i, -1) >= 0]
    return (
        tensors[reward][[mine[i] for i in ids]],
        tensors[model][[theirs[i] for i in ids]],
    )
