# SPDX-License-Identifier: Apache-2.0
"""A study's jobs done by Ray actors, each with one live model (`harness.models.actors`)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from harness.models.actors.pool import ActorPool, Made
from harness.study.spec import Spec
from harness.study.worker import Job, Outcome, Worker


class RayPool(ActorPool[Job, Outcome]):
    """Actors that measure; see `harness.study.worker.Pool`.

    Args:
        spec: what to measure with. Its recipe's text travels, its models and data do not.
        address: as `ActorPool`.
        workers: how many actors; see `harness.models.actors.cluster.divide`.
        retries: how often a job whose worker was lost is tried again.
        say: told, in a line each, of the workers and of every loss.

    Raises:
        HarnessError: as `ActorPool`.
    """

    def __init__(
        self,
        spec: Spec,
        address: str = "local",
        workers: int | None = None,
        *,
        retries: int = 3,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        arguments = spec.settings.model_args
        super().__init__(
            Made(Worker, (spec,), local_files(spec)),
            address,
            workers,
            device=str(arguments.get("device") or ""),
            spread=bool(arguments.get("parallelize")),
            retries=retries,
            say=say,
        )


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
