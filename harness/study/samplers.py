# SPDX-License-Identifier: Apache-2.0
"""Optuna's samplers, made so that a search can be killed, gone on with and shared.

What a trial gets depends on the seed, on the trial's place in the study and on the trials before it
only: not on which process asks, nor on how often it was started. A trial that is tried again, as
its process died, keeps its place (but CMA-ES adds Optuna's number to the seed, so that what comes
after such a trial is another draw).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    PartialFixedSampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import FrozenTrial

from harness.errors import HarnessError
from harness.study.storage import without_warnings

GRID = "grid"
_MADE: dict[str, type[BaseSampler]] = {
    "tpe": TPESampler,
    "cmaes": CmaEsSampler,
    "random": RandomSampler,
}


def sampler(kind: str, seed: int, points: Sequence[Mapping[str, float]] = ()) -> BaseSampler:
    """The sampler of a name.

    Args:
        kind: ``tpe``, ``cmaes``, ``random`` or ``grid``.
        seed: of the first three.
        points: of the grid, which are taken in their order, and once more from the start. Optuna's
            `GridSampler` shuffles, takes products only (not what leaves the reward model a share),
            and stops a study by an exception where it is asked and told.

    Raises:
        HarnessError: ``cmaes`` without the package of that name.
    """
    if kind == "cmaes":
        try:
            import cmaes  # noqa: F401  (Optuna imports it when the second trial is asked for)
        except ImportError as error:
            raise HarnessError(
                "--sampler cmaes needs cmaes: pip install 'dogerm[search]'"
            ) from error

    def made(seed: int, number: int) -> BaseSampler:
        if kind != GRID:
            return _MADE[kind](seed=seed)  # type: ignore[call-arg]
        with without_warnings():
            point = dict(points[number % len(points)])
            return PartialFixedSampler(point, RandomSampler(seed))

    return ForEachTrial(made, seed)


def place(study: Study, trial: FrozenTrial) -> int:
    """How many trials came before, those that were tried again counted once."""
    first = retried(trial)
    number = trial.number if first is None else first
    before = study.get_trials(deepcopy=False)[:number]
    return sum(retried(one) is None for one in before)


def retried(trial: FrozenTrial) -> int | None:
    """The number of the first trial that this one stands for, if it is not the first."""
    # What RetryHeartbeatStaleTrialCallback.retried_trial_number gives, which warns at every call.
    first: int | None = trial.system_attrs.get("failed_trial")
    return first


class ForEachTrial(BaseSampler):
    """A sampler that is made anew for every trial, with a seed of its own.

    Optuna's keep nothing between trials that is not in the storage, but the state of their random
    numbers, which is lost with the process and the same in all that share a seed.

    Args:
        make: makes it of that seed and the trial's place in the study.
        seed: of all.
    """

    def __init__(self, make: Callable[[int, int], BaseSampler], seed: int) -> None:
        self._make = make
        self._seed = seed
        self._of_trial = make(seed, 0)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the trial's sampler."""
        number = place(study, trial)
        seed = np.random.SeedSequence([self._seed, number]).generate_state(1)
        self._of_trial = self._make(int(seed[0]), number)
        self._of_trial.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """See `BaseSampler`."""
        return self._of_trial.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See `BaseSampler`."""
        return self._of_trial.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """See `BaseSampler`."""
        return self._of_trial.sample_independent(study, trial, param_name, param_distribution)
