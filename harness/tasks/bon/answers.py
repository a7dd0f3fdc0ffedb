# SPDX-License-Identifier: Apache-2.0
"""The final answer of a response, for majority voting where a file has no column of answers."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

# GSM8K's own solutions end in "#### 5", those of chat models in "The answer is 5", the published
# model solutions of Cobbe et al. (2021) in a line "A: 5".
_MARK = re.compile(r"####|[Tt]he answer is|^A:", re.MULTILINE)
# lm-eval's gsm8k task finds its "flexible-extract" answer with this pattern, the last match.
_NUMBER = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")


def gsm8k_answer(response: str) -> str | None:
    """The first number after the last mark of an answer, else the last number; None without one.

    Dollar signs, thousands separators and trailing zeros are taken off, so that equal numbers are
    equal texts.

    >>> [gsm8k_answer(text) for text in ("3 * 400.00\\n#### 1,200", "so $12.50.", "?")]
    ['1200', '12.5', None]
    """
    *_, tail = _MARK.split(response)
    first_after_mark = _numbers(tail)[:1] if tail != response else []
    return next(iter(first_after_mark or _numbers(response)[::-1]), None)


def _numbers(text: str) -> list[str]:
    numbers = []
    for match in _NUMBER.findall(text):
        try:
            value = Decimal(re.sub(r"[$,]", "", match).rstrip("."))
        except InvalidOperation:  # punctuation only, or two decimal points
            continue
        numbers.append(f"{value.normalize():f}" if value else "0")
    return numbers
