# SPDX-License-Identifier: Apache-2.0
"""``lm_eval --model reward-implicit``: the reward that a DPO-trained policy implies.

    r(x, y) = β · (log π(y | x) − log π_ref(y | x))

(Rafailov et al., arXiv 2305.18290, eq. 5, without the term that depends on the prompt alone.) What
counts as y is what TRL's ``DPOTrainer`` counts: all tokens after the prompt rendered for
generation, the turn's end tokens included. With ``reference`` and the sum this is RewardBench's
``DPOInference``; without one, its ``sum`` and ``avg`` times β (its default without a reference, the
L2 norm of the token log-probabilities, is not a likelihood and not offered).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

from torch import nn

from harness.errors import HarnessError, first_line
from harness.models import language_model, response_cache
from harness.models.load.arguments import folder_or_hub_id, number
from harness.models.load.completeness import explain_loading_error
from harness.models.load.head import without_adapter_wrapper
from harness.models.score.encoder import Encoded
from harness.models.score.log_probs import ResponseLogProbs
from harness.models.score.reference_tokens import refuse_other_tokens
from harness.models.score.requests import conversation, named
from harness.models.score.sharing import kernel_of, share_prefix_of
from harness.models.scoring import ScoringLM

# reference=base: the policy's own base model, its adapter switched off.
BASE = "base"


class RewardImplicit(ScoringLM):
    """The implicit reward of a policy; the arguments of `ConversationLM`, and six of its own.

    Args:
        pretrained: the policy: path, Hub id, or a loaded causal language model.
        reference: path or Hub id of the model that DPO started from, loaded with the policy's
            options except ``peft`` and ``delta``; ``base`` for the policy's base model without its
            ``peft`` adapter; without it, the score is β · log π alone.
        reference_revision: the reference's revision on the Hub (``main``).
        beta: β of the DPO loss; it scales margins and changes no decision.
        normalize: ``sum`` over the response's tokens (DPO's own definition), or ``mean``, which
            does not favour short responses.
        share_prefix: compute what several conversations begin with once, where both models allow
            it; see `harness.models.reward.Reward`.

    Raises:
        HarnessError: a model is not a language model, the vocabularies differ, or an argument makes
            no sense here.
    """

    KIND: ClassVar[str] = "implicit reward"
    IS: ClassVar[str] = "the policy"
    READS_EVERY_TOKEN: ClassVar[bool] = True
    AUTO_MODEL_CLASS: Any = None  # lm-eval chooses
    _model: Any

    def __init__(
        self,
        pretrained: Any = None,
        *,
        reference: str | None = None,
        reference_revision: str | None = None,
        beta: float = 0.1,
        normalize: str = "sum",
        share_prefix: bool | str = True,
        **kwargs: Any,
    ) -> None:
        shares, kernel = share_prefix_of(share_prefix)
        self.beta = number(beta, "beta", positive=True)
        if normalize not in ("sum", "mean"):
            raise HarnessError(f"normalize={normalize} is unknown; it is sum or mean")
        self.normalize = normalize
        self.reference = None if reference is None else str(reference)
        if reference is None:  # another kind of score, which the table must not hide
            self.KIND = f"{self.KIND}, no reference"  # type: ignore[misc]
        self.reference_revision = str(reference_revision or "main")
        self.reference_model: Any = None
        if self.reference == BASE and not kwargs.get("peft"):
            raise HarnessError(
                "reference=base is the policy without its adapter, and there is no peft=; name the "
                "reference model's folder or Hub id (a folder called base: ./base)"
            )
        if reference_revision is not None and self.reference in (None, BASE):
            raise HarnessError(
                f"reference_revision={reference_revision} has no effect without reference=HUB_ID"
            )
        if self.reference not in (None, BASE):
            self.reference = folder_or_hub_id(str(reference), "reference")
        super().__init__(pretrained, **kwargs)
        if self.backend != "causal":
            raise HarnessError(
                f"{self.pretrained} is an encoder-decoder model; reward-implicit takes decoders"
            )
        if self.reference not in (None, BASE) and self.reference_model is None:
            self._create_reference(gpus=0)  # the policy came as a loaded model
        options: dict[str, Any] = {
            "autocast": self.mixed_precision_dtype,
            "share_prefix": shares,
            "kernel": kernel,
        }
        self.log_probs = ResponseLogProbs(self.model, self.device, **options)
        self.reference_log_probs: ResponseLogProbs | None = None
        if self.reference == BASE:
            self.reference_log_probs = self.log_probs
        elif self.reference is not None:
            reference_model = cast("nn.Module", self.reference_model)
            refuse_other_tokens(
                self.reference,
                reference_model,
                self.model,
                self.tokenizer,
                revision=self.reference_revision,
                trust_remote_code=kwargs.get("trust_remote_code") is True,
            )
            self.reference_log_probs = ResponseLogProbs(reference_model, self.device, **options)

    def encode(self, request: Any) -> Encoded:
        """The token ids of a request's conversation, and where the response starts in them."""
        with named(self.name, request):
            return self.encoder.encode_response(conversation(request))

    @property
    def models(self) -> dict[str, nn.Module]:
        """The policy and its reference."""
        networks = super().models
        if self.reference_model is not None:
            networks[str(self.reference)] = self.reference_model
        return networks

    def may_share_batch(self, length: int, other: int) -> bool:
        """Whether rows of these lengths (in tokens) may be scored in one batch."""
        return all(model.may_share_batch(length, other) for model in self._log_probs)

    def may_share_beginning(self, lengths: Sequence[int]) -> bool:
        """Whether rows of these lengths may be scored together, their common beginning once."""
        return all(model.may_share(lengths) for model in self._log_probs)

    def scores(self, rows: Sequence[Encoded]) -> list[float]:
        """The implicit rewards of a batch of rows, in their order."""
        return self._rewards([rows], lambda model: [model(rows)])[0]

    def tree_scores(self, groups: Sequence[Sequence[Encoded]]) -> list[list[float]]:
        """The implicit rewards of groups of rows that begin alike."""
        return self._rewards(groups, lambda model: model.trees(groups))

    def _rewards(
        self,
        groups: Sequence[Sequence[Encoded]],
        sums_of: Callable[[ResponseLogProbs], list[list[float]]],
    ) -> list[list[float]]:
        ours = sums_of(self.log_probs)
        theirs = [[0.0] * len(rows) for rows in groups]
        if self.reference_log_probs is not None:
            with self._without_adapter():
                theirs = sums_of(self.reference_log_probs)
        return [
            [
                self.beta * (own - other) / self._divisor(row)
                for row, own, other in zip(*of_group, strict=True)
            ]
            for of_group in zip(groups, ours, theirs, strict=True)
        ]

    def _divisor(self, row: Encoded) -> int:
        return len(row.ids) - row.start if self.normalize == "mean" else 1

    @property
    def _log_probs(self) -> list[ResponseLogProbs]:
        return [one for one in (self.log_probs, self.reference_log_probs) if one is not None]

    def identity(self) -> dict[str, str]:
        """What an implicit reward depends on beside the conversation."""
        made = {
            **super().identity(),
            "reference": f"{self.reference} {self.reference_revision}",
            "beta": str(self.beta),
            "normalize": self.normalize,
        }
        if self.reference_model is not None:
            parts = response_cache.identity_of_model(self.reference_model)
            made.update({f"reference_{name}": value for name, value in parts.items()})
        return made

    def get_model_info(self) -> dict[str, Any]:
        """What results.json says about the model, and how the rewards came about."""
        return {
            **super().get_model_info(),
            "reference": self.reference,
            "beta": self.beta,
            "normalize": self.normalize,
            "model_shares_prefixes": self.may_share_beginning([1]),
            "model_pack_attention": kernel_of(self.log_probs.sharing),
        }

    def _get_backend(self, config: Any, **kwargs: Any) -> None:
        name = str(getattr(config, "_name_or_path", "") or "the policy")
        language_model.refuse_reward_model(
            config, name, f"use --model reward --model_args pretrained={name}"
        )
        super()._get_backend(config=config, **kwargs)

    def _create_model(self, pretrained: str, **kwargs: Any) -> None:
        """Load the policy as HFLM does, and then the reference."""
        self._load(pretrained, **kwargs)
        if self.reference in (None, BASE):
            return
        options = {"peft": None, "delta": None, "gguf_file": None, "subfolder": ""}
        # The reference says itself how it is quantized; the policy's word is not for it.
        options["quantization_config"] = None
        self._create_reference(**{**kwargs, **options})

    def _create_reference(self, **kwargs: Any) -> None:
        policy = self._model
        try:
            self._load(str(self.reference), **{**kwargs, "revision": self.reference_revision})
        except HarnessError:
            raise
        except (OSError, ValueError) as error:
            why = explain_loading_error(str(self.reference), error) or first_line(error)
            raise HarnessError(f"reference={self.reference}: can't be loaded ({why})") from error
        self.reference_model, self._model = self._model.eval(), policy

    def _load(self, pretrained: str, **kwargs: Any) -> None:
        """Load as HFLM does, and refuse what is no complete language model."""
        auto_class = self.AUTO_MODEL_CLASS
        loader = language_model.LanguageModelLoader(auto_class)
        self.AUTO_MODEL_CLASS = loader
        try:
            super()._create_model(pretrained, **kwargs)
        finally:
            self.AUTO_MODEL_CLASS = auto_class
        model = without_adapter_wrapper(self._model)
        way_out = "name a causal language model, or use --model reward"
        language_model.refuse_reward_model(model.config, pretrained, way_out)
        language_model.refuse_incomplete_model(loader, model.config, pretrained, kwargs)
        language_model.refuse_reward_head(loader, model, pretrained, way_out, kwargs)

    def _without_adapter(self) -> Any:
        return self.model.disable_adapter() if self.reference == BASE else contextlib.nullcontext()
