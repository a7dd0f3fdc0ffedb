"""Mistakes that a user can mend: one line each, which names the cause and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import click


class UserError(ValueError):
    """A mistake that the user can repair; its message is one line.

    What was found, where, what was expected, and the way out. It is a `ValueError` because that is
    what the hosts themselves raise for bad input.
    """


class MergeError(click.ClickException, UserError):
    """A mistake in a recipe or its models, which ends a merge with one line.

    mergekit's commands are click commands, and click prints a `ClickException` as one line with
    exit status 1: so the same error is short for a person at the shell and an ordinary
    `ValueError` for a program that calls `mergekit.merge.run_merge`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))

    def __str__(self) -> str:
        return self.message


def from_host(error: BaseException) -> MergeError:
    """Turn an error of mergekit or transformers during one of our merges into one line."""
    text = str(error).strip() or type(error).__name__
    return MergeError(f"{text} ({type(error).__name__})")


def suggest(name: object, known: Iterable[str]) -> str:
    """What to add to a message about an unknown name: the nearest known one, or all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(str(name), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"
