"""mergekit's alignment of rows by token, as a gather of a few rows at a time.

mergekit 0.1.5 copies every row of every model in a Python loop, and has the aligned copies beside
the models before the merge begins (`tokenizer.embed.PermutedVocabulary`). Here rows are gathered
where they are merged: same rule, same bits, no copy of a whole model.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import torch
from mergekit.common import ModelReference
from mergekit.graph import Task
from mergekit.merge_methods.task_adapter import ExecuteMergeMethodTask
from mergekit.tokenizer import PermutedVocabulary, TokenizerInfo
from mergekit.vocabulary import vocabulary_views

from dogerm_plugin.methods import registry
from dogerm_plugin.methods.declaration import Role
from dogerm_plugin.methods.hosted import REWARD_MODEL

LOG = logging.getLogger("dogerm")

# Elements of a model per step: little beside the model, and much beside the cost of starting it.
STEP = 1 << 22
# On a GPU that cost is larger.
GPU_STEP = 1 << 26
# Columns whose mean is taken at once; the order of a column's sum does not depend on the others.
COLUMNS = 256
SHOWN = 3


class MergeAligned(ExecuteMergeMethodTask):
    """mergekit's task that merges one tensor, with the alignment of its rows inside.

    `gather_tensors` is the alignment's own task, which says what is to be done and is not run.
    """

    def arguments(self) -> dict[str, Task[Any]]:
        """What the alignment asks for, the models' tensors and the output's tokenizer."""
        arguments: dict[str, Task[Any]] = self.gather_tensors.arguments()
        return arguments

    def execute(
        self, tensors: Mapping[ModelReference, torch.Tensor], **others: Any
    ) -> torch.Tensor | None:
        """Merge the rows of the output, some at a time; see `ExecuteMergeMethodTask.execute`."""
        if not tensors:
            return super().execute({})
        alignment = Alignment(self.gather_tensors, others["tokenizer_info"], tensors)
        method = registry.of(self.method_name)
        out, done = None, 0
        for rows in alignment.parts(whole=not method.by_row):
            merged = super().execute(rows)
            if out is None:
                out = merged.new_empty((alignment.rows, *merged.shape[1:]))
            out[done : done + len(merged)] = merged
            done += len(merged)
        if out is not None and method.base is not Role.REWARD_MODEL:
            reward = self.parameters[REWARD_MODEL]
            base = self.base_model if method.base is Role.PRETRAINED else None
            own = next(one for one in self.model_order if str(one) == reward)
            alignment.keep(out, own, base)
        return out


def is_ours(*, method_name: str, gather_tensors: Task[Any], **_: Any) -> bool:
    """Whether a merge task of these fields is one for `MergeAligned`: of rows, by our methods."""
    if not isinstance(gather_tensors, PermutedVocabulary) or gather_tensors.vocabulary_axis != 0:
        return False
    return method_name in registry.names()


class Alignment:
    """The rows that `PermutedVocabulary` would make of some models, vocabulary on axis 0.

    Args:
        task: what to do: `tokens:`, `pad_to_multiple_of` and the base model of the recipe.
        info: the output's tokenizer, whose ids have no gaps, and for each model its row of every
            id, -1 where it lacks the token.
        tensors: by model, (rows, ...); only the number of rows and the dtype may differ.

    Attributes:
        rows: number of rows of the output, padding included.

    Raises:
        ValueError: the shapes don't fit, or `tokens:` names a model that isn't there.
    """

    def __init__(
        self,
        task: PermutedVocabulary,
        info: TokenizerInfo,
        tensors: Mapping[ModelReference, torch.Tensor],
    ) -> None:
        self._models = list(tensors)
        self._givers = list(vocabulary_views(list(tensors.values()), 0))
        self._dtype = functools.reduce(torch.promote_types, (t.dtype for t in tensors.values()))
        vocabulary = info.tokenizer.get_vocab()
        self._tokens = len(vocabulary)
        multiple = task.pad_to_multiple_of or 1
        self.rows = -(-self._tokens // multiple) * multiple

        ids = range(self._tokens)
        rows = [info.permutations[model] for model in self._models]
        own = torch.tensor([[row[i] for i in ids] for row in rows])
        # Who gives a token's row to the models that lack it: the base model if it has the token,
        # else all that do, on average.
        gives = own >= 0
        if task.base_model in self._models:
            base = self._models.index(task.base_model)
            gives &= ~gives[base]
            gives[base] = own[base] >= 0

        # The rows that `tokens:` chooses are one more giver.
        chosen: dict[int, torch.Tensor] = {}
        for token, setting in (task.tokens or {}).items():
            i = vocabulary.get(token)
            if i is None or (bool((own[:, i] >= 0).all()) and not setting.force):
                continue
            row = task.compute_default_embedding(
                info, dict(tensors), info.permutations, token, i, setting
            )
            chosen[i] = row.to(self._dtype)
            if setting.force:
                own[:, i] = -1
            gives[:, i] = False
        given = torch.full((1, self._tokens), -1)
        if chosen:
            given[0, list(chosen)] = torch.arange(len(chosen))
            self._givers.append(torch.stack(list(chosen.values())))
            gives = torch.cat((gives, given >= 0))
        lost = (~gives.any(0)).nonzero()[:, 0].tolist()
        if lost:
            tokens = {i: token for token, i in vocabulary.items()}
            some = ", ".join(repr(tokens[i]) for i in lost[:SHOWN])
            LOG.warning("%d tokens are in no model, their rows are zero: %s", len(lost), some)

        device = self._givers[0].device
        self._gives = gives.to(device)
        self._rows = torch.cat((own, given))[: len(self._givers)].to(device)

    def parts(self, *, whole: bool = False) -> Iterator[dict[ModelReference, torch.Tensor]]:
        """Some rows of every model at a time, in the order of the output and in one dtype.

        Args:
            whole: all of them at once, for a method that does not merge rows by themselves.
        """
        if whole:
            pieces = [*self.parts()]
            yield {model: torch.cat([one[model] for one in pieces]) for model in self._models}
            return
        first = self._givers[0]
        step = STEP if first.device.type == "cpu" else GPU_STEP
        step = max(1, step * len(first) // max(1, first.numel()))
        for start in range(0, self._tokens, step):
            rows = slice(start, min(start + step, self._tokens))
            yield dict(zip(self._models, self._aligned(self._givers, rows), strict=True))
        if self.rows > self._tokens:
            yield dict(zip(self._models, self._padding(), strict=True))

    def keep(
        self, merged: torch.Tensor, reward: ModelReference, base: ModelReference | None
    ) -> None:
        """Write the rows that no merge may change, as the one model has them.

        A token of one model alone has that model's row (DogeRM, section 3.2), and one that the
        pretrained base lacks has no task vector: it is the reward model's row, or where that lacks
        it too, the others' mean.

        Args:
            merged: (rows, ...), all rows of the output; is changed.
            reward: the reward model.
            base: the pretrained base; None where the method has none.
        """
        own = self._rows[: len(self._models)] >= 0
        lone = own.sum(0) == 1
        if base is not None:
            lone |= ~own[self._models.index(base)]
        step = max(1, STEP * len(merged) // max(1, merged.numel()))
        mine = self._models.index(reward)
        for ids in lone.nonzero()[:, 0].split(step):
            rows = self._rows[mine, ids]
            kept = self._stand_in(self._givers, ids)
            has = rows >= 0
            kept[has] = self._givers[mine][rows[has]].to(self._dtype)
            merged[ids] = kept.to(merged.dtype)

    def _aligned(self, givers: list[torch.Tensor], part: slice) -> list[torch.Tensor]:
        """Every model's rows of the ids in `part`."""
        own = self._rows[: len(self._models), part]
        result = [
            giver.index_select(0, rows.clamp(min=0)).to(self._dtype)
            for giver, rows in zip(givers, own, strict=False)
        ]
        lacking = (own < 0).any(0).nonzero()[:, 0]
        if len(lacking):
            stand_in = self._stand_in(givers, lacking + part.start)
            for aligned, rows in zip(result, own, strict=True):
                gone = rows[lacking] < 0
                aligned[lacking[gone]] = stand_in[gone]
        return result

    def _stand_in(self, givers: list[torch.Tensor], ids: torch.Tensor) -> torch.Tensor:
        """The row that models get for tokens that they lack."""
        gives = self._gives[:, ids]
        count = gives.sum(0)
        shape = (len(ids), *givers[0].shape[1:])
        result = torch.zeros(shape, dtype=self._dtype, device=givers[0].device)
        for giver, rows, here in zip(givers, self._rows[:, ids], gives, strict=True):
            alone, among = here & (count == 1), here & (count > 1)
            result[alone] = giver[rows[alone]].to(self._dtype)  # 0 + -0 would be 0
            result[among] += giver[rows[among]]
        for number in range(2, len(givers) + 1):
            result[count == number] /= number
        return result

    def _padding(self) -> list[torch.Tensor]:
        """Every model's rows beyond the tokens: the mean of its aligned ones."""
        first = self._givers[0]
        width = first.shape[-1]
        # the last block is the widest: the mean of few columns is summed in another order
        starts = range(0, max(1, width - COLUMNS), COLUMNS) if first.device.type == "cpu" else [0]
        means: list[list[torch.Tensor]] = [[] for _ in self._models]
        for start, stop in pairwise([*starts, width]):
            columns = [giver[..., start:stop] for giver in self._givers]
            aligned = self._aligned(columns, slice(0, self._tokens))
            for mean, rows in zip(means, aligned, strict=True):
                mean.append(rows.mean(0))
        rest = self.rows - self._tokens
        return [torch.cat(mean, -1).expand(rest, *first.shape[1:]) for mean in means]
