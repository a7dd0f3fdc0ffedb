# SPDX-License-Identifier: Apache-2.0
"""``lm_eval --model reward-ensemble``: several reward models, one number.

    lm_eval --model reward-ensemble --model_args 'pretrained=rm-a;rm-b;rm-c,combine=min' --tasks ...
    lm_eval --model reward-ensemble --model_args 'pretrained=BASE,adapters=A;B;C' --tasks ...

``mean``, ``min`` and ``mean-std`` are the mean, worst-case and uncertainty-weighted optimisation of
Coste et al. (arXiv 2310.02743), the last with the standard deviation in place of the variance. They
take the raw rewards: a member whose rewards spread ten times as far has ten times the say, so use
them for members of one scale (the same training, other seeds), and ``rank-mean`` for others. A rank
says nothing beyond its document: the details of such an answer hold ``within_document: True``.

Members that are adapters of one base take turns on it, each with its head, and the base is in
memory once.

All members stay loaded: a mistake in the last one is found before the first has scored, and
``--use_cache`` needs to know all of them. Where memory does not suffice, ``dtype=bfloat16``,
``parallelize=True`` and, with bitsandbytes installed, ``load_in_4bit=True`` hold for every member.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lm_eval.api.model import LM, CacheHook
from lm_eval.models.huggingface import HFLM

from harness.models import response_cache
from harness.models.adapted_members import adapted_members
from harness.models.combination import Combination
from harness.models.ensemble_members import member_names
from harness.models.load.arguments import parameters, refuse_misspelt
from harness.models.load.processes import MemberProcesses
from harness.models.only_scores import OnlyScores
from harness.models.reward import Reward
from harness.models.score.kept_answers import keep
from harness.models.score.requests import answer_to
from harness.rows.answer import Answer
from harness.rows.conversation import Message

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold


class RewardEnsemble(OnlyScores, MemberProcesses, LM):
    """Several reward models; every argument of `Reward`, given to each, and four of its own.

    Args:
        pretrained: folders or Hub ids, two or more: a list, or a text with ``;`` between them.
        adapters: in their place: LoRA adapters with a reward head each, folders or Hub ids, of the
            one base that ``pretrained`` names.
        combine: ``mean``, ``min``, ``mean-std`` or ``rank-mean``; see `harness.models.combine`. For
            ``rank-mean`` a score is comparable only within its document.
        k: the weight of the standard deviation, for ``mean-std`` (default 1).

    Raises:
        HarnessError: fewer than two members or one twice, an argument that makes no sense, or what
            `Reward` refuses.
    """

    def __init__(
        self,
        pretrained: str | Sequence[str] | None = None,
        *,
        adapters: str | Sequence[str] | None = None,
        combine: str = "mean",
        k: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        refuse_misspelt(kwargs, parameters(Reward, HFLM) | {"adapters", "combine", "k"})
        self.combination = Combination.read(combine, k)
        self.members: Sequence[Any]
        if adapters is None:
            self.names = member_names(pretrained)
            self.members = [Reward(name, **kwargs) for name in self.names]
        else:
            self.names = member_names(adapters, "adapters")
            base = pretrained if isinstance(pretrained, str) else None
            self.members = adapted_members(base, self.names, **kwargs)

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[Any, ...]]:
        """The combined reward of each request's conversation, as ``(reward, False)``.

        This project's tasks get an `Answer` whose details hold ``members``, each member's reward in
        the order of ``pretrained``; ``truncated``, whether any member lost the beginning; and
        ``within_document``, whether the score can be compared only with those of its document.
        """
        by_member: list[list[Answer]] = []
        for name, member in zip(self.names, self.members, strict=True):
            logger.info("scoring with %s", name)
            results = member.loglikelihood(requests, disable_tqdm=disable_tqdm)
            by_member.append([Answer.of(result) for result in results])
        answers = [
            self.combination.answer(
                [one.score for one in row],
                any(one.details.get("truncated", False) for one in row),
            )
            for row in zip(*by_member, strict=True)
        ]
        combined = self.combination.settled(requests, answers)
        keep(self.cache_hook, requests, combined)
        return [answer_to(*pair) for pair in zip(requests, combined, strict=True)]

    def apply_chat_template(
        self, chat_history: list[Message], add_generation_prompt: bool = True
    ) -> str:
        """The prompt as the first member renders it, for logs; each scores in its own template."""
        return self.members[0].apply_chat_template(chat_history, add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str:
        """The first member's template; each member refuses a name that is not the one it uses."""
        first, *_ = [member.chat_template(chat_template) for member in self.members]
        return first

    @property
    def tokenizer_name(self) -> str:
        """All members' tokenizers, for lm-eval's cache of requests."""
        return "__".join(member.tokenizer_name for member in self.members)

    def set_cache_hook(self, cache_hook: CacheHook) -> None:
        """Take the cache of ``--use_cache``, if these members filled it or it is new.

        Raises:
            HarnessError: for ``rank-mean``; see `Combination.refuse_cache`.
        """
        self.combination.refuse_cache(cache_hook)
        response_cache.claim_hook(cache_hook, self)
        super().set_cache_hook(cache_hook)

    def identity(self) -> dict[str, str]:
        """What a combined reward depends on beside the conversation."""
        members = [json.dumps(member.identity(), sort_keys=True) for member in self.members]
        return {
            **self.combination.identity,
            **{f"member {place}": text for place, text in enumerate(members, start=1)},
        }

    def get_model_info(self) -> dict[str, Any]:
        """What results.json says: the rule, and each member as `Reward` describes it."""
        return {
            **self.combination.info,
            "members": [
                {"pretrained": name, **member.get_model_info()}
                for name, member in zip(self.names, self.members, strict=True)
            ],
        }
