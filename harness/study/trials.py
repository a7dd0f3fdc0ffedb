# SPDX-License-Identifier: Apache-2.0
"""The trials of a search in an Optuna study that is about nothing else.

A study is named by the digest of all that its scores depend on, and of what was asked for; so a
changed input is another study, and a killed search, or another machine, finds the same one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.runs.identity import differences, digest
from harness.study.heartbeat import Heartbeat
from harness.study.samplers import retried
from harness.study.storage import HEARTBEAT, try_again, without_warnings

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

OWNER, IDENTITY, MEASURED = "owner", "identity", "measured"


def measured(trial: FrozenTrial) -> dict[str, Any]:
    """What was kept of a trial; empty where its process died."""
    attributes: dict[str, Any] = trial.user_attrs.get(MEASURED, {})
    return attributes


class Trials:
    """Asks for trials and keeps what became of them.

    Args:
        storage: see `harness.study.storage.connect`.
        about: what the study is about: part -> text.
        parameters: what is drawn: name -> bounds, or the texts among which to choose.
        sampler: what draws.
        pruner: what stops poor trials; None: nothing.
        rising: whether a larger score is better.
        owner: who asks: a process, of which there is one at a time.

    Attributes:
        name: the study's.
        rising: whether a larger score is better.
        nearest: where the study is new, that of the storage which is most like it.
        changed: what differs there.
        begun: how many trials there are, as of the last `ask`.
    """

    def __init__(
        self,
        storage: RDBStorage,
        about: Mapping[str, str],
        parameters: Mapping[str, tuple[Any, ...]],
        sampler: BaseSampler,
        pruner: BasePruner | None,
        rising: bool,
        owner: str,
    ) -> None:
        import optuna

        self.name = f"dogerm-{digest(about)}"
        self.rising = rising
        self.nearest, self.changed = _nearest(storage, self.name, about)
        with without_warnings():
            self.study: Study = optuna.create_study(
                storage=storage,
                study_name=self.name,
                direction="maximize" if rising else "minimize",
                sampler=sampler,
                pruner=pruner or optuna.pruners.NopPruner(),
                load_if_exists=True,
            )
        self.study.set_user_attr(IDENTITY, dict(about))
        self._drawn: dict[str, BaseDistribution] = {
            name: optuna.distributions.CategoricalDistribution(bounds)
            if isinstance(bounds[0], str)
            else optuna.distributions.FloatDistribution(*bounds)
            for name, bounds in parameters.items()
        }
        self.begun = 0
        self._owner = owner
        self._fail_own()
        self._heartbeat = Heartbeat(storage, HEARTBEAT)

    def ask(self, limit: int) -> Trial | None:
        """The next trial; None where there have been so many.

        Trials whose process died come first, and don't count again.
        """
        import optuna

        with without_warnings():
            optuna.storages.fail_stale_trials(self.study)
            trials = self.study.get_trials(deepcopy=False)
            if not any(trial.state == optuna.trial.TrialState.WAITING for trial in trials):
                self.begun = sum(retried(trial) is None for trial in trials)
                if self.begun >= limit:
                    return None
                self.begun += 1
                # Not asked for directly: so a trial has an owner from its first moment, and none
                # is lost should this process die in the next.
                self.study.enqueue_trial({}, user_attrs={OWNER: self._owner})
            trial = self.study.ask(self._drawn)
        if trial.user_attrs.get(OWNER) != self._owner:
            trial.set_user_attr(OWNER, self._owner)
        self._heartbeat.start(trial._trial_id)
        return trial

    def report(self, trial: Trial, score: float, step: int) -> bool:
        """Tell a score on a part of the rows; gives whether to stop there."""
        from optuna.exceptions import UpdateFinishedTrialError

        try:
            trial.report(score, step)
        except UpdateFinishedTrialError:  # given up as lost by another process
            return True
        return trial.should_prune()

    def tell(self, trial: Trial, value: float | None, state: str, about: Mapping[str, Any]) -> bool:
        """Finish a trial.

        Args:
            trial: one that was asked for.
            value: its score, where it is complete.
            state: ``complete``, ``pruned`` or ``fail``.
            about: what else to keep of it; JSON types.

        Returns:
            Whether that counts: another process may have given the trial up as lost.
        """
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        self._heartbeat.stop(trial._trial_id)
        try:
            trial.set_user_attr(MEASURED, dict(about))
        except UpdateFinishedTrialError:
            return False
        told = self.study.tell(trial, value, TrialState[state.upper()], skip_if_finished=True)
        return told.state == TrialState[state.upper()]

    def best(self) -> FrozenTrial | None:
        """The complete trial with the best score so far, whichever process ran it."""
        try:
            return self.study.best_trial
        except ValueError:  # none is complete
            return None

    def all(self) -> list[FrozenTrial]:
        """Every trial, in the order of their places; of one that was tried again, the last."""
        latest: dict[int, FrozenTrial] = {}
        for trial in self.study.get_trials(deepcopy=False):
            first = retried(trial)
            latest[trial.number if first is None else first] = trial
        return list(latest.values())

    def close(self) -> None:
        """No trial is run any more."""
        self._heartbeat.close()

    def _fail_own(self) -> None:
        """Try again what the owner's earlier process left behind."""
        from optuna.trial import TrialState

        for trial in self.study.get_trials(deepcopy=True, states=(TrialState.RUNNING,)):
            if trial.user_attrs.get(OWNER) == self._owner:
                self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
                try_again()(self.study, trial)


def _nearest(
    storage: RDBStorage, name: str, about: Mapping[str, str]
) -> tuple[str | None, list[str]]:
    """The study that is most like a new one, the latest of equals, and what differs."""
    studies = {
        study.study_name: study.user_attrs.get(IDENTITY) for study in storage.get_all_studies()
    }
    if name in studies:
        return None, []
    earlier = [
        (differences(before, about), other) for other, before in reversed(studies.items()) if before
    ]
    if not earlier:
        return None, []
    changed, nearest = min(earlier, key=lambda one: len(one[0]))
    return nearest, changed
