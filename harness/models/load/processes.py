# SPDX-License-Identifier: Apache-2.0
"""Several processes: those that were asked for and did not come, and those of an ensemble."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold


def warn_of_a_lone_process(num_processes: int, environment: Mapping[str, str] = os.environ) -> None:
    """Say so where ``accelerate launch --cpu --num_processes N`` has started one process.

    On CPUs accelerate leaves it to ``mpirun`` to start more (``simple_launcher``, accelerate 1.15):
    without that, the run is as slow as without accelerate. That launcher sets ``MASTER_ADDR`` for
    two processes and more, and no rank.
    """
    on_cpu = environment.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    if num_processes == 1 and on_cpu and "MASTER_ADDR" in environment:
        logger.warning(
            "accelerate launch --cpu was asked for several processes and has started one; this "
            "starts N: ACCELERATE_USE_CPU=true torchrun --nproc_per_node N -m lm_eval ..."
        )


def started_processes() -> int:
    """How many processes a launcher has started for this run, by what accelerate looks at."""
    from accelerate.utils import get_int_from_env

    names = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
    return int(get_int_from_env(names, 1))


def is_first() -> bool:
    """Whether this process is the one that speaks for all that a launcher has started."""
    return os.environ.get("RANK", "0") == "0"


@dataclass(frozen=True)
class OneProcess:
    """What evaluate() asks about processes, where one runs and has no model of its own.

    Attributes:
        device: where what is here beside the models computes.
        batch_size: as the user gives it.
    """

    device: torch.device
    batch_size: int | str
    rank: int = 0
    world_size: int = 1

    def all_gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensors of all processes."""
        return tensor

    def gather_object(self, obj: Any, dst: int = 0) -> Any:
        """The objects of all processes."""
        return [obj]

    def barrier(self) -> None:
        """Wait for nobody."""


class MemberProcesses:
    """Mixin, before lm-eval's ``LM``: what evaluate() asks about processes, from the members.

    Every member knows the processes alike, for they come from accelerate's one shared state.
    """

    members: Sequence[Any]

    @property
    def device(self) -> torch.device:
        """Where the first member computes."""
        return self.members[0].device

    @property
    def rank(self) -> int:
        """Index of this process."""
        return int(self.members[0].rank)

    @property
    def world_size(self) -> int:
        """Number of processes."""
        return int(self.members[0].world_size)

    def all_gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensors of all processes."""
        gathered: torch.Tensor = self.members[0].all_gather(tensor)
        return gathered

    def gather_object(self, obj: Any, dst: int = 0) -> Any:
        """The objects of all processes, on process `dst`."""
        return self.members[0].gather_object(obj, dst)

    def barrier(self) -> None:
        """Wait for the other processes, and add up what all of them scored."""
        for member in self.members:
            member.barrier()
