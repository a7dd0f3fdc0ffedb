"""What a recipe says of its models, and whether two recipes are one."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from own_methods import SCALED, registered

from dogerm_plugin.recipe import reward_line
from harness.errors import HarnessError
from harness.show.card import recipe, section
from harness.show.card.licences import Licence
from harness.show.card.same_recipe import difference

RECIPE = """\
merge_method: reward_preserving_linear
base_model: me/rm
models:
  - model: me/maths@v2+me/adapter
    parameters: {weight: 0.3}
  - model: {model: {path: me/code}}
    parameters: {weight: 1e-1}
"""


def read(folder: Path, text: str) -> recipe.MergedRecipe:
    (folder / "mergekit_config.yml").write_text(text, "utf-8")
    (folder / "config.json").write_text('{"architectures": ["LlamaForSequenceClassification"]}')
    return recipe.read(folder)


def weights(found: recipe.MergedRecipe) -> dict[str, str]:
    return {one.name: one.settings["weight"] for one in found.ingredients}


def test_models_and_weights(tmp_path: Path) -> None:
    """Revisions and adapters are told apart; the reward model has the rest."""
    found = read(tmp_path, RECIPE)
    assert weights(found) == {"me/rm": "0.6", "me/maths@v2+me/adapter": "0.3", "me/code": "1e-1"}
    assert found.ingredients[1].parts == (("me/maths", "v2"), ("me/adapter", None))
    roles = [one.role for one in found.ingredients]
    assert roles == ["reward model", "domain model", "domain model"]


def test_who_is_who_beside_a_pretrained_base(tmp_path: Path) -> None:
    """The line that the merge left says which was the reward model; its numbers are its own."""
    text = RECIPE.replace("linear", "ties").replace("base_model: me/rm", "base_model: me/base")
    text = text.replace("models:\n", "models:\n  - model: me/rm\n    parameters: {weight: 1}\n")
    found = read(tmp_path, reward_line.added(text, "me/rm"))
    assert {one.name: one.role for one in found.ingredients} == {
        "me/base": "pretrained base",
        "me/rm": "reward model",
        "me/maths@v2+me/adapter": "domain model",
        "me/code": "domain model",
    }
    assert weights(found)["me/rm"] == "1" and weights(found)["me/base"] == ""


@pytest.mark.parametrize(
    ("weight", "shown"),
    [
        ("[0, 0.6]", "[0, 0.6] from the first layer to the last"),
        ("[{filter: mlp, value: 0.5}, {value: 0.1}]", "mlp: 0.5, the rest: 0.1"),
    ],
)
def test_weights_that_are_no_number(tmp_path: Path, weight: str, shown: str) -> None:
    found = read(tmp_path, RECIPE.replace("0.3", weight))
    assert weights(found)["me/maths@v2+me/adapter"] == shown
    assert weights(found)["me/rm"] == "1 − Σλ"


def test_slices_and_a_shared_weight(tmp_path: Path) -> None:
    content = {
        "merge_method": "reward_preserving_linear",
        "base_model": "rm",
        "parameters": {"weight": 0.5},
        "slices": [
            {"sources": [{"model": "rm"}, {"model": "lm", "parameters": {"weight": 0.2}}]},
            {"sources": [{"model": "rm"}, {"model": "lm"}]},
        ],
    }
    assert weights(read(tmp_path, yaml.safe_dump(content))) == {"rm": "1 − Σλ", "lm": "0.2; 0.5"}


def test_the_share_is_told_of_no_other_method(tmp_path: Path) -> None:
    found = read(tmp_path, RECIPE.replace("reward_preserving_linear", "ties"))
    assert weights(found)["me/rm"] == "" and found.declared is None


def test_a_method_says_which_settings_there_are(tmp_path: Path) -> None:
    """Of each model, and of the merge; the reward model has a share only where one is left it."""
    text = RECIPE.replace("reward_preserving_linear", "reward_preserving_scaled")
    with registered(SCALED):
        found = read(tmp_path, f"{text}parameters: {{scale: 0.5}}\n")
        assert weights(found) == {"me/rm": "", "me/maths@v2+me/adapter": "0.3", "me/code": "1e-1"}
        assert found.of_models == ["weight"] and found.of_merge == {"s": "0.5"}
        parts = [path for one in found.ingredients for path, _ in one.parts]
        licences = [Licence(path, False, "mit") for path in parts]
        told = section.markdown(found, licences, "mit", True, [], "")
        assert "Scaled change, https://example.org/scaled." in told
        assert "scale: s, the merge's factor; in 0..4." in told and "- s: 0.5" in told


def test_difference(tmp_path: Path) -> None:
    """Numbers by value, folders by what they are; everything else as it stands."""
    folder = tmp_path / "rm"
    folder.mkdir()

    def content(weight: Any, base: str, **more: Any) -> dict[str, Any]:
        models = [{"model": "lm", "parameters": {"weight": weight}}]
        return {"base_model": base, "models": models, **more}

    expected = content(0.35, str(folder))
    assert difference(content("3.5e-1", f"{tmp_path}/x/../rm/"), expected) == (
        "base_model",
        f"{tmp_path}/x/../rm/",
        str(folder),
    )
    (tmp_path / "x").mkdir()
    assert difference(content("3.5e-1", f"{tmp_path}/x/../rm/"), expected) is None
    assert difference(content(0.4, str(folder)), expected) == (
        "models.0.parameters.weight",
        0.4,
        0.35,
    )
    assert difference(content(0.35, str(folder), dtype="float16"), expected) == (
        "dtype",
        "float16",
        None,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [("a: [", "not one YAML"), ("a: 1", "not a recipe"), (f"{RECIPE}slices: [1]", "can't be read")],
)
def test_broken_recipes_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(HarnessError, match=said):
        read(tmp_path, text)
