# SPDX-License-Identifier: Apache-2.0
"""Numbers to try, as a user writes them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from harness.errors import HarnessError

# A typing slip such as 0:1:0.00001 should not start a week's work.
MOST = 10_000
# Decimals of a number that is typed.
DIGITS = 6


def parse(text: str, option: str = "--weight ") -> list[Decimal]:
    """The numbers of ``start:stop:step`` (the stop included) or of a list with commas.

    Decimal arithmetic: 0:1:0.05 has 0.35 and not 0.35000000000000003.

    >>> [str(n) for n in parse("0:0.2:0.1")], [str(n) for n in parse("0.5,0.25")]
    (['0.0', '0.1', '0.2'], ['0.5', '0.25'])

    Args:
        text: what was typed.
        option: what stands before it, for messages.

    Raises:
        HarnessError: not such a text.
    """
    if ":" not in text:
        return [number(part, option, text) for part in text.split(",")]
    parts = [number(part, option, text) for part in text.split(":")]
    if len(parts) != 3:
        raise HarnessError(f"{option}{text}: expected START:STOP:STEP, as in 0:1:0.05")
    start, stop, step = parts
    if step <= 0 or stop < start:
        raise HarnessError(f"{option}{text}: expected START <= STOP and STEP > 0, as in 0:1:0.05")
    count = int((stop - start) / step) + 1
    if count > MOST:
        raise HarnessError(f"{option}{text}: {count:,} values; did you mean a larger step?")
    numbers = [start + step * index for index in range(count)]
    if numbers[-1] != stop:
        raise HarnessError(
            f"{option}{text}: steps of {step} from {start} end at {numbers[-1]}, not at {stop}"
        )
    return numbers


def parse_ratio(text: str, models: Sequence[str]) -> list[Decimal]:
    """The numbers of ``--path``, one for each domain model.

    Raises:
        HarnessError: another count, a number below 0, or all 0.
    """
    numbers = [number(part, "--path ", text) for part in text.split(",")]
    if len(numbers) != len(models) or min(numbers) < 0 or not any(numbers):
        raise HarnessError(
            f"--path {text}: expected {len(models)} numbers, one for each domain model "
            f"({', '.join(models)}), such as {','.join(['1'] * len(models))}"
        )
    return numbers


def number(text: str, option: str, whole: str) -> Decimal:
    """One number of what was typed.

    Raises:
        HarnessError: it is none, or one that no float holds as it is written.
    """
    try:
        read = Decimal(text.strip())
    except InvalidOperation:
        read = Decimal("NaN")
    if not read.is_finite():
        raise HarnessError(
            f"{option}{whole}: {text.strip()!r} is not a number; "
            "expected START:STOP:STEP or a list such as 0,0.3,0.6"
        )
    if read != 0 and not -DIGITS <= read.adjusted() <= DIGITS:
        raise HarnessError(f"{option}{whole}: {text.strip()} is out of range")
    if read != round(read, DIGITS):
        raise HarnessError(f"{option}{whole}: {text.strip()} has more than {DIGITS} decimals")
    return read


def named(texts: Sequence[str], expected: str) -> dict[str, list[str]]:
    """What ``--param NAME=VALUES`` says: name -> what follows, in the order that it was typed.

    Args:
        texts: as typed.
        expected: such an option as it should be, for messages.

    Raises:
        HarnessError: no name or nothing behind it.
    """
    given: dict[str, list[str]] = {}
    for text in texts:
        name, _, values = text.partition("=")
        if not name.strip() or not values.strip():
            raise HarnessError(f"--param {text}: expected {expected}")
        given.setdefault(name.strip(), []).append(values.strip())
    return given
