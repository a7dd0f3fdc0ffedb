"""Recipes nobody would write: one line and no output, or the right output; nothing between."""

import itertools
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import merging
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from merging import Trio

HEAD = "score.weight"
ROUNDS = {"examples": 0, "merged": 0}
COUNTER = itertools.count()


@pytest.fixture(scope="module")
def beside(trio: Trio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder to merge in, with the models' folder as the current one."""
    here = os.getcwd()
    os.chdir(trio.rm.parent)
    yield tmp_path_factory.mktemp("fuzz")
    os.chdir(here)


share = st.sampled_from([0, 0.1, 0.25, 0.3, "0.2"])
odd = st.sampled_from(
    [None, "", "x", -1, 2, True, [], {}, [[]], {"a": 1}, float("nan"), float("inf"), "1e400", 0.9]
)
filtered = st.fixed_dictionaries(
    {"value": share}, optional={"filter": st.sampled_from(["mlp", "attn", "*", "embed", "layers"])}
)
weight = st.one_of(
    share,
    st.lists(share, min_size=1, max_size=4),
    st.lists(filtered, min_size=1, max_size=3).map(lambda found: [*found, {"value": 0.1}]),
    odd,
)
path = st.sampled_from(
    ["rm", "lm", "other", "lm", "other", "nowhere", "", "a/b", "@", "+", 7, None]
)
entry = st.fixed_dictionaries(
    {"model": path},
    optional={
        "parameters": st.fixed_dictionaries(
            {"weight": weight}, optional={"density": share, "own_weight": share}
        ),
    },
)
ranges = st.sampled_from([[0, 4], [0, 2], [2, 4], [3, 1], [0, 9], [-1, 2], "all", None])
source = st.builds(lambda e, r: e | {"layer_range": r}, entry, ranges)
sliced = st.lists(st.fixed_dictionaries({"sources": st.lists(source, max_size=3)}), max_size=2)


@st.composite
def near_good(draw: st.DrawFn) -> dict:
    """A good recipe with up to two places spoiled."""
    models = [{"model": "lm", "parameters": {"weight": draw(weight)}}]
    if draw(st.booleans()):
        models.append({"model": "other", "parameters": {"weight": draw(share)}})
    recipe = {"merge_method": merging.METHOD, "base_model": "rm", "models": models}
    changes = st.fixed_dictionaries(
        {},
        optional={
            "base_model": path,
            "models": st.one_of(st.lists(entry, max_size=3), odd),
            "slices": sliced,
            "modules": st.dictionaries(
                st.sampled_from(["default", "x"]),
                st.fixed_dictionaries({"slices": sliced}),
                max_size=1,
            ),
            "dtype": st.sampled_from(["float32", "bfloat16", "float16", "int8", "x", 3, None]),
            "out_dtype": st.sampled_from(["float32", "bfloat16", "int64", []]),
            "tokenizer": st.sampled_from(
                [
                    {"source": "base"},
                    {"source": "union"},
                    {"source": "lm"},
                    {},
                    {"sauce": 1},
                    "base",
                ]
            ),
            "parameters": st.one_of(st.fixed_dictionaries({"weight": weight}), odd),
            "chat_template": st.sampled_from(
                ["auto", "chatml", "{{ messages }} and more text", "?"]
            ),
            "merge_method": st.sampled_from(["reward_preserving_x", "reward_preserving_linear "]),
            "name": st.just("a name"),
            "modles": odd,
        },
    )
    changed = draw(changes)
    for key in draw(st.permutations(sorted(changed)))[:2]:
        recipe[key] = changed[key]
    return recipe


def scalar(setting: object, name: str, layer: int | None) -> float | None:
    """mergekit's rule for one setting and one tensor, written again."""
    if isinstance(setting, list) and setting and isinstance(setting[0], dict):
        for part in setting:
            if part.get("filter") in (None, "*") or part["filter"] in name:
                return scalar(part["value"], name, layer)
        return None
    if isinstance(setting, list):
        place = (0 if layer is None else layer / 3) * (len(setting) - 1)
        low = min(int(place), len(setting) - 1)
        high = min(low + 1, len(setting) - 1)
        share = place - low
        return (1 - share) * float(setting[low]) + share * float(setting[high])
    return float(setting)  # type: ignore[arg-type]


def check_right(out: Path, recipe: dict, trio: Trio) -> None:
    """The output by the formula, for recipes with `models:`; names, head and shapes for all."""
    state, rm = merging.tensors(out), merging.tensors(trio.rm)
    assert torch.equal(state[HEAD], rm[HEAD])
    if not recipe.get("models"):
        assert {n.split(".")[-2] for n in state} == {n.split(".")[-2] for n in rm}
        return
    assert set(state) == set(rm)
    dtype = getattr(torch, recipe.get("out_dtype") or recipe.get("dtype") or "float32")
    shared = (recipe.get("parameters") or {}).get("weight")
    for name in set(rm) - {HEAD}:
        layer = int(name.split(".")[2]) if ".layers." in name else None
        exact, rest = torch.zeros_like(rm[name]), 1.0
        for model in recipe["models"]:
            if model["model"] == "rm":
                continue
            setting = (model.get("parameters") or {}).get("weight")
            value = scalar(shared if setting is None else setting, name, layer)
            if value is None:
                value = scalar(shared, name, layer)
            assert value is not None and 0 <= value <= 1
            exact += value * merging.tensors(getattr(trio, model["model"]))[name]
            rest -= value
        assert rest > -1e-6
        exact += rest * rm[name]
        assert state[name].dtype == dtype
        step = torch.finfo(dtype).eps if dtype != torch.float32 else 1e-6
        assert torch.allclose(state[name].float(), exact, rtol=step, atol=1e-6), name


@given(near_good())
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    database=None,
)
def test_structured_recipes(trio: Trio, beside: Path, recipe: dict) -> None:
    """A right output with status 0; else one line, no traceback, the earlier output as it was."""
    folder = beside
    out = folder / f"out{next(COUNTER)}"
    before = {path.name for path in folder.iterdir()} | {"recipe.yml"}
    result = merging.command(folder, recipe, out)
    ROUNDS["examples"] += 1
    assert "Traceback" not in result.output
    if result.exit_code == 0:
        ROUNDS["merged"] += 1
        check_right(out, recipe, trio)
        shutil.rmtree(out)
    else:
        assert isinstance(result.exception, SystemExit), (recipe, repr(result.exception))
        assert result.output.count("Error: ") == 1, result.output
        assert not out.exists()
    assert {path.name for path in folder.iterdir()} | {"recipe.yml"} == before


