"""What a `router.yml` and arguments say together, before a model is loaded."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dogerm_plugin.recipe.router import KEYS
from harness.errors import HarnessError
from harness.models.routing.experts import check_scales, of_folder, with_routers_scales
from harness.models.routing.router_arguments import of_arguments
from harness.models.routing.router_file import RouterFile

NAMES = ("general", "math")


@pytest.fixture(scope="module")
def experts(save_reward_model: Callable[..., Path]) -> dict[str, str]:
    return {name: str(save_reward_model(seed=seed)) for seed, name in enumerate(NAMES, 71)}


def write(file: Path, **content: Any) -> str:
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(content), "utf-8")
    return str(file)


def scales(experts: dict[str, str]) -> dict[str, Any]:
    return {
        name: {"mean": float(number), "std": 2.0, "files": of_folder(place)}
        for number, (name, place) in enumerate(experts.items())
    }


def test_the_calibration_of_the_folder_that_a_file_names_counts(
    experts: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "trained/router.yml", experts=experts, router=".", calibration=scales(experts))
    file = write(tmp_path / "router.yml", experts=experts, router="trained/")
    made = with_routers_scales(of_arguments({"router": file}, None, "here"), experts)
    assert {name: scale.mean for name, scale in made.calibration.items()} == {
        "general": 0,
        "math": 1,
    }
    others = {"general": experts["general"], "math": experts["general"]}
    file = write(tmp_path / "router.yml", experts=others, router="trained/")
    with caplog.at_level(logging.WARNING):
        made = with_routers_scales(of_arguments({"router": file}, None, "here"), others)
    assert made.calibration == {}
    assert "calibrates other files than the expert math has" in caplog.text


def test_a_calibration_is_not_taken_for_another_model_of_the_hub(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whose files nobody can hold against it, whatever name the expert has."""
    ids = {"a": "org/a", "b": "org/b"}
    told = {name: {"mean": 1.0, "std": 2.0} for name in ids}
    file = write(tmp_path / "trained/router.yml", experts=ids, router=".", calibration=told)
    assert of_arguments({"router": file}, ids, "here").calibration
    others = {**ids, "b": "org/c"}
    with caplog.at_level(logging.WARNING):
        assert not of_arguments({"router": file}, others, "here").calibration
    assert "is not of all these experts: left out" in caplog.text
    for named, whether in ((ids, True), (others, False)):
        by_file = write(tmp_path / "router.yml", experts=named, router="trained/")
        made = with_routers_scales(of_arguments({"router": by_file}, None, "here"), named)
        assert bool(made.calibration) is whether


def test_a_calibration_of_adapters_is_of_their_base(
    experts: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base, another = experts.values()
    of_base = {n: {**one, "base": of_folder(base)} for n, one in scales(experts).items()}
    content = {"experts": experts, "base": base, "calibration": of_base}
    file = write(tmp_path / "trained/router.yml", router=".", **content)
    check_scales(of_arguments({"router": file}, None, "here"), experts, base)
    made = of_arguments({"router": file, "base": another}, None, "here")
    with pytest.raises(HarnessError, match=r"the expert general: .* is of its adapter on anoth"):
        check_scales(made, experts, another)
    elsewhere = of_arguments({"router": file, "base": "org/base"}, None, "here")
    assert not elsewhere.calibration
    file = write(tmp_path / "router.yml", experts=experts, base=base, router="trained/")
    made = of_arguments({"router": file}, None, "here")
    assert with_routers_scales(made, experts, base).calibration
    assert not with_routers_scales(made, experts, another).calibration


def test_experts_that_are_swapped_are_told_so(experts: dict[str, str], tmp_path: Path) -> None:
    swapped = {"general": experts["math"], "math": experts["general"]}
    file = write(
        tmp_path / "router.yml", experts=swapped, router="oracle", domain="subset",
        calibration=scales(experts),
    )  # fmt: skip
    with pytest.raises(HarnessError, match="they are those of math: are the two swapped"):
        check_scales(of_arguments({"router": file}, None, "here"), swapped)


def test_a_folder_whose_file_routes_by_a_column_is_taken_as_its_file_is(tmp_path: Path) -> None:
    """As `dogerm train reward --domains` leaves it where no router can be learned."""
    content = {"experts": {"a": "A", "b": "B"}, "router": "oracle", "domain": "subset"}
    file = write(tmp_path / "trained/router.yml", **content)
    by_folder = of_arguments({"router": str(tmp_path / "trained/")}, None, "here")
    assert by_folder == of_arguments({"router": file}, None, "here")
    assert by_folder.router == "oracle"


@pytest.mark.parametrize(
    ("content", "given", "words"),
    [
        ({"fallback": "law"}, {}, "{file}: fallback names the expert 'law'"),
        ({}, {"fallback": "law"}, "here and {file}: fallback names the expert 'law'"),
        (
            {},
            {"calibration": '{"math":{"mean":0'},
            "write it as an argument of its own, after the others (--model_args router=... 'cal",
        ),
        ({"experts": {"my a": "A", "b": "B"}}, {}, "write math=FOLDER (in a router.yml math: FOLD"),
    ],
)
def test_a_mistake_is_told_of_where_it_stands(
    tmp_path: Path, content: Any, given: Any, words: str
) -> None:
    whole = {"experts": {"a": "A", "b": "B"}, "router": "r", **content}
    file = write(tmp_path / "router.yml", **whole)
    with pytest.raises(HarnessError) as told:
        of_arguments({"router": file, **given}, None, "here")
    assert words.format(file=file) in str(told.value)
    assert "\n" not in str(told.value)


def test_a_folder_with_a_semicolon_is_for_a_file() -> None:
    with pytest.raises(HarnessError, match=r"or a router.yml, which takes folders with ';'"):
        of_arguments({"always": "a"}, "code;my;code", "here")


def test_a_merge_of_experts_knows_the_same_keys() -> None:
    assert set(KEYS) == set(RouterFile.model_fields)
