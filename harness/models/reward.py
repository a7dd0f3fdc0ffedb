# SPDX-License-Identifier: Apache-2.0
"""``lm_eval --model reward``: a sequence-classification reward model inside lm-eval.

A subclass of lm-eval's ``hf`` model, so device, dtype, PEFT, quantization, ``accelerate launch``,
batch size and the rest of ``--model_args`` work as they do there; `harness.models.scoring` says how
conversations are scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

from transformers import AutoModelForSequenceClassification

from dogerm_plugin.anatomy.adapted_model import trunk_of, without_load_report
from harness.errors import HarnessError
from harness.models.combination import Combination
from harness.models.load import adapters, completeness, reward_loader
from harness.models.load.head import (
    check_several_rewards,
    check_single_reward,
    several_labels,
    without_adapter_wrapper,
)
from harness.models.score.encoder import Encoded
from harness.models.score.finite import Score
from harness.models.score.scorer import Scorer
from harness.models.score.sharing import kernel_of, share_prefix_of
from harness.models.scoring import ScoringLM
from harness.models.weighted import WEIGHTED, Weighted, of_model
from harness.rows.answer import REWARD, Answer

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import CacheHook


class Reward(ScoringLM):
    """A reward model; the arguments of `ConversationLM`, and six of its own.

    Args:
        pretrained: path, Hub id, or a loaded model.
        head_dtype: ``float32``, or ``auto`` for the dtype that the checkpoint loads in.
        head_activation: what stands between the layers of a head of several, where the checkpoint
            does not say: ``relu``, ``gelu``, ``silu``, ``tanh`` or ``linear`` (nothing).
        share_prefix: compute what several conversations begin with once, where the model allows it;
            False scores each conversation by itself in padded batches; ``parts``, ``varlen`` or
            ``flex`` is how attention is then computed (`harness.models.score.tree_kernels`).
        combine: for a checkpoint of several heads on one trunk, each of whose labels is a reward:
            ``mean``, ``min``, ``mean-std`` or ``rank-mean``; see `harness.models.combine`; or
            ``weighted``; see `harness.models.weighted`.
        k: the weight of the standard deviation, for ``combine=mean-std`` (default 1).
        weights: of the heads, for ``combine=weighted``, with ``;`` between (default: the model's).

    Raises:
        HarnessError: the checkpoint is no reward model, or an argument makes no sense here.
    """

    AUTO_MODEL_CLASS = AutoModelForSequenceClassification
    KIND: ClassVar[str] = REWARD
    IS: ClassVar[str] = "the reward model"

    def __init__(
        self,
        pretrained: Any = None,
        *,
        head_dtype: str = "float32",
        head_activation: str | None = None,
        share_prefix: bool | str = True,
        combine: str | None = None,
        k: float | None = None,
        weights: str | float | None = None,
        **kwargs: Any,
    ) -> None:
        for name, value, rule in (("k", k, "mean-std"), ("weights", weights, WEIGHTED)):
            if combine is None and value is not None:
                raise HarnessError(
                    f"{name}={value} is for combine={rule}, and there is no combine="
                )
        self.combination = None if combine is None else _combination(combine, k, weights)
        if str(head_dtype) not in ("float32", "auto"):
            raise HarnessError(f"head_dtype={head_dtype} is unknown; it is float32 or auto")
        shares, kernel = share_prefix_of(share_prefix)
        for name in ("autogptq", "gptqmodel"):
            if kwargs.get(name):
                raise HarnessError(
                    f"{name}= loads a language model; a quantized reward model loads by its own "
                    "quantization_config, or with load_in_4bit=True (needs bitsandbytes)"
                )
        self.head_activation = head_activation
        super().__init__(pretrained, **kwargs)
        self.heads: list[str] = []
        if self.combination is None:
            check_single_reward(self.model)
        else:
            self.heads = check_several_rewards(self.model, self.combination.rule)
            if self.combination.rule == WEIGHTED:
                folder = None if self.adapter is None else self.adapter.folder
                self.combination = of_model(self.model.config, folder, self.heads, weights)
        self.scorer = Scorer(
            self.model,
            self.device,
            float32_head=str(head_dtype) == "float32",
            autocast=self.mixed_precision_dtype,
            share_prefix=shares,
            kernel=kernel,
        )

    def may_share_batch(self, length: int, other: int) -> bool:
        """Whether rows of these lengths (in tokens) may be scored in one batch."""
        return self.scorer.may_share_batch(length, other)

    def may_share_beginning(self, lengths: Sequence[int]) -> bool:
        """Whether rows of these lengths may be scored together, their common beginning once."""
        sharing = self.scorer.sharing
        return sharing is not None and sharing.may_share(lengths)

    def tree_scores(self, groups: Sequence[Sequence[Encoded]]) -> Sequence[Sequence[Score]]:
        """The rewards of groups of rows that begin alike."""
        assert self.scorer.sharing is not None
        return self.scorer.sharing([[row.ids for row in group] for group in groups])

    def scores(self, rows: Sequence[Encoded]) -> Sequence[Score]:
        """The rewards of a batch of rows, in their order; of each head where there are several."""
        return self.scorer([row.ids for row in rows])

    def answer(self, score: Any, row: Encoded) -> Answer:
        """A row's answer: its reward, or what its heads' rewards make together."""
        if self.combination is None:
            return super().answer(score, row)
        return self.combination.answer(score, row.truncated)

    def settled(self, requests: Sequence[Instance], answers: Sequence[Answer]) -> list[Answer]:
        """The answers to all requests; see `Combination.settled`."""
        if self.combination is None:
            return super().settled(requests, answers)
        return self.combination.settled(requests, answers)

    def set_cache_hook(self, cache_hook: CacheHook) -> None:
        """Take the cache of ``--use_cache``; see `Combination.refuse_cache`."""
        if self.combination is not None:
            self.combination.refuse_cache(cache_hook)
        super().set_cache_hook(cache_hook)

    def release(self) -> None:
        """Let go of the weights; what it knows of processes, template and tokenizer stays."""
        del self._model, self.scorer

    def identity(self) -> dict[str, str]:
        """What a reward depends on beside the conversation."""
        return {
            **super().identity(),
            "head_dtype": self.scorer.head_dtype,
            "head_activation": str(self.head_activation),
            **(self.combination.identity if self.combination else {}),
        }

    def get_model_info(self) -> dict[str, Any]:
        """What results.json says about the model, and how the rewards came about."""
        return {
            **super().get_model_info(),
            "model_head_dtype": self.scorer.head_dtype,
            "model_own_forward": self.scorer.own_forward,
            "model_shares_prefixes": self.scorer.shares_prefixes,
            "model_pack_attention": kernel_of(self.scorer.sharing),
            **({**self.combination.info, "heads": self.heads} if self.combination else {}),
        }

    def _create_model(self, pretrained: str, *, peft: str | None = None, **kwargs: Any) -> None:
        """Load as HFLM does, with the head that the checkpoint has, and refuse a random one."""
        supplied: Mapping[str, tuple[int, ...]] = {}
        own = False  # whether the adapter brings the head
        loader = completeness.RecordingLoader(type(self).AUTO_MODEL_CLASS)
        if self.adapter is not None:
            supplied = self.adapter.whole
            head = self.adapter.head(trunk_of(self.config))
            outputs = {shape[0] for shape in head.values() if len(shape) == 2}
            if self.combination is None and len(outputs) == 1 and outputs != {1}:
                shapes = ", ".join(f"{name} {list(shape)}" for name, shape in head.items())
                raise HarnessError(several_labels(outputs.pop(), shapes))
            own = outputs == {1} or (self.combination is not None and len(outputs) == 1)
            if own:
                # A language model's config knows no labels, a reward model's head may have
                # another number of them: the adapter's is the one.
                kwargs.setdefault("num_labels", *outputs)
                kwargs.setdefault("ignore_mismatched_sizes", True)  # refused below, but the head
        if not own:
            folder = self.adapter.folder if self.adapter is not None else None
            loader = reward_loader.loader_for(
                pretrained, self.config, loader.auto_class, self.head_activation, folder, **kwargs
            )
        self.AUTO_MODEL_CLASS = loader  # type: ignore[assignment]
        try:
            quiet = without_load_report() if own else nullcontext()
            with quiet:
                super()._create_model(pretrained, peft=peft, **kwargs)
        except (ValueError, RuntimeError) as error:
            explained = completeness.explain_loading_error(pretrained, error)
            if explained is None:
                raise
            raise explained from error
        finally:
            del self.AUTO_MODEL_CLASS
        if own:
            adapters.forget_base_head(self._model)
        completeness.refuse_if_incomplete(
            pretrained,
            getattr(self.config, "architectures", None),
            [*loader.missing, *loader.mismatched],
            str(getattr(without_adapter_wrapper(self._model), "base_model_prefix", "")),
            supplied,
        )


def _combination(rule: str, k: Any, weights: Any) -> Combination:
    """What ``combine=`` asks for; the weights of a weighted sum are found when the model is there.

    Raises:
        HarnessError: an unknown rule, or what is another one's.
    """
    if weights is not None and rule != WEIGHTED:
        raise HarnessError(f"weights={weights} is for combine={WEIGHTED}, and this is {rule}")
    if rule != WEIGHTED:
        return Combination.read(rule, k, [WEIGHTED])
    if k is not None:
        raise HarnessError(f"k={k} is for combine=mean-std, and this is combine={rule}")
    return Weighted()
