# SPDX-License-Identifier: Apache-2.0
"""The file of ``--use_cache``: answers as JSON in SQLite, each with a digest.

lm-eval keeps answers pickled, and whoever can write such a file runs code in whoever reads it. Here
nothing is read but a table of this project's own, whose values are JSON. A file that is damaged
(cut, overwritten, a value that is not what was written) is set aside as ``NAME.damaged-1`` and a
new one begun: rewards can be computed again, and a wrong one would not show. So is a file of
pickles, which lm-eval's models and earlier versions of this project leave, as ``NAME.pickled-1``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, first_line

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

_SCHEMA = "CREATE TABLE answers (key TEXT PRIMARY KEY, value TEXT NOT NULL, digest TEXT NOT NULL)"

# Of sqlitedict, in which lm-eval keeps its pickles.
_PICKLES = "unnamed"

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class _NotOurs(Exception):
    """A file that is set aside: how it is to be called, and why."""

    def __init__(self, suffix: str, reason: str) -> None:
        super().__init__(reason)
        self.suffix = suffix


class AnswerStore(MutableMapping[str, Any]):
    """The answers of ``--use_cache`` on disk: key -> JSON value, each kept as soon as it is set.

    Args:
        path: the file; made with its folder where there is none.

    Raises:
        HarnessError: it can't be opened, or another process writes to it.
    """

    def __init__(self, path: str | Path) -> None:
        self.filename = str(path)
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            if Path(path).exists() and not Path(path).is_file():
                raise HarnessError(f"--use_cache: {path} is no file; give another path")
            self._open()
        except OSError as error:
            raise HarnessError(f"--use_cache: {path} can't be written: {error}") from error

    def __getitem__(self, key: str) -> Any:
        for (value,) in self._run("SELECT value FROM answers WHERE key = ?", key):
            return json.loads(value)
        raise KeyError(key)

    def __setitem__(self, key: str, value: Any) -> None:
        text = json.dumps(value, allow_nan=False)
        self._run("REPLACE INTO answers VALUES (?, ?, ?)", key, text, _digest(key, text))

    def update_at_once(self, values: Iterable[tuple[str, Any]]) -> None:
        """Set many values in one transaction, which takes hardly longer than one of them."""
        self._run("BEGIN")
        for key, value in values:
            self[key] = value
        self._run("COMMIT")

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._run("DELETE FROM answers WHERE key = ?", key)

    def __iter__(self) -> Iterator[str]:
        return (key for (key,) in self._run("SELECT key FROM answers ORDER BY rowid"))

    def __len__(self) -> int:
        return int(self._run("SELECT count(*) FROM answers")[0][0])

    def commit(self) -> None:
        """Nothing to do; lm-eval calls it."""

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _run(self, statement: str, *values: str) -> list[Any]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise HarnessError(
                f"--use_cache: {self.filename}: {first_line(error)}; it holds what was computed so "
                "far: make room and run the same command again, or give another path"
            ) from error

    def _open(self) -> None:
        try:
            self._connection = self._connected()
        except _NotOurs as error:
            kept = _set_aside(self.filename, error.suffix)
            logger.warning(
                "--use_cache: %s %s: set aside as %s, a new one is begun",
                self.filename,
                error,
                kept,
            )
            self._connection = self._connected()

    def _connected(self) -> sqlite3.Connection:
        """The file opened and looked through, once; it holds what was written, or is no cache."""
        connection = None
        try:
            # Autocommit, and no wait for the disk: a killed process loses nothing.
            connection = sqlite3.connect(self.filename, isolation_level=None)
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            tables = dict(connection.execute("SELECT name, sql FROM sqlite_master"))
            if _PICKLES in tables:
                raise _NotOurs(
                    "pickled", "holds pickles of lm-eval or an earlier version, which are not read"
                )
            if not tables:
                connection.execute(_SCHEMA)
            elif tables.get("answers") != _SCHEMA:
                raise _NotOurs("damaged", "is no cache of this project")
            if connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
                raise _NotOurs("damaged", "is damaged")
            rows = connection.execute("SELECT key, value, digest FROM answers")
            if any(digest != _digest(key, value) for key, value, digest in rows):
                raise _NotOurs("damaged", "is damaged (an answer is not what was written)")
        except BaseException as error:
            if connection is not None:
                connection.close()
            if not isinstance(error, sqlite3.Error | UnicodeError):
                raise
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in _BUSY:
                raise HarnessError(
                    f"--use_cache: another process writes to {self.filename}; give each run a "
                    "path of its own"
                ) from error
            if code in _DAMAGED or isinstance(error, UnicodeError) or _is_no_text(error):
                raise _NotOurs("damaged", f"is damaged ({first_line(error)})") from error
            raise HarnessError(
                f"--use_cache: {self.filename} can't be opened: {first_line(error)}; give another "
                "path"
            ) from error
        return connection


def _is_no_text(error: Exception) -> bool:
    """sqlite3 gives bytes that are no UTF-8 in a text as an `OperationalError` without a code."""
    return "decode to UTF-8" in str(error)


def _digest(key: Any, value: Any) -> str:
    return hashlib.sha256(f"{key}\n{value}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _set_aside(path: str, suffix: str) -> str:
    """Rename a file to a name that is free; SQLite has dealt with its journal by then."""
    number = 1
    while os.path.lexists(f"{path}.{suffix}-{number}"):
        number += 1
    kept = f"{path}.{suffix}-{number}"
    os.rename(path, kept)
    return kept
