"""How a point is called, and how far it is from the reward model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dogerm_plugin.methods.declaration import Method
from dogerm_plugin.methods.parameter import Parameter, Scope
from harness.study import recipe
from tests.harness.study.recipes import at


def nothing(*_: Any) -> Any:
    """The formula of a method that is not run."""


METHOD = Method(
    name="reward_preserving_two",
    title="Two",
    reference="",
    parameters=(
        Parameter("share", Scope.MERGE, "share", low=0, high=1, default=0.5),
        Parameter("weight", Scope.DOMAIN_MODEL, "pull", at_rest=0, symbol="λ"),
        Parameter("scale", Scope.MERGE, "scale", at_rest=1, default=2.0),
    ),
    formula=nothing,
)
CONDITIONS = [{"filter": "mlp", "value": 0.2}, {"value": 0.3}]


@pytest.mark.parametrize(
    ("values", "label", "distance", "at_rest"),
    [
        ({"weight": [0.25, -0.5]}, "0.25,-0.5", 0.75, False),
        ({"weight": [0, 0.0]}, "0,0", 0, True),
        ({"weight": [1e-05, 1.0], "share": 0.10}, "share=0.1,0.00001,1", 1.00001, False),
        ({"scale": 1.0, "weight": [0.5, 0.5]}, "0.5,0.5,scale=1", 1, True),
        ({"scale": 3}, "scale=3", 2, False),
        ({"share": 1}, "share=1", 0, False),
    ],
)
def test_labels_and_distances(
    values: dict[str, Any], label: str, distance: float, at_rest: bool
) -> None:
    """λ stands in a label by itself; any one parameter at rest makes the reward model."""
    made = recipe.point_of(METHOD, 2, values)
    assert (made.label, made.distance, made.at_rest) == (label, distance, at_rest)


def test_what_differs_by_tensor_has_a_name_of_its_own() -> None:
    """The same in every process, and as a file keeps it."""
    made = at(CONDITIONS)
    assert made.label.startswith("groups-") and made.label != at(CONDITIONS[1:]).label
    again = at(*json.loads(json.dumps(made.values))["weight"])
    assert (again, again.label) == (made, made.label)
    assert recipe.point_of(METHOD, 1, {"weight": [CONDITIONS], "share": 0.5}).label != made.label


def test_a_message_has_every_value() -> None:
    assert str(recipe.point_of(METHOD, 2, {"weight": [0.2, 0.1], "scale": 3})) == (
        "weights [0.2, 0.1], scale 3"
    )
