# SPDX-License-Identifier: Apache-2.0
"""What runs in a Ray actor: what it is given to make, in a process set up like the driver's."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError

# The actor sets its environment before it imports what reads it (huggingface_hub, for one): nothing
# here may lead there. What is made comes with `start`, whose arguments are read after that.

# Environment variables that decide what is measured, or where it is found.
_TRAVEL = ("DOGERM_", "HF_", "HUGGING_FACE_", "TOKENIZERS_", "TRANSFORMERS_")


@dataclass(frozen=True)
class Setting:
    """The driver's process, as far as an actor's is to be like it.

    Attributes:
        folder: the working directory.
        environment: variables.
        threads: of torch, in the actor.
        remote: whether actors may be on other machines, whose mistakes are told with their name.
    """

    folder: str
    environment: Mapping[str, str]
    threads: int
    remote: bool

    @classmethod
    def here(cls, threads: int, remote: bool) -> Setting:
        """The setting of this process."""
        travelling = {name: text for name, text in os.environ.items() if name.startswith(_TRAVEL)}
        return cls(os.getcwd(), travelling, threads, remote)

    def at_start(self) -> dict[str, str]:
        """The variables that count only from a process's start."""
        variables = {"OMP_NUM_THREADS": str(self.threads)}
        path = os.environ.get("PYTHONPATH")
        if path:
            variables["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, path.split(os.pathsep)))
        return variables


class Actor:
    """Something that does jobs, in a process of Ray's that is set up like the driver's.

    Args:
        setting: the driver's.
    """

    def __init__(self, setting: Setting) -> None:
        os.environ.update(setting.environment)
        if Path(setting.folder).is_dir():
            os.chdir(setting.folder)
        self._setting = setting

    def start(self, make: Callable[..., Any], given: Sequence[Any], files: Sequence[str]) -> int:
        """Make what does the jobs; gives the process's id.

        Args:
            make: makes it, with a ``run`` that takes a job.
            given: to `make`.
            files: models and data that must be here, as the driver names them.

        Raises:
            HarnessError: one of the files can't be read here; or as `make`.
            MergeError: as `make`, on the driver's machine.
        """
        for file in files:
            path = os.path.join(self._setting.folder, file)
            if not os.access(path, os.R_OK):
                raise HarnessError(
                    f"{_node()}: {path} is not there or can't be read; every node needs the models "
                    "and data files at the same path, as a shared folder gives them"
                )
        import torch

        from dogerm_plugin.errors import MergeError

        torch.set_num_threads(self._setting.threads)
        try:
            self._worker = make(*given)
        except (HarnessError, MergeError) as error:
            if not self._setting.remote:
                raise
            raise HarnessError(f"{_node()}: {error}") from None
        return os.getpid()

    def run(self, job: Any) -> Any:
        """What the worker gives for a job."""
        return self._worker.run(job)


def _node() -> str:
    import ray

    return f"Ray node {ray.util.get_node_ip_address()}"
