# SPDX-License-Identifier: Apache-2.0
"""Two models' versions of one matrix, compared by some of their rows.

Only their direction counts, and only what is left when the mean of every row and of every column is
taken off: weights with a constant part agree in that between models that share nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dogerm_plugin.methods.threads import one_thread

# One row in so many, but no fewer than ROWS and no more than NUMBERS have room for: that is every
# head about twice, and costs little beside the merge of them all.
STEP, ROWS, NUMBERS = 64, 16, 1 << 18
# Numbers below which a cosine is chance's, and rows or columns below which no mean is taken off.
FEWEST, FEW = 256, 8
# A cosine that says nothing, beside what chance gives.
SLACK = 0.1
# Share of the squares, without the means: of a constant, that is rounding.
CONSTANT = 1e-4
# Rows (or columns) that are strangers among near ones: how many at least, and how near the best
# quarter of all.
SHARE, NEAR = 0.03, 0.95
# Rows shorter than that, beside the typical one, are no evidence: neurons that died.
SHORT = 0.2


@dataclass(frozen=True)
class Sample:
    """How far one matrix is from another.

    Attributes:
        cosine: of the two, less the means of every row and column; in -1..1.
        numbers: that were compared.
        size: root mean square of the larger one, means included.
        width: of a row.
        turned: share of the rows, or columns, that have nothing to do with their counterparts,
            where the others are near: swapped heads or experts; else 0.
    """

    cosine: float
    numbers: int
    size: float
    width: int
    turned: float = 0.0

    @property
    def is_chance(self) -> bool:
        """Whether two unrelated matrices might be as near: within three standard deviations."""
        return self.cosine < SLACK + 3 / math.sqrt(self.numbers)


def take(mine: torch.Tensor, theirs: torch.Tensor) -> Sample | None:
    """Compare two tensors, all but the last axis being rows.

    Args:
        mine: (..., width), any floating dtype.
        theirs: the same shape.

    Returns:
        None where there are too few numbers to tell, or some are not finite.
    """
    if mine.shape != theirs.shape or mine.numel() < FEWEST:
        return None
    with one_thread():
        a, b = _rows(mine), _rows(theirs)
    with np.errstate(all="ignore"):  # what is not finite is told by the formula, by name
        products = [(a, b), (a, a), (b, b)]
        plain = [float(np.vdot(x, y)) for x, y in products]
        mine_sums, their_sums = _sums(a), _sums(b)
        pairs = [(mine_sums, their_sums), (mine_sums, mine_sums), (their_sums, their_sums)]
        rest = [p - _of_means(*pair) for p, pair in zip(plain, pairs, strict=True)]
        rest[1:] = [max(0.0, r) if math.isfinite(r) else r for r in rest[1:]]  # by rounding
        if not all(map(math.isfinite, (*plain, *rest))):
            return None
        size = math.sqrt(max(plain[1:]) / a.size)
        if all(r <= CONSTANT * p for r, p in zip(rest[1:], plain[1:], strict=True)):
            return Sample(_cosine(*plain), a.size, size, a.shape[1])
        cosine = _cosine(*rest)
        turned = 0.0
        if cosine < 1 - 0.9 * SHARE:
            _centre(a)
            _centre(b)
            turned = max(_turned(a, b), _turned(a.T, b.T))
    return Sample(cosine, a.size, size, a.shape[1], turned)


def _rows(tensor: torch.Tensor) -> Any:
    """Some rows from everywhere as a new array (rows, width), float32."""
    rows = tensor.detach().flatten(0, -2)
    count, width = rows.shape
    wanted = max(ROWS, min(count // STEP, NUMBERS // width))
    if tensor.ndim > 2:
        wanted = max(wanted, 2 * tensor.shape[0])  # experts
    step = max(1, count // wanted)
    step -= step > 1 and step % 2 == 0  # an even one would take the same row of every head
    return rows[::step].to("cpu", torch.float32, copy=True).numpy()


def _sums(rows: Any) -> tuple[Any, Any]:
    """The sums of every row, and of every column."""
    count, width = rows.shape
    return rows @ np.ones(width, rows.dtype), np.ones(count, rows.dtype) @ rows


def _of_means(a: tuple[Any, Any], b: tuple[Any, Any]) -> float:
    """What the means of two matrices add to their product, by the sums of rows and of columns.

    Without making the centred matrices, which takes longer than all the rest.
    """
    (by_row, by_column), (their_rows, their_columns) = a, b
    count, width = len(by_row), len(by_column)
    of_rows = float(by_row @ their_rows) / width if width >= FEW else 0.0
    of_columns = float(by_column @ their_columns) / count if count >= FEW else 0.0
    both = width >= FEW and count >= FEW
    grand = float(by_row.sum()) * float(their_rows.sum()) / (count * width) if both else 0.0
    return of_rows + of_columns - grand


def _centre(rows: Any) -> None:
    count, width = rows.shape
    if width >= FEW:
        rows -= rows.mean(1, keepdims=True)
    if count >= FEW:
        rows -= rows.mean(0)


def _cosine(dot: float, a: float, b: float) -> float:
    """The cosine of two vectors by product and squares; that of nothing and nothing is 1."""
    if a == b:
        return dot / a if a else 1.0
    return dot / math.sqrt(a) / math.sqrt(b) if a and b else 0.0


def _turned(a: Any, b: Any) -> float:
    """See `Sample.turned`; of the rows."""
    chance = 0.05 + 2 / math.sqrt(a.shape[1])
    dot, own, other = (np.einsum("ij,ij->i", x, y) for x, y in ((a, b), (a, a), (b, b)))
    longest = np.maximum(own, other)
    seen = longest > SHORT**2 * np.median(longest)
    if chance > 0.6 or not seen.any():
        return 0.0
    cosines = dot[seen] / np.sqrt(own[seen] * other[seen] + np.finfo(np.float32).tiny)
    strange = int((cosines < chance).sum())
    if strange < 2 or strange < SHARE * len(cosines) or np.quantile(cosines, 0.75) < NEAR:
        return 0.0
    return strange / len(cosines)
