"""What a method declares of itself is whole, and enough to check values by."""

import math
from dataclasses import replace
from typing import Any

import pytest
from own_methods import DROPPED, SCALED

from dogerm_plugin.errors import MergeError
from dogerm_plugin.methods import registry
from dogerm_plugin.methods.declaration import Role
from dogerm_plugin.methods.parameter import Parameter, Scope
from dogerm_plugin.methods.reward_preserving_linear import METHOD as LINEAR


def test_what_linear_says() -> None:
    """One share for each domain model; at 0 the merge is the reward model."""
    (weight,) = LINEAR.parameters
    assert (weight.name, weight.symbol, weight.low, weight.high) == ("weight", "λ", 0, 1)
    assert weight.scope is Scope.DOMAIN_MODEL and weight.required and weight.by_tensor
    assert weight.description == "λ, the model's share of the merged body; in 0..1"
    assert LINEAR.searchable == (weight,) and LINEAR.at_rest(2) == {"weight": [0, 0]}
    assert LINEAR.by_row and not LINEAR.random and LINEAR.symbols == "λ"
    assert LINEAR.strength is weight and LINEAR.base is Role.REWARD_MODEL
    assert registry.of(LINEAR.name) is LINEAR and LINEAR.name in registry.names()


def test_what_others_say() -> None:
    """Seeds and switches are not searched; a method may have no rest."""
    assert SCALED.at_rest(1) == {"weight": [0], "scale": 0}
    assert [one.name for one in SCALED.searchable] == ["weight", "scale"]
    assert [one.name for one in DROPPED.searchable] == ["density"]
    assert DROPPED.at_rest(3) == {}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"weight": [0.3]}, None),
        ({"weight": [0.5, 0.5]}, None),
        ({"weight": [0.5, 0.6]}, "sum to 1.1, more than 1 (at a tensor)"),
        ({"weight": [0.5, -0.1]}, "weight -0.1 is not in 0..1"),
        ({"weight": [math.nan]}, "weight nan is not in 0..1"),
        ({"weight": [0.3], "own_weight": 0.7}, None),
        ({"weight": [0.3], "own_weight": 0.6}, "expected 1 − Σλ = 0.7 (at a tensor)"),
        ({}, "a tensor: no weight"),
    ],
    ids=str,
)
def test_values_that_go_together(values: dict[str, Any], words: str | None) -> None:
    """Bounds first, then the method's constraint over all of them."""
    if words is None:
        LINEAR.check(values, "a tensor")
        return
    with pytest.raises(MergeError) as caught:
        LINEAR.check(values, "a tensor")
    assert words in str(caught.value)


def test_defaults_are_checked_with_the_rest() -> None:
    """A constraint sees a default for as many domain models as there are."""
    seen: list[Any] = []
    density = Parameter("density", Scope.DOMAIN_MODEL, "share kept", low=0, high=1, default=0.5)
    method = replace(
        SCALED,
        parameters=(*SCALED.parameters, density),
        constraint=lambda values, where: seen.append(dict(values)),
    )
    method.check({"weight": [1, -1], "scale": 2})
    assert seen == [{"weight": [1, -1], "scale": 2, "density": [0.5, 0.5]}]


@pytest.mark.parametrize(
    ("bounds", "value", "words"),
    [
        ({"low": 0}, -1, "x -1 is not 0 or more: it is the merge's number"),
        ({"high": 0}, 1, "x 1 is not 0 or less"),
        ({}, math.inf, "x inf is not finite"),
        ({}, "a", "x 'a' is not a number"),
        ({"low": 0, "kind": int}, 1.5, "x 1.5 is not a whole number 0 or more"),
        ({"kind": int}, math.inf, "x inf is not a whole number"),
        ({"kind": bool}, 1, "x 1: expected true or false"),
    ],
    ids=str,
)
def test_kinds_and_bounds(bounds: dict[str, Any], value: Any, words: str) -> None:
    """What was found and what was expected, with no more bounds than there are."""
    parameter = Parameter("x", Scope.MERGE, "number", **bounds)
    with pytest.raises(MergeError) as caught:
        parameter.read(value, "here")
    assert str(caught.value).startswith(f"here: {words}")


def test_values_are_read_as_mergekit_reads_them() -> None:
    """Text that is a number is one."""
    assert Parameter("x", Scope.MERGE, "number").read("1e-1", "") == 0.1
    assert Parameter("x", Scope.MERGE, "number", kind=int).read("3", "") == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "ties"},
        {"by_row": True},
        {"parameters": DROPPED.parameters[:1]},
    ],
    ids=str,
)
def test_declarations_that_contradict_themselves(changes: dict[str, Any]) -> None:
    """Told to who declares, at once."""
    with pytest.raises(ValueError, match=r"dropped: |ties: "):
        replace(DROPPED, **changes)


def test_a_name_is_given_once() -> None:
    """mergekit itself is loud about it."""
    with pytest.raises(ValueError, match="already registered"):
        registry.register(replace(SCALED, name=LINEAR.name))
