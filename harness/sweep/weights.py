# SPDX-License-Identifier: Apache-2.0
"""The weights to try, as a user writes them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal, InvalidOperation

from harness.errors import HarnessError

# A typing slip such as 0:1:0.00001 should not start a week's work.
MOST = 10_000
# Decimals of a weight that is typed, and of one that --path works out: fewer than a float has, so
# that two labels never are one weight.
DIGITS, SHARE_DIGITS = 6, 9


@dataclass(frozen=True, order=True)
class Point:
    """λ of each domain model, in the recipe's order."""

    weights: tuple[Decimal, ...]

    @property
    def total(self) -> Decimal:
        """The domain models' share of the merged body, Σλ."""
        return sum(self.weights, Decimal(0))

    @property
    def label(self) -> str:
        """The weights as text, without needless zeros: the name of a folder, a column, a curve.

        >>> Point((Decimal("0.10"), Decimal("0"))).label
        '0.1,0'
        """
        return ",".join(_plain(weight) for weight in self.weights)

    def as_floats(self) -> list[float]:
        return [float(weight) for weight in self.weights]


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def parse(text: str) -> list[Decimal]:
    """The numbers of ``start:stop:step`` (the stop included) or of a list with commas.

    Decimal arithmetic: 0:1:0.05 has 0.35 and not 0.35000000000000003.

    >>> [str(n) for n in parse("0:0.2:0.1")], [str(n) for n in parse("0.5,0.25")]
    (['0.0', '0.1', '0.2'], ['0.5', '0.25'])

    Raises:
        HarnessError: not such a text, or a number that is no share.
    """
    if ":" in text:
        parts = [_number(part, "--weight", text) for part in text.split(":")]
        if len(parts) != 3:
            raise HarnessError(f"--weight {text}: expected START:STOP:STEP, as in 0:1:0.05")
        start, stop, step = parts
        if step <= 0 or stop < start:
            raise HarnessError(
                f"--weight {text}: expected START <= STOP and STEP > 0, as in 0:1:0.05"
            )
        count = int((stop - start) / step) + 1
        if count > MOST:
            raise HarnessError(f"--weight {text}: {count:,} values; did you mean a larger step?")
        numbers = [start + step * index for index in range(count)]
        if numbers[-1] != stop:
            raise HarnessError(
                f"--weight {text}: steps of {step} from {start} end at {numbers[-1]}, not at {stop}"
            )
    else:
        numbers = [_number(part, "--weight", text) for part in text.split(",")]
    for number in numbers:
        if not 0 <= number <= 1:
            raise HarnessError(
                f"--weight {text}: {number} is not in 0..1: it is λ, a domain model's share of the "
                "merged body"
            )
    return numbers


def _number(text: str, option: str, whole: str) -> Decimal:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise HarnessError(
            f"{option} {whole}: {text.strip()!r} is not a number; "
            "expected START:STOP:STEP or a list such as 0,0.3,0.6"
        )
    if number != 0 and not -DIGITS <= number.adjusted() <= DIGITS:
        raise HarnessError(f"{option} {whole}: {text.strip()} is out of range")
    if number != round(number, DIGITS):
        raise HarnessError(f"{option} {whole}: {text.strip()} has more than {DIGITS} decimals")
    return number


def points(
    texts: Sequence[str], models: Sequence[str], ratio: Sequence[Decimal] | None = None
) -> list[Point]:
    """Every point to measure, by total; that of the reward model itself, 0, always among them.

    Args:
        texts: of ``--weight``: one for all domain models, or one each.
        models: the domain models, for messages.
        ratio: how ``--path`` divides a total among them: a line instead of a grid.

    Returns:
        The grid of all combinations that leave the reward model a share (Σλ <= 1), or the line.

    Raises:
        HarnessError: other counts than domain models; nothing to try, or far too much.
    """
    axes = [parse(text) for text in texts]
    if ratio is not None:
        if len(axes) != 1:
            raise HarnessError("--path takes one --weight, the total along the line")
        found = {Point(_shares(total, ratio)) for total in axes[0]}
    else:
        if len(axes) not in (1, len(models)):
            raise HarnessError(
                f"--weight is given {len(axes)} times, and the recipe has {len(models)} domain "
                f"models ({', '.join(models)}): give it once, or once for each in this order"
            )
        axes = axes * len(models) if len(axes) == 1 else axes
        grid = (weights for weights in itertools.product(*axes) if sum(weights) <= 1)
        found = {Point(weights) for weights in itertools.islice(grid, MOST + 1)}
        if len(found) > MOST:
            raise HarnessError(
                f"--weight: a grid of more than {MOST:,} points; take larger steps, a line "
                "(--path), or dogerm search"
            )
    found = {Point(tuple(w.normalize() + 0 for w in point.weights)) for point in found}
    zero = Point((Decimal(0),) * len(models))
    if not found - {zero}:
        raise HarnessError(
            f"--weight {' --weight '.join(texts)}: nothing to try but 0, the reward model itself"
            + (" (weights that sum to more than 1 are left out)" if len(models) > 1 else "")
        )
    return sorted(found | {zero}, key=lambda point: (point.total, point.weights))


def ends(points: Sequence[Point]) -> list[Point]:
    """The reward model itself, and the most that was tried of each domain model alone.

    On a line through several models, where none is alone, its last point.

    Args:
        points: as `points` gives them.
    """
    alone: dict[int, Point] = {}
    for point in points:
        used = [index for index, weight in enumerate(point.weights) if weight]
        if len(used) == 1:
            alone[used[0]] = point  # the last is the largest
    return (
        [points[0], *(alone[index] for index in sorted(alone))]
        if alone
        else [points[0], points[-1]]
    )


def _shares(total: Decimal, ratio: Sequence[Decimal]) -> tuple[Decimal, ...]:
    """A total divided in a ratio; what rounding leaves is the last one's, so the sum is exact.

    >>> [str(share) for share in _shares(Decimal("0.5"), [Decimal(2), Decimal(1), Decimal(0)])]
    ['0.333333333', '0.166666667', '0']
    """
    whole = sum(ratio, Decimal(0))
    unit = Decimal(1).scaleb(-SHARE_DIGITS)
    shares = [(total * part / whole).quantize(unit, ROUND_DOWN) if part else part for part in ratio]
    last = max(index for index, part in enumerate(ratio) if part)
    shares[last] += total - sum(shares)
    return tuple(shares)


def parse_ratio(text: str, models: Sequence[str]) -> list[Decimal]:
    """The numbers of ``--path``, one for each domain model.

    Raises:
        HarnessError: another count, a number below 0, or all 0.
    """
    numbers = [_number(part, "--path", text) for part in text.split(",")]
    if len(numbers) != len(models) or min(numbers) < 0 or not any(numbers):
        raise HarnessError(
            f"--path {text}: expected {len(models)} numbers, one for each domain model "
            f"({', '.join(models)}), such as {','.join(['1'] * len(models))}"
        )
    return numbers
