"""Every method of mergekit's for the body of a reward model: its own numbers, the head kept."""

from pathlib import Path
from typing import Any

import disguise
import merging
import pytest
import torch
from disguise import Family
from mergekit.merge_methods import registered_methods

from dogerm_plugin.methods import registry
from dogerm_plugin.methods.declaration import PREFIX, Role

TYPES = ("llama", "gemma2", "qwen2")
HEAD = "score.weight"
# Values unlike each method's defaults; what is not here has none that must be given.
PER_MODEL = {"weight": (0.9, 0.6, 0.4), "density": (0.7, 0.5, 0.4)}
OF_MERGE = {"t": 0.3, "select_topk": 0.5, "lambda": 0.8}


def hosts() -> list[str]:
    """Those of mergekit that draw no random numbers with these parameters."""
    ours = [one.spec.name for one in registered_methods() if not one.spec.name.startswith(PREFIX)]
    return sorted(ours)


@pytest.fixture(scope="module", params=TYPES)
def of(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    """Models of one family."""
    return disguise.family(tmp_path_factory.mktemp(request.param), request.param)


def content(name: str, of: Family, sparse: bool = True) -> dict[str, Any]:
    """A recipe with as many models as the method takes, up to two domain models."""
    method = registry.of(name)
    most = method.most_domain_models
    domain = [of.lm, of.other][: 2 if most is None else most]
    if method.one_model_each:
        domain = []
    places = [of.rm, *domain]
    known = method.by_name
    each = [
        {key: v[i] for key, v in PER_MODEL.items() if key in known and (sparse or key == "weight")}
        for i in range(len(places))
    ]
    base = of.base if method.base is Role.PRETRAINED and method.base_required else None
    if method.base is None and method.base_required:
        base = places[0]
    shared = {key: value for key, value in OF_MERGE.items() if key in known}
    more = {"parameters": shared} if shared else {}
    return disguise.recipe(base, *zip(places, each, strict=True), merge_method=name, **more)


@pytest.mark.parametrize("host", hosts())
def test_equal_to_mergekits_own(of: Family, tmp_path: Path, host: str) -> None:
    """The body is what mergekit writes for the reward model disguised as a language model."""
    if host == "linear":
        pytest.skip("this project's own method has another meaning of weight")
    random = registry.of(PREFIX + host).random
    recipe = content(PREFIX + host, of, sparse=not random or "breadcrumbs" in host)
    ours = merging.merged(tmp_path, recipe)
    (tmp_path / "host").mkdir()
    theirs = disguise.by_mergekit(tmp_path / "host", of, recipe)
    reward = merging.tensors(of.rm)
    assert torch.equal(ours[HEAD], reward[HEAD])
    body = ours.keys() - {HEAD}
    assert body and body <= theirs.keys()
    assert {name for name in body if not torch.equal(ours[name], theirs[name])} == set()
