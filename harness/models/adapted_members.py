# SPDX-License-Identifier: Apache-2.0
"""The members of an ensemble that are adapters of one base, which is loaded once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.models.load.arguments import folder_or_hub_id
from harness.models.routing import adapter_set
from harness.models.routing.adapted_reward import AdaptedReward

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance


class AdaptedMember:
    """One adapter of a base that others share; what it does not say itself the base says.

    Args:
        reward: the base with all adapters.
        name: of this one there.
        counts: whether it is the one that waits for the other processes.
    """

    def __init__(self, reward: AdaptedReward, name: str, counts: bool) -> None:
        self._reward = reward
        self._name = name
        self._counts = counts

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """The rewards by this adapter and its head."""
        self._reward.switch(self._name)
        return self._reward.loglikelihood(requests, disable_tqdm=disable_tqdm)

    def identity(self) -> dict[str, str]:
        """What a reward depends on beside the conversation."""
        return {**self._reward.identity(), "active": self._name}

    def barrier(self) -> None:
        """Wait for the other processes, once for all adapters."""
        if self._counts:
            self._reward.barrier()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reward, name)


def adapted_members(base: str | None, places: Sequence[str], **kwargs: Any) -> list[AdaptedMember]:
    """The adapters at these places, on their base.

    Args:
        base: folder or Hub id.
        places: of the adapters.
        kwargs: of `Reward`.

    Raises:
        HarnessError: no base, or see `adapter_set`.
    """
    for name in ("peft", "delta"):
        if kwargs.get(name):
            raise HarnessError(f"{name}= and adapters= are two answers to one question: leave one")
    if not isinstance(base, str) or not base.strip() or ";" in base:
        raise HarnessError(
            f"adapters= are of one base, pretrained= gives {base}: write --model_args "
            "'pretrained=BASE,adapters=A;B'"
        )
    base = folder_or_hub_id(base, "pretrained")
    by_name = {f"the member {place}": place for place in places}
    read = adapter_set.read_all(by_name, base, kwargs.get("revision"))
    reward = AdaptedReward(base, read, **kwargs)
    return [AdaptedMember(reward, name, number == 0) for number, name in enumerate(read)]
