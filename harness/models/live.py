# SPDX-License-Identifier: Apache-2.0
"""One loaded reward model whose body is overwritten by one merge after another.

The merged tensors come from mergekit's own tasks (`dogerm_plugin.run.in_memory`), one at a time,
and are written into the loaded model's parameters. The head stays as it was loaded, which is what a
merge keeps, or is merged where the method averages heads.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from harness.errors import HarnessError
from harness.models.load.head import body_of
from harness.models.reward import Reward
from harness.models.score.encoder import Encoded
from harness.models.score.requests import conversation_key

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import CacheHook
    from mergekit.config import MergeConfiguration

    from dogerm_plugin.run.in_memory import Merges


class LiveReward(Reward):
    """``--model reward`` that renders and tokenizes a conversation once, however often it scores.

    Args:
        pretrained: as `Reward` takes it, like the other arguments.
        quiet: no progress bar, for what has a progress of its own.
        remember: keep the tokens of conversations for the next weights.

    Raises:
        HarnessError: an argument that makes a model whose weights can't be written, or as `Reward`.
    """

    def __init__(
        self,
        pretrained: Any = None,
        *,
        quiet: bool = True,
        remember: bool = True,
        **kwargs: Any,
    ) -> None:
        for name in ("peft", "delta", "load_in_4bit", "load_in_8bit", "gguf_file"):
            if kwargs.get(name):
                raise HarnessError(
                    f"--model_args {name}=: merged weights are written into the loaded model, so "
                    f"it can't have {name}; merge an adapter into the recipe's models instead "
                    "(model+adapter)"
                )
        super().__init__(pretrained, **kwargs)
        self._quiet, self._remember = quiet, remember
        self._encoded: dict[bytes, tuple[array[int], bool]] = {}

    def encode(self, request: Instance) -> Encoded:
        """The token ids of a request's conversation, kept for the next weights."""
        if not self._remember:
            return super().encode(request)
        key = conversation_key(request)
        if key not in self._encoded:
            encoded = super().encode(request)
            self._encoded[key] = array("i", encoded.ids), encoded.truncated
        ids, truncated = self._encoded[key]
        return Encoded(list(ids), truncated)

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[Any, ...]]:
        """See `ScoringLM.loglikelihood`.

        The counts of rows that the results give are those of these requests, not of all weights.
        """
        self.scored_rows = self.truncated_rows = 0
        return super().loglikelihood(requests, disable_tqdm or self._quiet)

    def set_cache_hook(self, cache_hook: CacheHook) -> None:
        """Refuse a cache: its keys don't tell one merge from another."""
        if cache_hook.dbdict is not None:
            raise HarnessError("--use_cache can't serve a model whose weights change")
        super().set_cache_hook(cache_hook)


