"""What a trial gets depends on the seed and on the trials before it, not on the process."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import RetryHeartbeatStaleTrialCallback

from harness.study import samplers
from harness.study.space import Space
from harness.study.storage import without_warnings
from tests.harness.study.recipes import span

DRAWN = {name: FloatDistribution(0, 1) for name in ("attention", "mlp")}
KINDS = ["tpe", "cmaes", "random"]


def value(params: dict[str, float]) -> float:
    return -sum((found - 0.3) ** 2 for found in params.values())


def study(kind: str, seed: int = 0) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(sampler=samplers.sampler(kind, seed), direction="maximize")


def go_on(running: optuna.Study, count: int) -> list[dict[str, float]]:
    for _ in range(count):
        trial = running.ask(DRAWN)
        running.tell(trial, value(trial.params))
    complete = running.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    return [trial.params for trial in complete]


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_is_a_search(kind: str) -> None:
    first = go_on(study(kind), 15)
    assert go_on(study(kind), 15) == first
    assert go_on(study(kind, 1), 15) != first
    assert len({tuple(params.values()) for params in first}) == 15  # no draw is made twice


@pytest.mark.parametrize("kind", ["tpe", "random"])
def test_a_search_that_was_killed_draws_what_it_would_have_drawn(kind: str) -> None:
    """Another process has another sampler; the trial that died is tried again, in its place."""
    expected = go_on(study(kind), 15)
    killed = study(kind)
    go_on(killed, 6)
    dead = killed.ask(DRAWN)
    killed.sampler = samplers.sampler(kind, 0)
    killed.tell(dead, state=optuna.trial.TrialState.FAIL)
    with without_warnings():
        RetryHeartbeatStaleTrialCallback()(killed, killed.trials[dead.number])
    assert go_on(killed, 9) == expected


@pytest.mark.parametrize("kind", ["tpe", "cmaes"])
def test_what_was_found_is_used(kind: str) -> None:
    """Later trials lie nearer to the best than chance would."""
    late = go_on(study(kind), 60)[40:]
    by_chance = go_on(study("random"), 60)[40:]
    assert sum(map(value, late)) > sum(map(value, by_chance)) / 3


def test_a_grid_is_gone_through_in_order() -> None:
    space = Space(("a", "b"), (span(),), step=1)  # type: ignore[arg-type]
    points = space.points()
    running = optuna.create_study(sampler=samplers.sampler("grid", 0, points))
    drawn: dict[str, Any] = {n: FloatDistribution(*e) for n, e in space.drawn().items()}
    found = []
    for _ in range(4):
        trial = running.ask(drawn)
        running.tell(trial, 0.0)
        found.append(trial.params)
    assert found == [*points, points[0]]
