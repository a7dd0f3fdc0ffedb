# SPDX-License-Identifier: Apache-2.0
"""A model that answers what it has been asked since its weights were last set, without scoring."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.models.score.requests import conversation_key

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

# Answers with the digests of their conversations.
Answers = Iterable[tuple[bytes, tuple[Any, ...]]]
# The file that a part's answers are in, beside its samples.
ANSWERS = "answers.json"


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

    def learn(self, answers: Answers) -> None:
        """Take answers of the same weights for known, so that nothing is scored for them."""
        self._known.update(answers)

    @property
    def answers(self) -> Answers:
        """All that is known."""
        return self._known.items()

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[Any, ...]]:
        """The model's answers; see `ScoringLM.loglikelihood`."""
        keys = [conversation_key(request) for request in requests]
        new = [n for n, key in enumerate(keys) if key not in self._known]
        if new:
            # What is asked twice at once is scored twice, so that the model's batches are those
            # that it makes of these requests for anybody else.
            answers = self._model.loglikelihood([requests[n] for n in new], disable_tqdm)
            self._known.update(zip((keys[n] for n in new), answers, strict=True))
            self.scored += len(new)
        return [self._known[key] for key in keys]


def as_file(answers: Answers) -> bytes:
    """Answers as a file's content; numbers keep their last bit."""
    return json.dumps({key.hex(): answer for key, answer in answers}).encode()


def read_answers(file: Path) -> list[tuple[bytes, tuple[Any, ...]]]:
    """What `as_file` wrote."""
    found = json.loads(file.read_text(encoding="utf-8"))
    return [(bytes.fromhex(key), tuple(answer)) for key, answer in found.items()]
