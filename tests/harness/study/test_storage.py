"""The storage and its study: whose trials they are, what they are about, and who died."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest

from harness.errors import HarnessError
from harness.study import samplers, storage
from harness.study import trials as study
from harness.study.trials import Trials

ABOUT = {"recipe": "{}", "model.safetensors of model 1": "1a2b"}
PARAMETERS = {"attention": (0.0, 1.0), "mlp": (0.0, 1.0)}

Make = Callable[..., Trials]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes what a process has; several share the database."""
    made = []

    def trials(owner: str = "here", **about: str) -> Trials:
        made.append(
            Trials(
                storage.connect(storage.in_folder(tmp_path)),
                {**ABOUT, **about},
                PARAMETERS,
                samplers.sampler("random", 0),
                None,
                True,
                owner,
            )
        )
        return made[-1]

    yield trials
    for one in made:
        one.close()


def ask(trials: Trials, limit: int = 10) -> optuna.Trial:
    trial = trials.ask(limit)
    assert trial is not None
    return trial


def test_a_limit_counts_all_trials(make: Make) -> None:
    first, second = make(), make("elsewhere")
    for trials in (first, second, first):
        trials.tell(ask(trials, 3), 0.5, "complete", {})
    assert first.ask(3) is None and second.ask(3) is None
    assert [trial.user_attrs["owner"] for trial in first.all()] == ["here", "elsewhere", "here"]


def test_the_owner_s_dead_trial_is_tried_again_at_once(make: Make) -> None:
    """By the next process of the same folder, which there is one of; in the same place."""
    died = ask(make()).params
    again = make()
    retried = ask(again)
    assert retried.params == died
    again.tell(retried, 0.5, "complete", {})
    assert again.ask(1) is None
    assert [trial.state.name for trial in again.all()] == ["COMPLETE"]


def test_a_trial_that_kills_its_process_is_given_up(make: Make) -> None:
    for _ in range(storage.RETRIES + 1):
        ask(make(), 1)
    last = make()
    assert last.ask(1) is None
    assert [trial.state.name for trial in last.all()] == ["FAIL"]


def grow_old(folder: Path, *trials: optuna.Trial) -> None:
    """As if nothing had been heard of them for a day."""
    aged = (
        "UPDATE trial_heartbeats SET heartbeat = datetime(heartbeat, '-1 day') WHERE trial_id = ?"
    )
    with sqlite3.connect(folder / "search.db", timeout=600) as database:
        changed = database.executemany(aged, [(trial._trial_id,) for trial in trials])
        assert changed.rowcount == len(trials)


def heard_of(folder: Path, trial: optuna.Trial) -> bool:
    """Whether its process has said since that it lives."""
    recent = (
        "SELECT heartbeat > datetime('now', '-1 hour') FROM trial_heartbeats WHERE trial_id = ?"
    )
    with sqlite3.connect(folder / "search.db", timeout=600) as database:
        ((found,),) = database.execute(recent, (trial._trial_id,))
    return bool(found)


def test_another_machine_s_trial_is_left_alone_while_it_lives(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is silent is tried again by whoever asks, and its own late end does not count."""
    for module in (storage, study):
        monkeypatch.setattr(module, "HEARTBEAT", 1)
    alive, silent, here = make("alive"), make("silent"), make()
    living, dead = ask(alive), ask(silent)
    silent.close()
    grow_old(tmp_path, living, dead)
    until = time.monotonic() + 600
    while not heard_of(tmp_path, living):  # it says so every second, as soon as it gets to it
        assert time.monotonic() < until
        time.sleep(0.1)
    trial = ask(here, 100)
    assert trial.params == dead.params
    here.tell(trial, 0.1, "complete", {})
    assert ask(here, 100).params not in (dead.params, living.params)
    assert alive.tell(living, 0.9, "complete", {})
    assert not silent.tell(dead, 0.9, "complete", {})
    assert [trial.value for trial in here.all()][:2] == [0.9, 0.1]


def test_a_changed_input_is_another_study(make: Make) -> None:
    """It says what changed beside the study that is most like it."""
    first = make()
    assert first.nearest is None
    first.tell(ask(first), 0.5, "complete", {})
    make(recipe="other", metric="margin")
    changed = make(**{"model.safetensors of model 1": "ffff"})
    assert changed.nearest == first.name
    assert changed.changed == ["model.safetensors of model 1: 1a2b -> ffff"]
    assert changed.all() == []
    assert len(make().all()) == 1 and make().nearest is None


def test_what_is_told_of_a_trial_is_kept(make: Make) -> None:
    trials = make()
    trial = ask(trials)
    assert trials.report(trial, 0.25, 1) is False
    assert trials.tell(trial, None, "pruned", {"scored": 12})
    (kept,) = make().all()
    assert (kept.value, study.measured(kept)) == (0.25, {"scored": 12})


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nowhere", "Could not parse SQLAlchemy URL"),
        ("sqlite:////no/such/folder/x.db", "unable to open database file"),
        ("redis://host/0", "Can't load plugin"),
        ("oracle://ann:secret@host/db", "oracle://ann:***@host/db: No module named"),
    ],
)
def test_a_storage_that_is_not_there_is_told(url: str, said: str) -> None:
    with pytest.raises(HarnessError) as refused:
        storage.connect(url)
    message = str(refused.value)
    assert message.startswith("--storage ") and said in message
    assert "secret" not in message and "\n" not in message


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "search.db").write_text("some notes\n" * 100, "utf-8")
    with pytest.raises(HarnessError, match="file is not a database"):
        storage.connect(storage.in_folder(tmp_path))