def test_the_fuzzing_reached_both_ends() -> None:
    """Neither all recipes refused nor all merged."""
    if ROUNDS["examples"]:
        assert ROUNDS["merged"] > 15 and ROUNDS["examples"] - ROUNDS["merged"] > 15, ROUNDS


@given(
    st.one_of(
        st.text(max_size=80),
        st.text(max_size=40).map(lambda text: f"merge_method: {merging.METHOD}\n{text}"),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(
                    st.sampled_from(
                        [
                            "base_model",
                            "models",
                            "slices",
                            "modules",
                            "parameters",
                            "model",
                            "tokenizer",
                        ]
                    ),
                    inner,
                    max_size=4,
                ),
            ),
            max_leaves=8,
        ).map(
            lambda value: yaml.safe_dump(
                {"merge_method": merging.METHOD, **value} if isinstance(value, dict) else value
            )
        ),
    )
)
@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    database=None,
)
def test_any_text(trio: Trio, beside: Path, text: str) -> None:
    """Text and trees of YAML: always refused in one line."""
    result = merging.command(beside, text, beside / "out")
    assert isinstance(result.exception, SystemExit), (text, repr(result.exception))
    assert result.exit_code != 0 and result.output.count("Error: ") == 1
    assert not (beside / "out").exists()


def test_the_oracle() -> None:
    """The oracle itself: a gradient's middle and a filter."""
    assert math.isclose(scalar([0, "0.2"], "x", 1) or 0, 0.2 / 3)
    assert scalar([{"filter": "mlp", "value": 0.5}, {"value": 0.1}], "attn", 0) == 0.1
