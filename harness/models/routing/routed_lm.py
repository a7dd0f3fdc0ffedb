# SPDX-License-Identifier: Apache-2.0
"""What all routed models share: prompts are routed, rows scored expert by expert, and put together.

A subclass says how an expert scores rows: as a model of its own (`harness.models.router`), or as an
adapter (`harness.models.adapters`).
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lm_eval.api.model import LM, CacheHook

from harness.errors import HarnessError
from harness.models import response_cache
from harness.models.only_scores import OnlyScores
from harness.models.routing.choice import (
    Choice,
    Router,
    certain,
    check_labels,
    choose,
    domain_of,
    no_domain,
    nothing_told,
)
from harness.models.routing.prompts import Prompts
from harness.models.routing.router_file import ORACLE, RouterFile
from harness.models.score.kept_answers import keep
from harness.models.score.requests import answer_to, describe
from harness.rows.answer import Answer

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold


class RoutedLM(OnlyScores, LM):
    """Base of the routed models.

    Args:
        made: the experts, and who chooses among them.
        top: how many of the likeliest score a prompt, weighted by the router's probabilities.
        all_experts: let every expert score every row, so that each alone, and the oracle, can be
            reported beside the router.

    Attributes:
        router: None where a column or the user chooses.

    Raises:
        HarnessError: more experts than there are, or several without calibration.
    """

    router: Router | None = None

    def __init__(self, made: RouterFile, *, top: int, all_experts: bool) -> None:
        super().__init__()
        self.made, self.top, self.all_experts = made, top, all_experts
        if not 1 <= top <= len(made.routed):
            raise HarnessError(
                f"top={top}: there are {len(made.routed)} experts; give 1 (the likeliest alone) "
                "or 2"
            )
        self.scaled = bool(made.calibration) and made.always is None
        if top > 1 and not self.scaled:
            raise HarnessError(
                f"top={top} adds rewards of several experts, whose scales are unlike: give the "
                "calibration of each (dogerm train router writes it), or top=1"
            )
        if top > 1 and made.router == ORACLE:
            raise HarnessError("top=2 needs probabilities, and router=oracle has none; give top=1")
        self.shares: Counter[str] = Counter()

    def use(self, router: Router | None, place: str) -> None:
        """Let this router choose.

        Raises:
            HarnessError: it is for other experts.
        """
        if router is not None:
            check_labels(router.labels, place, self.made)
        self.router = router

    @property
    def kind(self) -> str:
        """What a score is, for tables and samples."""
        if self.made.always is not None:
            return f"reward, always {self.made.always}"
        name = ORACLE if self.router is None else self.router.kind
        best = f", top {self.top}" if self.top > 1 else ""
        return f"routed reward ({name}{best})" + ("" if self.scaled else ", not calibrated")

    def score_with(self, expert: str, requests: list[Instance], quiet: bool) -> list[Answer]:
        """The expert's rewards of these requests, in their order."""
        raise NotImplementedError

    def order(self) -> list[str]:
        """The experts in the order in which they are best asked."""
        return list(self.made.experts)

    def scored(
        self, requests: Sequence[Instance], wanted: Mapping[str, Sequence[int]], quiet: bool
    ) -> dict[str, dict[int, Answer]]:
        """Each expert's answers to the requests at the places where it is wanted, by place."""
        made: dict[str, dict[int, Answer]] = {}
        for expert, places in wanted.items():
            made[expert] = {}
            if places:
                logger.info("scoring %d rows with %s", len(places), expert)
                answers = self.score_with(expert, [requests[place] for place in places], quiet)
                made[expert] = dict(zip(places, answers, strict=True))
        return made

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[Any, ...]]:
        """Each request's reward by its document's expert, as ``(reward, False)``.

        This project's tasks get an `Answer` whose details hold ``expert`` and ``weights`` (who
        scored), ``probabilities`` (of every expert), ``domain`` (the
        expert that the document's column names, where known), ``experts`` (each one's reward, with
        ``all_experts``), and ``within_document``: without calibration, rewards of unlike experts
        compare only within their document.
        """
        prompts = Prompts(requests)
        choices, domains = self.choices(requests, prompts)
        of_request: list[int] = [0] * len(requests)
        for number, document in enumerate(prompts.documents):
            for place in document.requests:
                of_request[place] = number
        wanted = {
            expert: [
                place
                for place, number in enumerate(of_request)
                if self.all_experts or expert in choices[number].weights
            ]
            for expert in self.order()
        }
        by_expert = self.scored(requests, wanted, disable_tqdm)
        combined = [
            self._answer(
                choices[number],
                domains[number],
                {name: of[place] for name, of in by_expert.items() if place in of},
            )
            for place, number in enumerate(of_request)
        ]
        self._tell(choices)
        kept = [
            one for document in prompts.documents if document.plain for one in document.requests
        ]
        keep(self.cache_hook, [requests[p] for p in kept], [combined[p] for p in kept])
        return [answer_to(*pair) for pair in zip(requests, combined, strict=True)]

    def choices(
        self, requests: Sequence[Instance], prompts: Prompts
    ) -> tuple[list[Choice], list[str | None]]:
        """Who scores each document, and whose domain it is, where that is known.

        Raises:
            HarnessError: the oracle does not know a document's domain, or a prompt is empty.
        """
        made = self.made
        domains: list[str | None] = []
        values: list[str | None] = []
        for document in prompts.documents:
            first = requests[document.requests[0]]
            domain, value = domain_of(getattr(first, "doc", None), first.task_name, made)
            domains.append(domain)
            values.append(value)
        if made.domain is not None and self.router is not None and None in domains:
            logger.warning("%s", nothing_told(domains, values, made))
        if made.always is not None:
            return [certain(made.always, made)] * len(domains), domains
        if self.router is None:
            if made.fallback is not None and not any(value is not None for value in values):
                raise HarnessError(
                    f"router={ORACLE}: none of {len(values)} documents has a column {made.domain}, "
                    f"so all would go to the fallback {made.fallback}; name the column that says a "
                    f"row's domain, or give always={made.fallback}"
                )
            chosen = []
            for document, domain, value in zip(prompts.documents, domains, values, strict=True):
                name = domain if domain is not None else made.fallback
                if name is None:
                    first = requests[document.requests[0]]
                    raise HarnessError(
                        f"{describe(first)}: {no_domain(getattr(first, 'doc', None), value, made)}"
                    )
                chosen.append(certain(name, made))
            return chosen, domains
        return self._asked(self.router, prompts), domains

    def _asked(self, router: Router, prompts: Prompts) -> list[Choice]:
        """The router's choice for each document."""
        seen = [number for number in range(len(prompts)) if len(prompts[number])]
        empty = next((number for number in range(len(prompts)) if not len(prompts[number])), None)
        if empty is not None and self.made.fallback is None:
            raise HarnessError(
                f"{prompts.where(empty)}: its candidates share no turn before the answer, so there "
                "is no prompt to route by; give fallback=NAME"
            )
        by_prompt: dict[int, Choice] = {}
        if self.made.fallback is not None:
            nobody = certain(self.made.fallback, self.made)
            by_prompt = dict.fromkeys(range(len(prompts)), nobody)
        logger.info("routing %d prompts", len(seen))
        rows = router.probabilities([prompts[number] for number in seen]) if seen else []
        for number, row in zip(seen, rows, strict=True):
            if not all(map(math.isfinite, row)):  # no order among them: any expert would be taken
                raise HarnessError(
                    f"{prompts.where(number)}: the router's probabilities are "
                    f"{', '.join(f'{one:g}' for one in row)}, so none is the likeliest; a router "
                    "in float16 may overflow: load it in another dtype, or mend its weights"
                )
            shares = dict(zip(router.labels, row, strict=True))
            by_prompt[number] = choose(shares, self.made, self.top)
        return [by_prompt[document.prompt] for document in prompts.documents]

    def _answer(self, choice: Choice, domain: str | None, answers: Mapping[str, Answer]) -> Answer:
        """What the chosen experts' rewards make together."""
        scale: Callable[[str, float], float] = (
            (lambda name, reward: self.made.calibration[name].standard(reward))
            if self.scaled
            else (lambda name, reward: reward)
        )
        rewards = {name: scale(name, one.score) for name, one in answers.items()}
        if len(choice.weights) == 1:  # to the bit what the expert says
            score = rewards[choice.expert]
        else:
            score = sum(share * rewards[name] for name, share in choice.weights.items())
        used = [answers[name] for name in choice.weights]
        details: dict[str, Any] = {
            "kind": self.kind,
            "truncated": any(one.details.get("truncated", False) for one in used),
            "within_document": not self.scaled and self.made.always is None,
            "expert": choice.expert,
            "weights": dict(choice.weights),
            "probabilities": dict(choice.probabilities),
            **({"domain": domain} if domain is not None else {}),
            **({"experts": rewards} if self.all_experts else {}),
        }
        return Answer(score, False, details)

    def _tell(self, choices: Sequence[Choice]) -> None:
        """Say how many documents each expert has."""
        counted = Counter(choice.expert for choice in choices)
        self.shares += counted
        logger.info(
            "documents by expert: %s",
            ", ".join(f"{name} {counted[name]}" for name in self.made.routed),
        )

    def set_cache_hook(self, cache_hook: CacheHook) -> None:
        """Take the cache of ``--use_cache``, if these experts filled it or it is new.

        Raises:
            HarnessError: the column decides who scores, which the cache's keys don't tell.
        """
        if cache_hook.dbdict is not None and self.made.domain is not None:
            raise HarnessError(
                "--use_cache knows conversations, and domain= looks at a column beside them; leave "
                "one of the two out"
            )
        response_cache.claim_hook(cache_hook, self)
        super().set_cache_hook(cache_hook)

    def identity(self) -> dict[str, str]:
        """What a routed reward depends on beside the conversation; the experts' own is added."""
        from harness.runs.identity import digest

        return {
            "kind": self.kind,
            "router": digest({} if self.router is None else self.router.identity()),
            "settings": digest(
                [self.made.model_dump(exclude={"base", "experts"}), self.top, self.all_experts]
            ),
        }

    def routing_info(self) -> dict[str, Any]:
        """What results.json says of the routing."""
        total = sum(self.shares.values()) or 1
        return {
            "router": self.made.router,
            "router_kind": self.kind,
            "top": self.top,
            "calibrated": self.scaled,
            "share_of_documents": {
                name: self.shares[name] / total
                for name in dict.fromkeys((*self.made.routed, *self.shares))
            },
        }
