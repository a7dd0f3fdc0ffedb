# SPDX-License-Identifier: Apache-2.0
"""``lm_eval --model reward-router``: for each prompt the reward model of its domain.

    lm_eval --model reward-router --model_args 'pretrained=general/;math/;code/,router=router/' ...
    lm_eval --model reward-router --model_args router=router.yml --tasks ...

RODOS of arXiv 2407.17546: an external router picks one of several domain reward models. It sees the
prompt alone, so that all candidates of a document are scored by one expert.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm_eval.models.huggingface import HFLM

from dogerm_plugin.anatomy.adapter import CONFIG
from harness.errors import HarnessError, at
from harness.models.load.arguments import folder_or_hub_id, parameters, refuse_misspelt
from harness.models.load.processes import MemberProcesses
from harness.models.reward import Reward
from harness.models.routing import fitted
from harness.models.routing.choice import Router
from harness.models.routing.classifier import Classifier
from harness.models.routing.devices import OnDevices, chosen
from harness.models.routing.experts import check_scales, with_routers_scales
from harness.models.routing.ray_experts import RayExperts
from harness.models.routing.routed_lm import RoutedLM
from harness.models.routing.router_arguments import of_arguments
from harness.models.routing.router_file import ORACLE, RouterFile
from harness.rows.answer import Answer
from harness.rows.conversation import Message

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

ABOUT = "--model_args"


class RewardRouter(MemberProcesses, RoutedLM):
    """Several reward models and who chooses among them; `Reward`'s arguments, given to each.

    Args:
        pretrained: the experts, ``A;B;C`` named after their folders, or ``math=A;code=B``; a
            recipe file in the place of a folder is merged in memory.
        router: a folder of `dogerm train router`, a text classifier (folder or Hub id) whose labels
            are the experts' names, a ``router.yml``, or ``oracle``; in Python also an object as
            `Router` describes it.
        always: instead, one expert for all rows, for comparison.
        fallback: the expert for prompts that none is for.
        threshold: below this probability of the likeliest expert the fallback scores.
        domain: the column of a document that says its domain, or ``task``: for the oracle, and for
            the router's accuracy.
        domains: expert by value of that column, where they are not the experts' names.
        calibration: each expert's ``mean`` and ``std``.
        router_template: what renders a prompt for a text classifier without a chat template.
        top: 2 mixes the two likeliest experts by the router's probabilities.
        all_experts: every expert scores every row, and each alone is reported beside the router.
        max_loaded: experts in memory at a time (all), on each device.
        devices: ``cuda:0;cuda:1``: each has its share of the experts, and all score at once. By
            default all GPUs, where there are several and one process runs.
        ray: ``local``, ``auto`` or a cluster's address: each expert has a Ray actor;
            ``max_loaded`` is how many there are, with one expert in memory each.

    Raises:
        HarnessError: an argument makes no sense, an expert is no reward model, or the router is for
            other experts.
    """

    def __init__(
        self,
        pretrained: str | Sequence[str] | Mapping[str, str] | None = None,
        *,
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
        max_loaded: int | None = None,
        devices: str | Sequence[str] | None = None,
        ray: str | None = None,
        **kwargs: Any,
    ) -> None:
        own = parameters(RewardRouter, RewardRouter)
        refuse_misspelt(kwargs, parameters(Reward, HFLM) | own)
        given = {
            "router": router if isinstance(router, str) or router is None else router.kind,
            "always": always,
            "fallback": fallback,
            "threshold": threshold,
            "domain": domain,
            "domains": domains,
            "calibration": calibration,
            "router_template": router_template,
        }
        made = of_arguments(given, pretrained, ABOUT)
        if made.base is not None and pretrained is None:
            raise HarnessError(
                f"router={router}: its experts are adapters of one base ({made.base}); use --model "
                "reward-adapters"
            )
        places = {}
        for name, place in made.experts.items():
            with at(f"the expert {name}"):
                in_place = name in made.recipes
                places[name] = place if in_place else folder_or_hub_id(place, "pretrained")
        made = with_routers_scales(made, places)
        super().__init__(made, top=whole(top, "top"), all_experts=flag(all_experts, "all_experts"))
        most = None if max_loaded is None else whole(max_loaded, "max_loaded")
        for name in ("peft", "combine"):
            if kwargs.get(name):
                raise HarnessError(
                    f"{name}= is of one model, and here are {len(places)}; give reward-adapters "
                    "the adapters of one base, or score such an expert by --model reward"
                )
        check_scales(made, places)
        asked = {
            name: place
            for name, place in places.items()
            if self.all_experts or name in made.routed or name == made.always
        }
        merged = {name: recipe for name, recipe in made.recipes.items() if name in asked}
        if ray is not None and (devices is not None or merged):
            raise HarnessError(
                f"ray={ray} and devices= both say where the experts go: give one"
                if devices is not None
                else f"ray={ray}: the expert {next(iter(merged))} is a recipe, and actors load "
                "checkpoints: write its merge (mergekit-yaml), or leave ray= out"
            )
        self.pool: OnDevices | RayExperts = (
            OnDevices(asked, merged, chosen(devices, kwargs), most, kwargs)
            if ray is None
            else RayExperts(asked, str(ray), most, kwargs)
        )
        self.members = [self.pool.first]
        if router is None or isinstance(router, str):
            router = router_of(made, self.pool.first)
        self.use(router, str(made.router))

    def order(self) -> list[str]:
        """The experts, those in memory first."""
        return self.pool.in_order()

    def scored(
        self, requests: Sequence[Instance], wanted: Mapping[str, Sequence[int]], quiet: bool
    ) -> dict[str, dict[int, Answer]]:
        """Each expert's answers; on several devices, or in actors, at once."""
        rows = {name: [requests[one] for one in places] for name, places in wanted.items()}
        answers = self.pool.score_all({name: own for name, own in rows.items() if own}, quiet)
        return {
            name: dict(zip(wanted[name], answers[name], strict=True)) if rows[name] else {}
            for name in wanted
        }

    def apply_chat_template(
        self, chat_history: list[Message], add_generation_prompt: bool = True
    ) -> str:
        """The prompt as the first expert renders it, for logs; each scores in its own template."""
        return self.pool.apply_chat_template(chat_history, add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str:
        """The first expert's template; it refuses a name that is not the one it uses."""
        return self.pool.chat_template(chat_template)

    @property
    def tokenizer_name(self) -> str:
        """All experts' places, for lm-eval's cache of requests."""
        return "__".join(self.made.experts.values()).replace("/", "__")

    def identity(self) -> dict[str, str]:
        """What a routed reward depends on beside the conversation; loads each expert once."""
        experts = {
            f"expert {name}": json.dumps(one, sort_keys=True)
            for name, one in self.pool.identities().items()
        }
        return {**super().identity(), **experts}

    def get_model_info(self) -> dict[str, Any]:
        """What results.json says: who chose how often, and each expert as `Reward` describes it."""
        return {
            **self.routing_info(),
            "model_num_parameters": self.pool.parameters,
            "loads": self.pool.loads,
            "merges": self.pool.merges,
            "members": self.pool.info(),
        }


def router_of(made: RouterFile, beside: Any) -> Router | None:
    """The router that the experts' file names; None where a column or the user chooses.

    Args:
        made: names it.
        beside: a loaded model, on whose device it runs and whose batch size it takes.
    """
    if not isinstance(made.router, str) or made.router == ORACLE:
        return None
    size = str(beside.batch_size)
    about: dict[str, Any] = {
        "device": beside.device,
        "batch_size": int(size) if size.isdecimal() else 8,
    }
    folder = Path(made.router).expanduser()
    if (folder / fitted.FILE).is_file():
        return fitted.FittedRouter(folder, **about)
    if (folder / CONFIG).is_file():
        raise HarnessError(
            f"router={folder} is an adapter; one of the experts' own base is loaded by --model "
            "reward-adapters, with the experts as its adapters"
        )
    return Classifier(made.router, template=made.template, **about)


def whole(value: Any, argument: str) -> int:
    """A whole number of 1 or more.

    Raises:
        HarnessError: it is none.
    """
    text = str(value)
    if not text.isdecimal() or int(text) < 1:
        raise HarnessError(f"{argument}={value} is no whole number of 1 or more")
    return int(text)


def flag(value: Any, argument: str) -> bool:
    """True or False, however they are spelt.

    Raises:
        HarnessError: it is neither.
    """
    text = str(value).lower()
    if text not in ("true", "false"):
        raise HarnessError(f"{argument}={value} is unknown; it is True or False")
    return text == "true"
