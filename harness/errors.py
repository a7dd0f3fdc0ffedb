# SPDX-License-Identifier: Apache-2.0
"""The one exception that this package raises at its users, and how its commands tell it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import click

from dogerm_plugin.errors import UserError

# A full disk, as libraries tell it that raise no OSError: tokenizers and safetensors; torch.save,
# which finds fewer bytes in the file than it wrote.
_FULL = re.compile(r"No space left on device|inline_container\.cc:\d+\] \. unexpected pos")


class HarnessError(UserError):
    """A mistake in what is evaluated, trained or shown."""


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """A command's work: a mistake, or a file that can't be read or written, is told in one line.

    So is a full disk, of which a library makes an error of its own.

    Raises:
        click.ClickException: which click prints without a traceback, with exit status 1.
    """
    try:
        yield
    except (HarnessError, OSError) as error:
        raise click.ClickException(" ".join(str(error).split())) from error
    except Exception as error:
        if not _FULL.search(str(error)):
            raise
        raise click.ClickException(
            f"the disk is full ({first_line(error)}): free some space and start again"
        ) from error


@contextmanager
def at(place: object) -> Iterator[None]:
    """Work on a part of the input: a mistake in it is told with its place before it.

    Raises:
        HarnessError: the one that was raised, with the place.
    """
    try:
        yield
    except HarnessError as error:
        raise HarnessError(f"{place}: {error}") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message that says something; without one, the error's kind.

    >>> first_line(ValueError("  no such file \\n\\n at ..."))
    'no such file'
    >>> first_line(ValueError())
    'ValueError'
    """
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)
