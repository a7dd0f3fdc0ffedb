# SPDX-License-Identifier: Apache-2.0
"""``lm_eval --model reward-adapters``: for each prompt the adapter of its domain, on one base.

    lm_eval --model reward-adapters --model_args \
        'pretrained=BASE,adapters=math=DIR;code=DIR;general=DIR,router=DIR' --tasks ...
    lm_eval --model reward-adapters --model_args router=router.yml --tasks ...

ARLISS of arXiv 2407.17546: one language model in memory, on which the router and the reward models
are adapters that take turns. Each expert's reward is what ``--model reward`` with ``peft=`` gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm_eval.models.huggingface import HFLM

from dogerm_plugin.anatomy.adapter import CONFIG
from harness.errors import HarnessError
from harness.models.load.arguments import folder_or_hub_id, parameters, refuse_misspelt
from harness.models.load.processes import MemberProcesses
from harness.models.reward import Reward
from harness.models.router import ABOUT, flag, router_of, whole
from harness.models.routing import adapter_set
from harness.models.routing.adapted_reward import ROUTER, AdaptedReward, whose
from harness.models.routing.adapter_router import AdapterRouter
from harness.models.routing.choice import Router
from harness.models.routing.experts import check_scales, with_routers_scales
from harness.models.routing.routed_lm import RoutedLM
from harness.models.routing.router_arguments import of_arguments
from harness.rows.answer import Answer
from harness.rows.conversation import Message

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance


class RewardAdapters(MemberProcesses, RoutedLM):
    """Reward models that are adapters of one base; `Reward`'s arguments, and the router's.

    Args:
        pretrained: the base, folder or Hub id.
        adapters: the experts, ``A;B;C`` named after their folders, or ``math=A;code=B``. Each has
            the reward head that it was trained with.
        router: as for `harness.models.router.RewardRouter`; also the folder of one more adapter of
            this base, see `harness.models.routing.adapter_router`. A ``router.yml`` names base and
            adapters, too.
        always, fallback, threshold, domain, domains, calibration, router_template, top,
            all_experts: as there.
        mixed: rows of several experts share a padded batch (PEFT's mixed batches), where the
            adapters allow it. By default rows are grouped by expert, so that what they begin with
            is computed once; mixing is for a few rows of each of many experts.

    Raises:
        HarnessError: an argument makes no sense, an adapter is none of a reward model or does not
            take turns with the others, or the router is for other experts.
    """

    def __init__(
        self,
        pretrained: str | None = None,
        *,
        adapters: str | Sequence[str] | Mapping[str, str] | None = None,
        router: str | Router | None = None,
        always: str | None = None,
        fallback: str | None = None,
        threshold: float | None = None,
        domain: str | None = None,
        domains: Mapping[str, str] | None = None,
        calibration: Mapping[str, Any] | None = None,
        router_template: str | None = None,
        top: int = 1,
        all_experts: bool | str = False,
        mixed: bool | str = False,
        **kwargs: Any,
    ) -> None:
        own = parameters(RewardAdapters, RewardAdapters)
        for name in ("peft", "delta", "combine", "max_loaded", "devices", "ray"):
            if kwargs.get(name):
                raise HarnessError(
                    f"{name}= is of models that are loaded one by one; here adapters= names the "
                    "adapters of one base, which is loaded once, and they all stay on it"
                )
        refuse_misspelt(kwargs, parameters(Reward, HFLM) | own)
        given = {
            "base": pretrained,
            "router": router if isinstance(router, str) or router is None else router.kind,
            "always": always,
            "fallback": fallback,
            "threshold": threshold,
            "domain": domain,
            "domains": domains,
            "calibration": calibration,
            "router_template": router_template,
        }
        made = of_arguments(given, adapters, ABOUT, "adapters")
        if made.base is None:
            raise HarnessError(
                "nothing says of which base the experts are adapters: give pretrained=BASE (in a "
                "router.yml, base: BASE); for experts that are models of their own use --model "
                "reward-router"
            )
        for name, recipe in made.recipes.items():
            raise HarnessError(
                f"the expert {name} is a recipe ({recipe.file}), which makes a model; here experts "
                "are adapters of one base: use --model reward-router, without base"
            )
        base = folder_or_hub_id(made.base, "pretrained")
        places = {n: folder_or_hub_id(p, "adapters") for n, p in made.experts.items()}
        made = with_routers_scales(made, places, base)
        super().__init__(made, top=whole(top, "top"), all_experts=flag(all_experts, "all_experts"))
        self.mixed = flag(mixed, "mixed")
        check_scales(made, places, base)
        folder = Path(str(made.router)).expanduser()
        chooses = isinstance(made.router, str) and (folder / CONFIG).is_file()
        read = {whose(name): place for name, place in places.items()}
        if chooses:
            read[ROUTER] = folder_or_hub_id(str(folder), "router")
        self.adapters = adapter_set.read_all(read, base, kwargs.get("revision"))
        self.reward = AdaptedReward(base, self.adapters, mixed=self.mixed, **kwargs)
        self.members = [self.reward]
        if chooses:
            trusted = {name: kwargs.get(name) for name in ("revision", "trust_remote_code")}
            router = AdapterRouter(
                self.reward, self.adapters[ROUTER], template=made.template, **trusted
            )
        elif router is None or isinstance(router, str):
            router = router_of(made, self.reward)
        self.use(router, str(made.router))

    def score_with(self, expert: str, requests: list[Instance], quiet: bool) -> list[Answer]:
        """The expert's rewards of these requests, in their order."""
        self.reward.switch(whose(expert))
        return [Answer.of(one) for one in self.reward.loglikelihood(requests, quiet)]

    def scored(
        self, requests: Sequence[Instance], wanted: Mapping[str, Sequence[int]], quiet: bool
    ) -> dict[str, dict[int, Answer]]:
        """As of all routed models; with ``mixed`` all experts together."""
        if not self.mixed:
            return super().scored(requests, wanted, quiet)
        asked = [(expert, place) for expert, places in wanted.items() for place in places]
        answers = self.reward.score_mixed([(whose(e), requests[p]) for e, p in asked], quiet)
        made: dict[str, dict[int, Answer]] = {expert: {} for expert in wanted}
        for (expert, place), answer in zip(asked, answers, strict=True):
            made[expert][place] = answer
        return made

    def order(self) -> list[str]:
        """The experts, the one that is active first."""
        return sorted(self.made.experts, key=lambda name: whose(name) != self.reward.active)

    def apply_chat_template(
        self, chat_history: list[Message], add_generation_prompt: bool = True
    ) -> str:
        """The prompt as all experts are given it, for logs."""
        return self.reward.apply_chat_template(chat_history, add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str:
        """The experts' template; it refuses a name that is not the one in use."""
        return self.reward.chat_template(chat_template)

    @property
    def tokenizer_name(self) -> str:
        """The base and the experts' places, for lm-eval's cache of requests."""
        return "__".join([str(self.made.base), *self.made.experts.values()]).replace("/", "__")

    def identity(self) -> dict[str, str]:
        """What a routed reward depends on beside the conversation; each adapter has its digest."""
        return {**self.reward.identity(), **super().identity()}

    def get_model_info(self) -> dict[str, Any]:
        """What results.json says: the routing, the base once, and what each adapter adds."""
        info = self.reward.get_model_info()
        info.pop("peft_sha", None)  # of the first alone
        base, added = self.reward.sizes()
        return {
            **info,
            **self.routing_info(),
            "model_num_parameters": base + sum(added.values()),
            "base": self.made.base,
            "base_num_parameters": base,
            "router_num_parameters": added.get(ROUTER, 0),
            "mixed_batches": self.mixed,
            "members": [
                {"name": n, "pretrained": place, "model_num_parameters": added[whose(n)]}
                for n, place in self.made.experts.items()
            ],
        }
