# SPDX-License-Identifier: Apache-2.0
"""What runs in a Ray actor: a worker in a process that is set up like the driver's."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError

# The actor sets its environment before it imports what reads it (huggingface_hub, for one), and
# Spec's module leads there: here these are names for the type checker only.
if TYPE_CHECKING:
    from harness.study.spec import Spec
    from harness.study.worker import Job, Outcome

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
    """A `harness.study.worker.Worker` in a process of Ray's, set up like the driver's.

    Args:
        setting: the driver's.
    """

    def __init__(self, setting: Setting) -> None:
        os.environ.update(setting.environment)
        if Path(setting.folder).is_dir():
            os.chdir(setting.folder)
        self._setting = setting

    def start(self, spec: Spec, files: Sequence[str]) -> int:
        """Examine the models and load the rows; gives the process's id.

        Args:
            spec: what to measure with.
            files: models and data that must be here, as the driver names them.

        Raises:
            HarnessError: one of the files can't be read here; or as `Worker`.
            MergeError: as `Worker`, on the driver's machine.
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
        from harness.study.worker import Worker

        torch.set_num_threads(self._setting.threads)
        try:
            self._worker = Worker(spec)
        except (HarnessError, MergeError) as error:
            if not self._setting.remote:
                raise
            raise HarnessError(f"{_node()}: {error}") from None
        return os.getpid()

    def run(self, job: Job) -> Outcome:
        """See `Worker.run`."""
        return self._worker.run(job)


def local_files(spec: Spec) -> list[str]:
    """The files and folders of this machine that a worker reads, as the user names them."""
    from mergekit.common import ModelReference

    recipe = spec.recipe
    models = map(ModelReference.parse, (recipe.reward_model, *recipe.domain_models))
    named = [
        *(part.path for model in models for part in (model.model, model.lora) if part),
        *(task for task in (*spec.select, *spec.report) if task.endswith((".yaml", ".yml"))),
        *map(str, spec.include_path),
        *map(str, spec.metadata.values()),
        os.environ.get("DOGERM_DATA_DIR", ""),
    ]
    return [name for name in dict.fromkeys(named) if name and Path(name).exists()]


def _node() -> str:
    import ray

    return f"Ray node {ray.util.get_node_ip_address()}"
