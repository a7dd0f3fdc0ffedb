# SPDX-License-Identifier: Apache-2.0
"""One reward model with several adapters, of which one is active at a time, head and all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from dogerm_plugin.anatomy.adapted_model import trunk_of
from dogerm_plugin.anatomy.adapter import Adapter
from harness.errors import HarnessError, first_line
from harness.models.load.head import head_modules, without_adapter_wrapper
from harness.models.reward import Reward
from harness.models.routing import adapter_set
from harness.models.score import digests
from harness.models.score.encoder import Encoded
from harness.models.score.finite import Score
from harness.models.score.requests import conversation_key
from harness.models.score.scorer import tolerance
from harness.rows.answer import Answer

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

ROUTER = "the router"


def whose(expert: str) -> str:
    """What an expert's adapter is called here, and in messages."""
    return f"the expert {expert}"


class AdaptedReward(Reward):
    """A base with experts as its adapters; the other arguments are those of `Reward`.

    Every adapter is on the model before anything looks at it, so that what is done to the head
    (its dtype, its digits) is done to the head of each.

    Args:
        base: folder or Hub id.
        adapters: read by `adapter_set.read_all`, by whose they are (`whose`); among them may be the
            `ROUTER`'s, whose head is of its own kind.
        mixed: rows of several experts share a padded batch.

    Attributes:
        active: whose adapter is active.

    Raises:
        HarnessError: see `adapter_set`; or the model can't mix its adapters.
    """

    def __init__(
        self,
        base: str,
        adapters: Mapping[str, Adapter],
        *,
        mixed: bool = False,
        chat_template: str | None = None,
        **kwargs: Any,
    ) -> None:
        self._all = dict(adapters)
        self.adapters = {name: one for name, one in adapters.items() if name != ROUTER}
        self._known_as: dict[str, str] = {}
        self._expert_of: dict[bytes, str] | None = None
        self.active = next(iter(self._all))
        if not kwargs.get("tokenizer"):
            options = {name: kwargs.get(name) for name in ("revision", "trust_remote_code")}
            adapter_set.check_tokens(self.adapters, base, chat_template, **options)
        first = str(self.adapters[self.active].folder)
        super().__init__(base, peft=first, chat_template=chat_template, **kwargs)
        if mixed:
            self._try_mixing()

    @property
    def name(self) -> str:
        """The base, and who is active unless rows of several are mixed, for messages."""
        return super().name if self._expert_of else f"{super().name} with {self.active}"

    def switch(self, name: str) -> None:
        """Make an adapter active, its head with it.

        Args:
            name: an expert's (`whose`), or `ROUTER`.
        """
        if name != self.active:
            model: Any = self.model
            model.set_adapter(self._known_as[name], inference_mode=True)
            self.active = name

    def score_mixed(self, asked: Sequence[tuple[str, Instance]], quiet: bool) -> list[Answer]:
        """The answers of several experts in common batches, in their order.

        Args:
            asked: who is to score (`whose`), and what.
            quiet: no progress bar.
        """
        self.switch(next(iter(self.adapters)))
        rounds: list[dict[bytes, str]] = []
        members: list[list[int]] = []
        for place, (expert, request) in enumerate(asked):
            key = conversation_key(request)
            # Equal conversations are scored once, so those of two experts go into two rounds.
            number = next(
                (n for n, one in enumerate(rounds) if one.get(key, expert) == expert), len(rounds)
            )
            if number == len(rounds):
                rounds.append({})
                members.append([])
            rounds[number][key] = expert
            members[number].append(place)
        answers: dict[int, Answer] = {}
        for self._expert_of, places in zip(rounds, members, strict=True):
            try:
                given = self.loglikelihood([asked[place][1] for place in places], quiet)
            finally:
                self._expert_of = None
            answers |= zip(places, map(Answer.of, given), strict=True)
        return [answers[place] for place in range(len(asked))]

    def encode(self, request: Instance) -> Encoded:
        """The token ids of a request's conversation, and who scores it in a mixed batch."""
        row = super().encode(request)
        if self._expert_of is None:
            return row
        return row._replace(expert=self._expert_of[conversation_key(request)])

    def may_share_beginning(self, lengths: Sequence[int]) -> bool:
        """Never in a mixed batch: PEFT tells adapters apart by row, and a pack is one."""
        return self._expert_of is None and super().may_share_beginning(lengths)

    def scores(self, rows: Sequence[Encoded]) -> Sequence[Score]:
        """The rewards of a batch of rows, in their order; each row's by its own adapter."""
        if not any(row.expert for row in rows):
            return super().scores(rows)
        names = [self._known_as[row.expert] for row in rows]
        model: Any = self.model
        with model._enable_peft_forward_hooks(adapter_names=names):
            return super().scores(rows)

    def identity(self) -> dict[str, str]:
        """What a reward depends on beside the conversation, with a digest of each adapter."""
        return {
            **super().identity(),
            **{name: digests.of_adapter(self.model, n) for name, n in self._known_as.items()},
        }

    def sizes(self) -> tuple[int, dict[str, int]]:
        """The numbers of weights: of the base, without a head; and what each adapter adds."""
        added = {
            name: sum(tensor.numel() for _, tensor in digests.adapter_tensors(self.model, known))
            for name, known in self._known_as.items()
        }
        inner = without_adapter_wrapper(self.model)
        replaced = [
            tensor.numel()
            for module in head_modules(inner).values()
            for path, tensor in module.named_parameters()
            if path.startswith("original_module.")
        ]
        whole = sum(tensor.numel() for tensor in self.model.parameters())
        return whole - sum(added.values()) - sum(replaced), added

    def _adapted(self, model: Any, adapter: Adapter) -> Any:
        """The loaded base with all adapters on it."""
        adapter_set.check_heads(self.adapters, trunk_of(self.config))
        made, self._known_as = adapter_set.put_all_onto(model, self._all, self.tokenizer)
        return made

    def _try_mixing(self) -> None:
        """Refuse adapters that PEFT does not mix, by what they give for made-up rows.

        Raises:
            HarnessError: an error of PEFT's, or other rewards than each adapter gives alone.
        """
        vocabulary = self.scorer.vocab_size
        rows = [
            Encoded([(7919 * index + 13 * number) % vocabulary for index in range(9)], False)
            for number in range(len(self.adapters))
        ]
        alone: list[Any] = []
        for name, row in zip(self.adapters, rows, strict=True):
            self.switch(name)
            alone += self.scores([row])
        self.switch(next(iter(self.adapters)))
        tagged = [row._replace(expert=w) for w, row in zip(self.adapters, rows, strict=True)]
        model: Any = self.model
        if hasattr(type(model.base_model), "_enable_peft_forward_hooks"):
            reason = self._why_not_mixed(tagged, alone)
        else:
            reason = f"those of type {model.peft_type.value} are not told apart by row"
        if reason:
            raise HarnessError(
                f"mixed=True: PEFT does not mix these adapters in one batch ({reason}); leave it "
                "out: rows are then grouped by expert"
            )

    def _why_not_mixed(self, rows: Sequence[Encoded], alone: Sequence[Score]) -> str:
        """Why these rows don't get these rewards in a mixed batch; empty where they do."""
        try:
            mixed = torch.tensor(self.scores(rows))
        except (ValueError, TypeError, RuntimeError, KeyError) as error:
            return first_line(error)
        rewards = torch.tensor(alone)
        allowed = tolerance(self.scorer.compute_dtype) * max(float(rewards.std()), 1e-6)
        same = bool(((rewards - mixed).abs() <= allowed).all())
        return "" if same else "a mixed batch gives other rewards than each adapter alone"
