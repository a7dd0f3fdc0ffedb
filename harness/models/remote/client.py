# SPDX-License-Identifier: Apache-2.0
"""Asks a server over HTTP, again where it is busy or gone for a while, and says what it refuses."""

from __future__ import annotations

import http.client
import json
import logging
import math
import os
import random
import threading
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from harness.errors import HarnessError, first_line

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

# Seconds before a request is made again; twice as many after each failure.
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0

# The server's key, where it wants one. Not an argument: those are written into results.
KEY = "DOGERM_API_KEY"

# Busy, or being restarted: the same request can do better later.
_LATER = {408, 425, 429, 502, 503, 504}
# Whoever asks, whatever is asked.
_NOBODY = {401, 403, 404, 405}


class OutOfReach(HarnessError):
    """A server that is no help to any row: nobody answers, or it is another one than was meant."""


class Refused(HarnessError):
    """A server refuses, or fails on, what it was sent; another row may do better."""


class Client:
    """A server.

    Args:
        base_url: ``http://HOST:PORT``, with or without the protocol's path.
        path: of the protocol.
        max_retries: how often a request is made again.
        timeout: seconds to wait for an answer.

    Attributes:
        url: that is asked.

    Raises:
        HarnessError: `base_url` is none.
    """

    def __init__(self, base_url: str, path: str, max_retries: int, timeout: float) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise HarnessError(f"base_url={base_url} is no address; write http://HOST:PORT")
        self.url = f"{base_url.rstrip('/').removesuffix(path)}{path}"
        self._max_retries, self._timeout = max_retries, timeout
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let no request wait for a server any more: nobody wants its answer."""
        self._stopped.set()

    def go_on(self) -> None:
        """Let requests wait again."""
        self._stopped.clear()

    def ask(self, content: Mapping[str, Any]) -> Any:
        """The answer's JSON to a request's.

        Raises:
            Refused: the server does not take this content, or fails on it again and again.
            OutOfReach: nobody answers, again and again; or not with JSON.
        """
        body = json.dumps(content).encode()
        for attempt in range(self._max_retries + 1):
            try:
                return self._once(body)
            except _Later as later:
                if attempt == self._max_retries or self._stopped.is_set():
                    raise later.kind(f"{later} ({_times(attempt + 1)})") from None
                if not attempt:
                    logger.warning("%s; it is asked again", later)
                wait = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt) * random.uniform(0.75, 1.25)
                self._stopped.wait(max(wait, later.seconds))
        raise AssertionError("the last attempt raises or returns")

    def _once(self, body: bytes) -> Any:
        headers = {"Content-Type": "application/json"}
        if os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {os.environ[KEY]}"
        try:
            with urlopen(Request(self.url, body, headers), timeout=self._timeout) as answer:
                text = answer.read()
        except HTTPError as error:
            raise self._refusal(error) from None
        except (URLError, OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                reason = f"no answer in {self._timeout:g} seconds; timeout= gives it more"
            else:
                reason = f"{reason if isinstance(reason, str) else first_line(reason)}"
            raise _Later(f"{self.url} can't be reached: {reason}", OutOfReach) from None
        try:
            return json.loads(text)
        except ValueError as error:
            raise OutOfReach(f"{self.url} answers with no JSON: {_shown(text)!r}") from error

    def _refusal(self, error: HTTPError) -> Exception:
        try:
            told = _told(error.read())
        except (OSError, http.client.HTTPException):
            told = ""
        line = f"{self.url} answers {error.code} {error.reason}{told and f': {told}'}"
        if error.code in _NOBODY:
            hint = f"; is {KEY} set?" if error.code in (401, 403) else "; is api= the right one?"
            return OutOfReach(line + hint)
        if error.code in _LATER:
            return _Later(line, OutOfReach, _seconds(error.headers.get("Retry-After")))
        return _Later(line, Refused) if error.code >= 500 else Refused(line)


class _Later(Exception):
    """It may go better later; what it is if not, and the seconds that the server asks for."""

    def __init__(self, text: str, kind: type[HarnessError], seconds: float = 0.0) -> None:
        super().__init__(text)
        self.kind, self.seconds = kind, seconds


def _seconds(text: str | None) -> float:
    try:
        seconds = float(text or 0)
    except ValueError:  # a date
        return 0.0
    return min(LONGEST_WAIT, seconds) if math.isfinite(seconds) else 0.0


def _times(count: int) -> str:
    return "asked once" if count == 1 else f"asked {count} times"


def _told(text: bytes) -> str:
    """A server's own words: FastAPI's and OpenAI's forms, or what there is."""
    try:
        told: Any = json.loads(text)
    except ValueError:
        return _shown(text)
    for key in ("error", "detail", "message"):
        if isinstance(told, Mapping) and key in told:
            told = told[key]
    return _shown(told if isinstance(told, str) else json.dumps(told))


def _shown(text: str | bytes) -> str:
    plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    line = " ".join(plain.split())
    return line if len(line) <= 300 else f"{line[:300]} ..."
