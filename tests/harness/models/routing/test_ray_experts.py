"""Experts in Ray's actors: the same rewards as in one process, whatever becomes of an actor."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.models.actors.cluster import ray_module
from harness.models.routing.expert_actor import Row
from harness.rows.conversation import Conversation, Origin, Response
from tests import warm
from tests.harness.models.test_reward import TALK, requests, reward, some_pairs
from tests.harness.models.test_router import NAMES, ByHash, talks

ray = pytest.importorskip("ray")

Save = Callable[..., Path]


@pytest.fixture(scope="module")
def experts(save_reward_model: Save) -> dict[str, str]:
    return {name: str(save_reward_model(seed=seed)) for seed, name in enumerate(NAMES, 31)}


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A local Ray that takes this machine for one of 6 cores and 2 GPUs."""
    ray_module()  # and what it sets
    ray.init(
        "local",
        num_cpus=6,
        num_gpus=2,
        include_dashboard=False,
        object_store_memory=80 << 20,
        log_to_driver=False,
        runtime_env=warm.for_ray(),
    )
    yield
    ray.shutdown()


def router(experts: Any, **arguments: Any) -> Any:
    from harness.models.router import RewardRouter

    given = {"router": ByHash(), "device": "cpu", "batch_size": 4, "all_experts": True}
    return RewardRouter(experts, **{**given, **arguments})


def elsewhere(experts: Any, **arguments: Any) -> Any:
    """Where `in_actors` has the cores, this gets the GPUs; as they are not there, models don't."""
    return router(experts, **{"ray": "local", "device": None, **arguments})


def same(answers: list[Any], expected: list[Any]) -> None:
    """But for rounding, which differs with the number of threads."""
    for (score, _, details), (other, _, told) in zip(answers, expected, strict=True):
        assert score == pytest.approx(other, abs=1e-5)
        assert details["experts"] == pytest.approx(told["experts"], abs=1e-5)
        assert {**details, "experts": 0} == {**told, "experts": 0}


@pytest.fixture(scope="module")
def in_actors(cluster: None, experts: dict[str, str]) -> Iterator[Any]:
    """Two actors for three experts."""
    model = router(experts, ray="local", max_loaded=2, max_length=60)
    yield model
    model.pool._pool.close()


def test_rewards_are_those_of_one_process(
    in_actors: Any, experts: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """An actor keeps its expert where it can; what it warns of is told here."""
    long = [("What is it? " * 30, "Paris."), ("What is it? " * 30, "Berlin.")]
    asked = requests(talks([*some_pairs(6), *long]))
    expected = router(experts, max_length=60).loglikelihood(asked, True)
    assert in_actors.pool.loads == 2
    with caplog.at_level(logging.WARNING):
        same(in_actors.loglikelihood(asked, True), expected)
    assert re.search(r"the expert code: \d+ of 14 conversations were longer than max", caplog.text)
    assert in_actors.pool.loads == 3
    info = in_actors.get_model_info()
    assert [(one["name"], one["device"]) for one in info["members"]] == [(n, "cpu") for n in NAMES]
    processes = {one["process"] for one in info["members"]}
    assert len(processes) == 2 and os.getpid() not in processes
    assert all(one["node"] and one["model_num_parameters"] for one in info["members"])
    assert info["model_num_parameters"] > info["members"][0]["model_num_parameters"]


def test_what_lm_eval_asks_of_a_model(in_actors: Any, experts: dict[str, str]) -> None:
    """No model is loaded here for it."""
    one = reward(experts["general"], max_length=60)
    assert (in_actors.rank, in_actors.world_size, str(in_actors.device)) == (0, 1, "cpu")
    assert in_actors.chat_template(True) == one.chat_template(True)
    shown = in_actors.apply_chat_template(TALK)
    assert (shown, shown.messages) == (one.apply_chat_template(TALK), TALK)
    assert in_actors.pool.identities()["general"] == one.identity()


def test_rows_of_a_killed_actor_are_scored_by_another(
    in_actors: Any, experts: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    asked = requests(talks(some_pairs(6)))
    expected = router(experts, max_length=60).loglikelihood(asked, True)
    same(in_actors.loglikelihood(asked, True), expected)
    os.kill(in_actors.pool._pool._workers[0].pid, signal.SIGKILL)
    with caplog.at_level(logging.INFO):
        same(in_actors.loglikelihood(asked, True), expected)
    # Whose rows it had is the pool's choice: what it held last may not be asked for now.
    assert re.search(r"the worker of the expert \w+ was lost \(", caplog.text)
    assert "; another one takes its place" in caplog.text


def test_rows_are_the_same_when_they_arrive() -> None:
    import pickle

    from harness.models.score.requests import conversation, describe

    context = Conversation("shown", TALK, {"tools": [{"name": "f"}]}, Origin("rows.jsonl, row 3"))
    (text, messages) = requests([(context, "4"), (context, Response([{"role": "user"}], "x"))])
    for sent in (text, messages):
        got = pickle.loads(pickle.dumps(Row.of(sent))).request()
        assert conversation(got) == conversation(sent)
        assert conversation(got).beside == {"tools": [{"name": "f"}]}
        assert describe(got) == describe(sent)
        assert (got.task_name, got.doc_id, got.idx) == ("a-task", 0, sent.idx)


@pytest.mark.slow
def test_a_mistake_names_its_expert(
    cluster: None, experts: dict[str, str], language_model: Path
) -> None:
    wrong = {"math": experts["math"], "code": str(language_model)}
    always = {"router": None, "always": "math"}
    with pytest.raises(HarnessError, match=r"^the expert code: .* has no reward head of one numb"):
        elsewhere(wrong, **always, max_loaded=1)
    with pytest.raises(HarnessError, match=r"^the expert code: .* random head") as told:
        elsewhere(wrong, **always)
    assert "\n" not in str(told.value)
    model = elsewhere(experts, max_loaded=1)
    odd = [
        (Conversation("x", [{"role": "user", "content": "<s>"}], origin=("me, row 1", True)), "y")
    ]
    with pytest.raises(HarnessError, match=r"^the expert general: me, row 1, task a-task, docum"):
        model.loglikelihood(requests(odd), True)


def test_mistakes_are_one_line(experts: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HarnessError, match="ray=local and devices= both say where the experts go"):
        router(experts, ray="local", devices="cpu;cpu")
    with pytest.raises(HarnessError, match="device=cuda:1: with Ray each worker sees its own GPUs"):
        router(experts, ray="local", device="cuda:1")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as bound:  # but not listening
        bound.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(HarnessError, match=f"^ray={nobody}: nobody answers there"):
            router(experts, ray=nobody)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(HarnessError, match="ray=local is for one process, and here are 2: leave"):
        router(experts, ray="local")


def test_without_ray(experts: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(HarnessError, match=r"^ray= needs Ray .*pip install 'dogerm\[ray\]'"):
        router(experts, ray="local")
