# SPDX-License-Identifier: Apache-2.0
"""A progress bar that is gone before an error is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm


@contextmanager
def bar(count: int, *, hidden: bool) -> Iterator[Any]:
    """A bar for `count` rows; it stays when all are done, and is cleared by an error."""
    made = tqdm(total=count, desc="Scoring", unit="row", disable=hidden)
    try:
        yield made
    except BaseException:
        made.leave = False
        raise
    finally:
        made.close()
