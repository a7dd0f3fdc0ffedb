"""Methods that the project does not have, declared as another project would."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mergekit.merge_methods import registry as host

from dogerm_plugin.methods import registry
from dogerm_plugin.methods.declaration import Method, Tensors, Values
from dogerm_plugin.methods.parameter import SEED, Parameter, Scope


def scaled(tensors: Tensors, values: Values) -> torch.Tensor:
    """reward model + scale · Σ weight_i · (domain model_i − reward model)"""
    pairs = zip(values["weight"], tensors.domain, strict=True)
    return tensors.reward + values["scale"] * sum(w * (d - tensors.reward) for w, d in pairs)


SCALED = Method(
    name="reward_preserving_scaled",
    title="Scaled change",
    reference="https://example.org/scaled",
    parameters=(
        Parameter(
            "weight", Scope.DOMAIN_MODEL, "part of the change", low=-2, high=2, at_rest=0, example=1
        ),
        Parameter("scale", Scope.MERGE, "factor", low=0, high=4, at_rest=0, symbol="s", example=1),
    ),
    formula=scaled,
)


def dropped(tensors: Tensors, values: Values) -> torch.Tensor:
    """The domain model's numbers in a share of places, drawn."""
    kept = torch.rand_like(tensors.reward) < values["density"]
    return torch.where(kept, tensors.domain[0], tensors.reward)


DROPPED = Method(
    name="reward_preserving_dropped",
    title="Dropped at random",
    reference="https://example.org/dropped",
    parameters=(
        Parameter("density", Scope.MERGE, "share kept", low=0, high=1, default=0.5),
        Parameter(SEED, Scope.MERGE, "random numbers", kind=int, low=0, default=0, by_tensor=False),
        Parameter("plain", Scope.MERGE, "no two rows are alike", kind=bool, default=False),
    ),
    formula=dropped,
    random=True,
)


@contextmanager
def registered(*methods: Method) -> Iterator[None]:
    """For the time of a test, recipes may name these methods."""
    for method in methods:
        registry.register(method)
    try:
        yield
    finally:
        for method in methods:
            del host._METHODS[method.name]
