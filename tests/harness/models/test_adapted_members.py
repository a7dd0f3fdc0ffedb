# SPDX-License-Identifier: Apache-2.0
"""`--model reward-ensemble` with `adapters=`: members that take turns on one base."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.rows.answer import Answer
from tests.harness.models.load.test_adapters import base, trained
from tests.harness.models.test_adapters import ASKED, alone, experts
from tests.harness.models.test_reward import requests

__all__ = ["base", "experts"]  # fixtures


def ensemble(base: Any, adapters: Any, **arguments: Any) -> Any:
    from harness.models.ensemble import RewardEnsemble

    given = {"device": "cpu", "batch_size": 4, "dtype": "float32", **arguments}
    return RewardEnsemble(base and str(base), adapters=adapters, **given)


def test_members_rewards_are_those_of_each_adapter_alone(
    base: Path, experts: dict[str, str]
) -> None:
    """And the base is in memory once."""
    expected = alone(base, experts, ASKED)
    model = ensemble(base, ";".join(experts.values()), combine="mean-std", k=0.5)
    for _ in range(2):
        answers = [Answer.of(one) for one in model.loglikelihood(requests(ASKED), True)]
        for place, answer in enumerate(answers):
            row = [expected[name][place] for name in experts]
            assert answer.details["members"] == pytest.approx(row, abs=1e-5)
            spread = statistics.pstdev(row)
            assert answer.score == pytest.approx(statistics.fmean(row) - 0.5 * spread, abs=1e-5)
    assert len({id(member.model) for member in model.members}) == 1
    assert len(set(model.identity().values())) == 5  # the rule, all its digits, three members
    assert [one["pretrained"] for one in model.get_model_info()["members"]] == model.names


def test_other_adapters_have_another_identity(base: Path, experts: dict[str, str]) -> None:
    """So that `--use_cache` does not take one ensemble's answers for another's."""
    names = list(experts.values())
    before = ensemble(base, names).identity()
    assert ensemble(base, names).identity() == before
    trained(base, Path(names[1]), seed=99, r=4, lora_alpha=16, use_rslora=True)
    assert ensemble(base, names).identity() != before


def test_mistakes_are_one_line(base: Path, experts: dict[str, str]) -> None:
    names = list(experts.values())
    for pretrained, adapters, more, reason in (
        (None, names, {}, "adapters= are of one base, pretrained= gives None"),
        (f"{base};{base}", names, {}, "adapters= are of one base"),
        (base, names[:1], {}, "an ensemble has two or more members, adapters="),
        (base, [names[0], names[0]], {}, "twice"),
        (base, [names[0], str(base)], {}, "is no PEFT adapter"),
        (base, names, {"peft": names[0]}, "two answers to one question"),
    ):
        with pytest.raises(HarnessError, match=reason) as caught:
            ensemble(pretrained, adapters, **more)
        assert "\n" not in str(caught.value)
