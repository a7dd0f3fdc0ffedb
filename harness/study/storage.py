# SPDX-License-Identifier: Apache-2.0
"""Optuna's storage of a search: a database, in its folder or shared by many machines."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, first_line

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

# A trial whose process has not been heard of for so long is tried again by another one (seconds).
HEARTBEAT, GRACE = 30, 150
# How often a trial is tried again, as its process died.
RETRIES = 3
# Seconds to wait for another process's write to a SQLite file.
_SQLITE_WAIT = 60


def check_installed() -> None:
    """Refuse to begin without Optuna.

    Raises:
        HarnessError: it is not installed.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise HarnessError(
            f"dogerm search needs Optuna ({error}): pip install 'dogerm[search]'"
        ) from error


def in_folder(folder: Path) -> str:
    """The URL of the storage in a search's folder."""
    from sqlalchemy.engine import URL

    return str(URL.create("sqlite", database=str(folder / "search.db")))


def connect_in(folder: Path) -> RDBStorage:
    """The storage in a search's folder, made if need be.

    Raises:
        HarnessError: there is no room for it, or the file can't be written.
    """
    try:
        return connect(in_folder(folder))
    except HarnessError as error:
        raise HarnessError(
            f"{folder / 'search.db'}: {first_line(error.__cause__ or error)}; what is finished in "
            f"{folder} is kept: see to its disk, and run the same command again"
        ) from error


def connect(url: str) -> RDBStorage:
    """The storage at a SQLAlchemy URL, its tables made if need be.

    Raises:
        HarnessError: there is no such database.
    """
    import optuna
    import sqlalchemy

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    engine = {"connect_args": {"timeout": _SQLITE_WAIT}} if url.startswith("sqlite") else None
    try:
        with without_warnings():
            return optuna.storages.RDBStorage(
                url,
                engine_kwargs=engine,
                heartbeat_interval=HEARTBEAT,
                grace_period=GRACE,
                heartbeat_stale_trial_callback=try_again(),
            )
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
        raise HarnessError(
            f"--storage {masked(url)}: {first_line(error)}; expected the URL of a database that "
            "can be reached, such as sqlite:///search.db or postgresql://user@host/database"
        ) from error
    except ImportError as error:
        raise HarnessError(
            f"--storage {masked(url)}: {first_line(error.__cause__ or error)}; install the "
            "database's Python driver, e.g. pip install psycopg2-binary"
        ) from error


def masked(url: str) -> str:
    """The URL without its password.

    >>> masked("postgresql://ann:secret@host/db")
    'postgresql://ann:***@host/db'
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url


def try_again() -> Any:
    """What makes a new trial of one whose process died: the same in all but its number."""
    from optuna.storages import RetryHeartbeatStaleTrialCallback

    with without_warnings():
        return RetryHeartbeatStaleTrialCallback(max_retry=RETRIES)


@contextmanager
def without_warnings() -> Iterator[None]:
    """Silence Optuna's word that heartbeats are experimental, and meant for `Study.optimize`."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.filterwarnings("ignore", "Heartbeat of storage", UserWarning)
        yield
