"""Experts on several devices: the same rewards as one after the other, at once."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.errors import HarnessError
from harness.models.reward import Reward
from tests.harness.models.test_reward import requests, some_pairs
from tests.harness.models.test_router import NAMES, ByHash, talks

Save = Callable[..., Path]


@pytest.fixture(scope="module")
def experts(save_reward_model: Save) -> dict[str, str]:
    return {name: str(save_reward_model(seed=seed)) for seed, name in enumerate(NAMES, 31)}


def router(experts: Any, **arguments: Any) -> Any:
    from harness.models.router import RewardRouter

    return RewardRouter(experts, **{"router": ByHash(), "batch_size": 4, **arguments})


@pytest.mark.parametrize("share_prefix", [True, False])
@pytest.mark.parametrize("devices", ["cpu;cpu", ["cpu"] * 3, "cpu;cpu;cpu;cpu"])
def test_rewards_are_those_of_one_after_the_other(
    experts: dict[str, str], devices: Any, share_prefix: bool
) -> None:
    """To the bit: the same rows go together, and threads leave each other's packs alone."""
    asked = requests(talks(some_pairs(24)))
    options = {"share_prefix": share_prefix, "all_experts": True}
    expected = router(experts, device="cpu", **options).loglikelihood(asked, True)
    model = router(experts, devices=devices, **options)
    for _ in range(3):
        assert model.loglikelihood(asked, True) == expected
    assert model.pool.loads == 3


def test_devices_score_at_once(experts: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waits for the other in its first batch, which one after the other would never end."""
    both = threading.Barrier(2, timeout=60)
    scores, met = Reward.scores, set()

    def meeting(self: Reward, rows: Any) -> Any:
        if threading.get_ident() not in met:
            met.add(threading.get_ident())
            both.wait()
        return scores(self, rows)

    monkeypatch.setattr(Reward, "scores", meeting)
    model = router(experts, devices="cpu;cpu", all_experts=True, share_prefix=False)
    asked = requests(talks(some_pairs(4)))
    assert len(model.loglikelihood(asked, True)) == len(asked)
    assert len(met) == 2
    assert threading.get_ident() not in met


def test_each_device_has_so_many_in_memory(
    experts: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its share of the experts; they are loaded while nobody scores, by the main thread."""
    asked = requests(talks(some_pairs(6)))
    expected = router(experts, device="cpu", all_experts=True).loglikelihood(asked, True)
    loading: list[bool] = []
    load = Reward._create_model

    def noted(self: Reward, *given: Any, **options: Any) -> None:
        others = [one for one in threading.enumerate() if one.name.startswith("device")]
        loading.append(threading.current_thread() is threading.main_thread() and not others)
        load(self, *given, **options)

    monkeypatch.setattr(Reward, "_create_model", noted)
    model = router(experts, devices="cpu;cpu", max_loaded=1, all_experts=True)
    assert model.pool.loads == 2  # general and math; code is the second of the first device
    assert model.loglikelihood(asked, True) == expected
    assert model.pool.loads == 3
    assert model.loglikelihood(asked, True) == expected
    assert model.pool.loads == 4  # code was still there, general was not
    assert loading == [True] * 4
    info = model.get_model_info()
    assert [(one["name"], one["device"]) for one in info["members"]] == [(n, "cpu") for n in NAMES]
    assert info["model_num_parameters"] == sum(
        one["model_num_parameters"] for one in info["members"]
    )


def test_one_bar_counts_all_rows(
    experts: dict[str, str], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    asked = requests(talks(some_pairs(6)))
    model = router(experts, devices="cpu;cpu", all_experts=True)
    with caplog.at_level(logging.INFO):
        model.loglikelihood([*asked, *asked])
    assert "cpu: scoring 24 rows with math" in caplog.text
    bars = re.findall(r"\d+/\d+", capsys.readouterr().err)
    assert bars[-1] == "36/36"
    assert {bar.partition("/")[2] for bar in bars} == {"36"}


def test_a_failure_ends_the_run_and_names_its_expert(experts: dict[str, str]) -> None:
    model = router(experts, devices="cpu;cpu", all_experts=True)
    network = model.pool.get("math").model
    with torch.no_grad():
        network.score.weight.fill_(float("nan"))
    asked = requests(talks(some_pairs(40)))
    with pytest.raises(HarnessError, match=r"^the expert math: .* is nan") as told:
        model.loglikelihood(asked, True)
    assert "\n" not in str(told.value)
    assert not [one for one in threading.enumerate() if one.name.startswith("device")]


def test_the_others_stop_at_their_next_batch(
    experts: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would not be heard: one has failed, and a run ends with that."""
    failed, batches = threading.Event(), []
    scores = Reward.scores

    def of(self: Reward, rows: Any) -> Any:
        if str(self.pretrained) == experts["math"]:
            failed.set()
            raise HarnessError("no")
        assert failed.wait(60)
        batches.append(len(rows))
        return scores(self, rows)

    monkeypatch.setattr(Reward, "scores", of)
    model = router(experts, devices="cpu;cpu", all_experts=True, share_prefix=False, batch_size=1)
    with pytest.raises(HarnessError, match=r"^the expert math: no$"):
        model.loglikelihood(requests(talks(some_pairs(300))), True)
    assert sum(batches) < 600  # of the 1,200 of the first device


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"devices": "cpu;cuda:99"}, "devices=cuda:99 is not here: torch sees"),
        ({"devices": "cpu;gpu"}, "devices=gpu is unknown; it is for example cpu"),
        ({"devices": "cpu;"}, "devices= is unknown; it is for example cpu"),
        ({"devices": "cpu", "device": "cpu"}, "devices=cpu and device=cpu both say where the"),
        ({"devices": "cpu", "parallelize": True}, "devices=cpu and parallelize=True both say"),
    ],
)
def test_mistakes_are_one_line(experts: dict[str, str], arguments: Any, words: str) -> None:
    with pytest.raises(HarnessError, match=re.escape(words)) as told:
        router(experts, **arguments)
    assert "\n" not in str(told.value)


def test_all_gpus_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are several, and one process; ``cuda:0`` is what lm-eval's command gives."""
    from harness.models.routing.devices import chosen

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    all_of_them = ["cuda:0", "cuda:1", "cuda:2"]
    assert chosen(None, {}) == chosen(None, {"device": "cuda:0"}) == all_of_them
    assert chosen("cuda:2;cuda:0", {"device": "cuda:0"}) == ["cuda:2", "cuda:0"]
    assert chosen(None, {"device": "cuda:1"}) == []
    assert chosen(None, {"parallelize": True}) == []
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert chosen(None, {}) == []
    with pytest.raises(HarnessError, match="devices=cuda:1 is for one process, and here are 2"):
        chosen("cuda:1", {})
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert chosen(None, {}) == []
