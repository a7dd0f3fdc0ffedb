# SPDX-License-Identifier: Apache-2.0
"""A model that answers what it has been asked since its weights were last set, without scoring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.models.score.requests import conversation_key

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance


class Remembering:
    """An lm-eval model, and its answers so far.

    So a score on half of the rows, and then on all, costs each row once.

    Args:
        model: what answers the rest; everything but `loglikelihood` is the model's own.

    Attributes:
        scored: how many conversations the model was asked for.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._known: dict[bytes, tuple[Any, ...]] = {}
        self.scored = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def forget(self) -> None:
        """The weights are others now."""
        self._known.clear()

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[Any, ...]]:
        """The model's answers; see `ScoringLM.loglikelihood`."""
        keys = [conversation_key(request) for request in requests]
        new = {k: r for k, r in zip(keys, requests, strict=True) if k not in self._known}
        if new:
            answers = self._model.loglikelihood(list(new.values()), disable_tqdm)
            self._known.update(zip(new, answers, strict=True))
            self.scored += len(new)
        return [self._known[key] for key in keys]
