# SPDX-License-Identifier: Apache-2.0
"""Two embeddings of unlike vocabularies, aligned and merged: by mergekit's rows, and by gather.

``python -m tests.benchmarks.aligned`` with ``time align`` or ``time merge`` prints the seconds of
both as JSON, ``equal merge`` whether they give the same bits. ``memory ours``, ``memory peer`` and
``memory neither`` merge once, or not at all, for what the process takes at its peak.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from types import SimpleNamespace

import torch
from mergekit.architecture import WeightInfo
from mergekit.common import ImmutableMap, ModelReference
from mergekit.io.tasks import GatherTensors
from mergekit.merge_methods import registry
from mergekit.merge_methods.task_adapter import ExecuteMergeMethodTask
from mergekit.tokenizer import BuildTokenizer, PermutedVocabulary, TokenizerInfo

from dogerm_plugin.host.alignment import Alignment, MergeAligned
from dogerm_plugin.methods.reward_preserving_linear import METHOD
from tests.benchmarks.measure import alternate

TOKENS, WIDTH = 128_256, 4096
BYTES = TOKENS * WIDTH * 2  # of one embedding in bfloat16
OWN = 1000  # tokens that only one of the models has, of each
NAME = "model.embed_tokens.weight"


class Case:
    """The inputs of both sides."""

    def __init__(self, width: int) -> None:
        torch.manual_seed(0)
        models = [ModelReference.model_validate(name) for name in ("reward", "domain")]
        self.task = PermutedVocabulary(
            gather_tensors=GatherTensors(
                weight_info=ImmutableMap({model: WeightInfo(name=NAME) for model in models})
            ),
            tokenizer_task=BuildTokenizer(
                base_model=models[0],
                referenced_models=tuple(models),
                tokenizer_source="union",
                add_tokens=(),
            ),
            tokens={},
            pad_to_multiple_of=None,
            base_model=models[0],
            vocabulary_axis=0,
        )
        vocabulary = {f"token {number}": number for number in range(TOKENS)}
        rows = [list(range(TOKENS)), torch.randperm(TOKENS).tolist()]
        for number in range(OWN):
            rows[0][50 * number] = rows[1][50 * number + 25] = -1
        self.info = TokenizerInfo.model_construct(
            tokenizer=SimpleNamespace(get_vocab=lambda: vocabulary),
            permutations={m: dict(enumerate(own)) for m, own in zip(models, rows, strict=True)},
            original_vocabs={},
        )
        self.tensors = {
            model: torch.empty(TOKENS, width, dtype=torch.bfloat16).uniform_(-1, 1)
            for model in models
        }

    def align(self) -> None:
        """Every aligned row of both models, by gather."""
        for _ in Alignment(self.task, self.info, self.tensors).parts():
            pass

    def align_by_mergekit(self) -> dict[ModelReference, torch.Tensor]:
        aligned: dict[ModelReference, torch.Tensor] = self.task.execute(self.info, self.tensors)
        return aligned

    def merge(self) -> torch.Tensor:
        """Align and merge, our way."""
        merged = self._merge(MergeAligned).execute(self.tensors, tokenizer_info=self.info)
        assert merged is not None
        return merged

    def merge_after_mergekit(self) -> torch.Tensor:
        """mergekit's alignment, then our formula: the merge of a recipe without `MergeAligned`."""
        merged = self._merge(ExecuteMergeMethodTask).execute(self.align_by_mergekit())
        assert merged is not None
        return merged

    def _merge(self, kind: type[ExecuteMergeMethodTask]) -> ExecuteMergeMethodTask:
        models = tuple(self.tensors)
        declared = registry.get(METHOD.name).spec.input_parameters
        defaults = {one.name: one.default for one in declared}
        parameters = ImmutableMap({**defaults, "weight": 0.3})
        return kind(
            method_name=METHOD.name,
            gather_tensors=self.task,
            model_order=models,
            base_model=models[0],
            output_weight=WeightInfo(name=NAME, vocabulary_axis=0),
            parameters=ImmutableMap({"result_dtype": None}),
            input_parameters=ImmutableMap(dict.fromkeys(models, parameters)),
        )


SIDES: dict[str, tuple[Callable[[Case], object], Callable[[Case], object]]] = {
    "align": (Case.align, Case.align_by_mergekit),
    "merge": (Case.merge, Case.merge_after_mergekit),
}


def main(what: str, side: str) -> None:
    """See the module."""
    case = Case(8 if side == "neither" else WIDTH)
    if what == "time":
        ours, peer = (partial(run, case) for run in SIDES[side])
        print(json.dumps(asdict(alternate(ours, peer))))
    elif what == "equal":
        merged = [one.view(torch.int16) for one in (case.merge(), case.merge_after_mergekit())]
        print(json.dumps(torch.equal(*merged)))
    elif side != "neither":
        SIDES["merge"][side == "peer"](case)


if __name__ == "__main__":
    main(*sys.argv[1:])
