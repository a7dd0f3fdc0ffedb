# SPDX-License-Identifier: Apache-2.0
"""What a chat template can draw from outside the conversation, fixed: today's date, and chance.

transformers gives its templates ``strftime_now``, Jinja ``random`` and ``lipsum``; all else that
they see is the conversation, the tokenizer's special tokens and the user's variables.
"""

from __future__ import annotations

import functools
import logging
import random
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

# Llama 3's template has this day for where there is no clock.
FIXED_DATE = datetime(2024, 7, 26, tzinfo=UTC)

DATE = "strftime_now"

# What is drawn from is one for all threads.
_chance = threading.RLock()

_DIRECTIVE = re.compile("%(.)", re.DOTALL)


class DateAndChance:
    """Gives a chat template the same date and the same random choices in every run.

    Args:
        date: what it takes for today.
        source: where the template is from, for what is said once.

    Attributes:
        drawn: what was asked for: ``strftime_now``, ``random``, ``lipsum``.
    """

    def __init__(self, date: datetime, source: str) -> None:
        self.date = date
        self.drawn: set[str] = set()
        self._source = source

    def put_into(self, environment: Any) -> None:
        """Replace what a Jinja environment offers."""
        environment.globals[DATE] = self._strftime
        environment.globals["lipsum"] = self._by_chance("lipsum", environment.globals["lipsum"])
        environment.filters["random"] = self._by_chance("random", environment.filters["random"])

    def _strftime(self, format: str) -> str:
        self._say(
            DATE,
            "the chat template (%s) prints today's date: scored as if it were %s, on every day; "
            "another date: --model_args date=YYYY-MM-DD",
            self.date.date().isoformat(),
        )
        # %s is the one directive that depends on the machine's time zone.
        seconds = str(int(self.date.timestamp()))
        naive = self.date.replace(tzinfo=None)  # as transformers' own: %Z and %z are empty
        return naive.strftime(
            _DIRECTIVE.sub(lambda match: seconds if match[1] == "s" else match[0], format)
        )

    def _by_chance(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its choice the same each time."""

        @functools.wraps(function)  # Jinja's marks (pass_context) are attributes
        def fixed(*args: Any, **options: Any) -> Any:
            self._say(name, "the chat template (%s) draws by chance (%s): fixed", name)
            with _chance:
                before = random.getstate()
                random.seed(0)
                try:
                    return function(*args, **options)
                finally:
                    random.setstate(before)

        return fixed

    def _say(self, name: str, text: str, *about: str) -> None:
        if name not in self.drawn:
            self.drawn.add(name)
            logger.warning(text, self._source, *about)
