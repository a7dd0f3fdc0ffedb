# SPDX-License-Identifier: Apache-2.0
"""A server's rewards of conversations, several requests at a time; whose fault it is if not."""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from harness.errors import HarnessError
from harness.models.load.arguments import number
from harness.models.remote.client import Client, Refused
from harness.models.remote.protocols import PROTOCOLS, Protocol, Row, Unexpected

# Requests that are ready for each that is under way, so that none waits for the tokenizer.
AHEAD = 2


class Server:
    """Asks for rewards.

    Args:
        client: reaches the server.
        protocol: of the server.
        model: its name there, for servers that have several.
        num_concurrent: requests at a time.
    """

    def __init__(
        self, client: Client, protocol: Protocol, model: str | None, num_concurrent: int
    ) -> None:
        self.client, self.protocol = client, protocol
        self._model, self._num_concurrent = model, num_concurrent

    @classmethod
    def of(
        cls,
        base_url: str | None,
        api: str | None,
        model: str | None,
        *,
        num_concurrent: int | str,
        max_retries: int | str,
        timeout: float | str,
    ) -> Server:
        """What ``--model_args`` ask for; see `harness.models.http.RewardHttp`.

        Raises:
            HarnessError: an argument makes no sense.
        """
        if base_url is None:
            raise HarnessError("--model_args lacks base_url=http://HOST:PORT, the server's")
        if api is None:
            raise HarnessError(f"--model_args lacks api=, which is one of {', '.join(PROTOCOLS)}")
        if api not in PROTOCOLS:
            raise HarnessError(f"api={api} is unknown; it is one of {', '.join(PROTOCOLS)}")
        protocol = PROTOCOLS[api]()
        client = Client(
            base_url,
            protocol.PATH,
            _whole(max_retries, "max_retries", 0),
            number(timeout, "timeout", positive=True),
        )
        return cls(client, protocol, model, _whole(num_concurrent, "num_concurrent", 1))

    def otherwise(self, protocol: Protocol) -> Server:
        """The same server, asked in another way."""
        return Server(self.client, protocol, self._model, self._num_concurrent)

    def score(self, rows: Sequence[Row]) -> list[float | str]:
        """The rewards of some rows, in their order, or why a row has none; by one request.

        A row has none that the server refuses, gives no finite number, or has not read whole. A
        request that fails is made again with half of the rows, until the one shows that it is
        about: a server's NaN can be in all rows of a padded batch.

        Raises:
            OutOfReach: there is no such server.
        """
        try:
            return list(self._asked(rows))
        except (Refused, Unexpected) as error:
            if len(rows) == 1:
                return [str(error)]
        half = len(rows) // 2
        return self.score(rows[:half]) + self.score(rows[half:])

    def score_all(
        self, batches: Iterable[Sequence[Row]]
    ) -> Generator[tuple[int, list[float | str]], None, None]:
        """The outcomes of batches as they come, each with its batch's number; see `score`.

        Closed before its end, it lets no request wait or be made any more.
        """
        pool = ThreadPoolExecutor(self._num_concurrent, "requests")
        numbers: dict[Future[list[float | str]], int] = {}
        try:
            for batch, rows in enumerate(batches):
                numbers[pool.submit(self.score, rows)] = batch
                if len(numbers) >= AHEAD * self._num_concurrent:
                    yield from _done(numbers)
            while numbers:
                yield from _done(numbers)
        finally:
            self.client.stop()
            pool.shutdown(cancel_futures=True)
            self.client.go_on()

    def _asked(self, rows: Sequence[Row]) -> list[float]:
        answer = self.client.ask(self.protocol.asks(rows, self._model))
        found = self.protocol.rewards(answer, len(rows))
        for one in found:
            if not _is_number(one):
                what = "no reward" if one is None else f"the reward {str(one)[:40]!r}"
                raise Unexpected(f"{self.client.url} gives {what}, no finite number")
        sent, read = sum(len(row.ids) for row in rows), self.protocol.tokens(answer)
        if read is not None and read != sent:
            raise Unexpected(
                f"{self.client.url} has read {read} tokens of the {sent} that were sent: it cuts "
                "conversations (max_length= keeps them shorter), or adds tokens of its own"
            )
        return [float(one) for one in found]


def _done(numbers: dict[Future[list[float | str]], int]) -> Iterator[tuple[int, list[float | str]]]:
    for future in wait(numbers, return_when=FIRST_COMPLETED).done:
        yield numbers.pop(future), future.result()


def _whole(value: Any, argument: str, least: int) -> int:
    if not re.fullmatch(r"\d+", str(value)) or int(value) < least:
        raise HarnessError(f"{argument}={value} is no whole number of {least} or more")
    return int(value)


def _is_number(one: Any) -> bool:
    return isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one)
