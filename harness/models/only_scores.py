# SPDX-License-Identifier: Apache-2.0
"""What lm-eval may ask of a model and a reward model cannot do."""

from __future__ import annotations

from typing import Any, ClassVar

from harness.errors import HarnessError
from harness.models.score.requests import refusal


class OnlyScores:
    """Mixin, before the model class: refuses what is not the scoring of answers.

    Attributes:
        KEEPS_ANSWERS: ``--use_cache`` is `harness.models.score.kept_answers` for this model.
    """

    KEEPS_ANSWERS: ClassVar[bool] = True

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        """Refused: a reward model gives no likelihood of a text."""
        raise HarnessError(refusal(requests, "measures the perplexity of a text"))

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        """Refused: a reward model does not write."""
        raise HarnessError(refusal(requests, "asks the model to write"))
