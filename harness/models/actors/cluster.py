# SPDX-License-Identifier: Apache-2.0
"""Ray itself, and how its GPUs or cores are divided among actors."""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import HarnessError

# How a command's user asks for Ray.
OPTION = "--ray "
# Cores for one actor where the user does not say how many there are to be.
CORES = 4
# Ray's least. Jobs and outcomes are small; weights never go through it.
_OBJECT_STORE = 80 << 20


def ray_module(option: str = OPTION) -> Any:
    """Ray, imported.

    Args:
        option: how the user has asked for it, for messages.

    Raises:
        HarnessError: it is not installed.
    """
    # Ray prints a paragraph about each lost worker on stdout, where a command's results go; a pool
    # says it in a line. (Ray reads the variable when it is imported.)
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "A worker died or was killed")
    # Ray would start a process for each core at once; an actor, with its own environment, gets none
    # of those.
    os.environ.setdefault("RAY_prestart_worker_first_driver", "false")
    try:
        import ray
    except ImportError as error:
        raise HarnessError(
            f"{option.strip()} needs Ray ({error}): pip install 'dogerm[ray]'"
        ) from error
    return ray


def connect(address: str, option: str = OPTION) -> bool:
    """Start Ray here (``local``) or join a cluster (``auto``, or its address), without its chatter.

    Args:
        address: which.
        option: how the user has given it, for messages.

    Returns:
        Whether there is something to shut down: not where this process is connected already.

    Raises:
        HarnessError: Ray is not installed; there is no such cluster, or it can't be started.
    """
    ray = ray_module(option)
    if ray.is_initialized():
        return False
    named = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    _refuse_silence(named, option)
    here: dict[str, Any] = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE}
    try:
        ray.init(
            address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **(here if address == "local" else {}),
        )
    except Exception as error:  # of many kinds, down to plain RuntimeError
        text = " ".join(str(error).split())
        if isinstance(error, ConnectionError) and address == "auto":
            text = "no cluster runs here: begin one with ray start --head, set RAY_ADDRESS to its "
            text += f"address, or take {option}local"
        raise HarnessError(f"{option}{address}: {text}") from error
    return True


def _refuse_silence(address: str, option: str) -> None:
    """Refuse an address where nobody answers: Ray itself tries for many minutes."""
    host, _, port = address.rpartition(":")
    if not port.isdigit() or "://" in address:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise HarnessError(
            f"{option}{address}: nobody answers there ({error}): is the cluster's head up, and is "
            "that the port that ray start told?"
        ) from error


@dataclass(frozen=True)
class Division:
    """How many actors there are, and what of the cluster each gets.

    Attributes:
        workers: how many actors.
        kind: ``GPU`` or ``CPU``.
        each: GPUs or cores for each actor; a whole number, or less than 1, as Ray wants it.
        threads: of torch, for each actor.
        free: GPUs or cores that nobody uses now.
    """

    workers: int
    kind: str
    each: float
    threads: int
    free: float

    @property
    def ask(self) -> dict[str, float]:
        """What each actor gets, as Ray's options."""
        return (
            {"num_gpus": self.each, "num_cpus": 0}
            if self.kind == "GPU"
            else {"num_cpus": self.each}
        )

    def told(self) -> str:
        """What each actor gets, in a line for the user."""
        workers = "1 worker" if self.workers == 1 else f"{self.workers} workers, each"
        line = f"Ray: {workers} with {self.each:g} {self.kind}"
        wanted = self.each * self.workers
        if self.free < wanted:
            wait = "some" if self.free >= self.each else "all"
            line += f"; {self.free:g} of these {wanted:g} are free now: {wait} have to wait"
        return line


def divide(workers: int | None, on_cpu: bool, *, spread: bool = False) -> Division:
    """Divide the GPUs or cores that the cluster has among actors.

    Args:
        workers: by default one for each GPU, or where there is none for every `CORES` cores.
        on_cpu: leave the GPUs alone.
        spread: a model is spread over GPUs: fewer workers than GPUs have several each.

    Raises:
        HarnessError: the cluster has nothing.
    """
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cores = [node["CPU"] for node in nodes if node.get("CPU")]
    gpus = [node["GPU"] for node in nodes if node.get("GPU")]
    free = ray.available_resources()
    if gpus and not on_cpu:
        every = int(sum(gpus))
        count = workers or every
        each = share(gpus if spread and count < every else [1.0] * every, count)
        threads = max(1, int(sum(cores) // count))
        return Division(count, "GPU", each, threads, free.get("GPU", 0))
    if not cores:
        raise HarnessError("the Ray cluster has neither a GPU nor a core to give; see ray status")
    count = workers or max(1, int(sum(cores) // CORES))
    each = share(cores, count)
    return Division(count, "CPU", each, max(1, int(each)), free.get("CPU", 0))


def share(nodes: Sequence[float], workers: int) -> float:
    """The largest share that each of some workers can have, none of them on two nodes.

    >>> share([8], 2), share([2], 4), share([4, 4], 3), share([6, 4], 3)
    (4.0, 0.5, 2.0, 3.0)

    Args:
        nodes: cores of each node; or 1 for each GPU, as no worker is on parts of two.
        workers: how many.
    """
    sizes = {_rounded(node / parts) for node in nodes for parts in range(1, workers + 1)}
    return max(size for size in sizes if sum(node // size for node in nodes) >= workers)


def _rounded(number: float) -> float:
    """Down to what Ray takes: a whole number, or one with four decimals below 1."""
    return float(math.floor(number)) if number >= 1 else math.floor(number * 1e4) / 1e4