class LiveMerge:
    """Writes merges into a loaded reward model.

    Args:
        merges: the recipe's models.
        model: the loaded reward model, or a merge of this recipe, as transformers gives it.

    Raises:
        HarnessError: the loaded model's tensors are not those that the merge makes.
    """

    def __init__(self, merges: Merges, model: torch.nn.Module) -> None:
        self._merges = merges
        reward = merges.layout.reward
        body = body_of(model)
        self._trunk = model if body is None else body
        self._state: Mapping[str, torch.Tensor] = dict(
            [*self._trunk.named_parameters(remove_duplicate=False), *self._trunk.named_buffers()]
        )
        on_meta = [name for name, tensor in self._state.items() if tensor.is_meta]
        if on_meta:
            raise HarnessError(
                f"{on_meta[0]} was offloaded: the model does not fit the device; use a larger one, "
                "or several with --model_args parallelize=True"
            )
        # Name in the output -> name in the trunk. The class holds some tensors otherwise than they
        # are stored (joined experts): these are converted when all parts of one are there.
        by_stored = {stored: relative for relative, stored in reward.body.items()}
        self._target: dict[str, str] = {}
        self._parts: dict[str, list[str]] = defaultdict(list)
        self._converted: set[str] = set()
        for name in [*merges.layout.body, *merges.layout.kept]:
            # no stored tensor: made by a conversion, and called as the class calls it
            relative = by_stored.get(name, name.removeprefix(reward.prefix))
            target = reward.fused.get(relative, relative)
            self._target[name] = target
            self._parts[target].append(name)
            if target != relative:
                self._converted.add(target)
        if merges.layout.joined is not None:
            own = dict(model.named_parameters())
            for name in merges.layout.joined.dtypes:
                target = reward.head[name]
                self._state = {**self._state, target: own[target]}
                self._target[name] = target
                self._parts[target].append(name)
        self._check_covered()

    def set(self, config: MergeConfiguration) -> None:
        """Write the merge that `config` gives into the model.

        Raises:
            MergeError: see `Merges.tensors`; the model then holds no merge at all, and must be set
                again before it scores.
        """
        self._write(self._merges.tensors(config))

    def unmerge(self) -> None:
        """Write the reward model's own body into the model, as its files have it.

        Raises:
            MergeError: a file that can't be read, or has changed.
        """
        self._write(self._merges.unmerged())

    def check_unmerged(self) -> None:
        """`check` against the reward model's own body."""
        self._check(self._merges.unmerged())

    def check(self, config: MergeConfiguration) -> None:
        """Hold the model, as it was loaded, against the merge that `config` gives; set it to that.

        A recipe's `out_dtype` rounds what a merge writes and not what was loaded: where the two
        dtypes differ, so may the numbers by as much as rounding can do.

        Raises:
            HarnessError: a tensor of the loaded model has other values.
        """
        self._check(self._merges.tensors(config))

    def _write(self, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
        with torch.no_grad():
            for target, tensor in self._held(tensors):
                held = self._state[target]
                if held.shape != tensor.shape:  # else some would be broadcast without a word
                    raise HarnessError(
                        f"{self._merges.layout.reward.model}: the loaded model's {target} is "
                        f"{list(held.shape)} and the merge's {list(tensor.shape)}, so it can't be "
                        "merged in memory; merge with mergekit-yaml"
                    )
                held.copy_(tensor)

    def _check(self, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
        with torch.no_grad():
            for target, tensor in self._held(tensors):
                held = self._state[target]
                wanted = tensor.to(device=held.device, dtype=held.dtype)
                if torch.equal(held, wanted):
                    continue
                if tensor.dtype == held.dtype or not _equal_but_for_rounding(held, wanted):
                    raise HarnessError(
                        f"{self._merges.layout.reward.model}: the loaded model's tensor {target} "
                        "is not the one that a merge would write, so it can't be merged in memory; "
                        "merge with mergekit-yaml and compare with dogerm compare"
                    )
                held.copy_(wanted)

    def _held(
        self, tensors: Iterable[tuple[str, torch.Tensor]]
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """A merge as the class holds it: each tensor's name in the trunk, and the tensor."""
        waiting: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
        for name, tensor in tensors:
            target = self._target.get(name)
            if target is None:
                continue  # the head
            if target not in self._converted:
                yield target, tensor
                continue
            parts = waiting[target]
            parts[name] = tensor
            if len(parts) == len(self._parts[target]):
                yield target, self._convert(target, waiting.pop(target))

    def _convert(self, target: str, parts: dict[str, torch.Tensor]) -> torch.Tensor:
        from mergekit.architecture.conversion import convert_checkpoint_tensors

        reward = self._merges.layout.reward
        sources: dict[str, Any] = {name: (lambda name=name: parts[name]) for name in parts}
        name = f"{reward.prefix}{target}"
        tensor = convert_checkpoint_tensors(reward.config.model_type, sources, name)
        if tensor is None:
            raise HarnessError(f"{reward.model}: {len(parts)} tensors don't convert to {name}")
        return tensor

    def _check_covered(self) -> None:
        covered = {id(self._state[name]) for name in self._parts if name in self._state}
        lacking = [
            name
            for name, parameter in self._trunk.named_parameters()
            if id(parameter) not in covered
        ]
        unknown = [name for name in self._parts if name not in self._state]
        if lacking or unknown:
            raise HarnessError(
                f"{self._merges.layout.reward.model}: {type(self._trunk).__name__} as loaded "
                f"{'lacks ' + unknown[0] if unknown else 'has ' + lacking[0]}, which the merge "
                f"{'makes' if unknown else 'does not make'}: it can't be merged in memory; merge "
                "with mergekit-yaml and compare with dogerm compare"
            )


def _equal_but_for_rounding(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether numbers differ by no more than two roundings to bfloat16 or float16 can do."""
    return a.shape == b.shape and torch.allclose(a.float(), b.float(), rtol=2**-7, atol=1e-7)
