"""mergekit's own methods in a sweep: any parameter, and what is chosen is what mergekit writes."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.show import sweep_text
from harness.show.study_file import SweepFile
from harness.show.sweep_plots import lambda_figure
from tests.harness.study.searching import Searching

PREFIX = "reward_preserving_"


@pytest.fixture(scope="module")
def base(language_model: Path, tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    """The pretrained base of the tiny models, as another fine-tune of it."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(language_model)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    folder = tmp_path_factory.mktemp("base")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


class Unasked(Searching):
    """No weights are typed unless a test types them."""

    def arguments(self, *more: str) -> list[str]:
        made = super().arguments(*more)
        if "--weight" not in more:
            place = made.index("--weight")
            del made[place : place + 2]
        return made


@pytest.fixture
def folder(tmp_path: Path, reward_model: Path, language_model: Path) -> Unasked:
    return Unasked(tmp_path, [reward_model, language_model])


def write(folder: Searching, method: str, base: Path | None, **own: Any) -> None:
    """A recipe without the domain model's weight, which is to be chosen."""
    reward, domain = map(str, folder.models)
    content: dict[str, Any] = {"merge_method": PREFIX + method}
    models: list[dict[str, Any]] = [{"model": domain}]
    if base is not None:
        content["base_model"] = str(base)
        models.insert(0, {"model": reward, "parameters": {"weight": 1, **own}})
        models[1]["parameters"] = dict(own)
    else:
        content["base_model"] = reward
    (folder.folder / "recipe.yml").write_text(yaml.safe_dump(content | {"models": models}))


def recipe_of_linear(folder: Searching) -> dict[str, Any]:
    """The reward model itself, as the project's own method has it."""
    reward, domain = map(str, folder.models)
    models = [{"model": domain, "parameters": {"weight": 0}}]
    return {"merge_method": f"{PREFIX}linear", "base_model": reward, "models": models}


def test_two_parameters_by_name(folder: Searching, base: Path) -> None:
    """The reward model itself comes first; best.yml merges to the measured reward."""
    write(folder, "ties", base, density=0.9)
    found = folder.swept("--grid", "weight=0.5,1", "--grid", "density=0.4,0.8")
    assert [point["label"] for point in found["points"]] == [
        "unmerged",
        "weight=0.5,density=0.4",
        "weight=0.5,density=0.8",
        "weight=1,density=0.4",
        "weight=1,density=0.8",
    ]
    assert found["parameter"] == "weight" and len({p["score"] for p in found["points"]}) > 2
    linear = yaml.safe_dump(recipe_of_linear(folder))
    assert folder.evaluated(linear, "chosen")["accuracy,none"] == found["points"][0]["score"]
    recipe = yaml.safe_load((folder.out / "best.yml").read_text("utf-8"))
    assert recipe["models"][0]["parameters"] == {"weight": 1, "density": 0.9, "reward": True}
    chosen = found["points"][found["chosen"]]
    if found["chosen"]:
        assert recipe["models"][1]["parameters"]["weight"] == chosen["weights"][0]
    scored = folder.evaluated((folder.out / "best.yml").read_text("utf-8"), "chosen")
    assert scored["accuracy,none"] == chosen["score"]
    study = SweepFile.model_validate(found)
    text = sweep_text.text(study)
    assert "the reward model" in text and "λ" not in text
    for point, itself in ((0, "the reward model (chosen)"), (2, "the reward model")):
        above, _ = lambda_figure(study.model_copy(update={"chosen": point, "best": point})).subfigs
        told = {text.get_text() for legend in above.legends for text in legend.get_texts()}
        assert told >= {"density = 0.4", "density = 0.8", itself}
        assert any(text.startswith("chosen (") for text in told) is (point != 0)


def test_a_number_of_the_merge(folder: Searching) -> None:
    """slerp has no weight: t is varied unasked, and --weight is refused."""
    write(folder, "slerp", None)
    result = folder.sweep("--weight", "0.5")
    assert result.exit_code == 1
    assert "reward_preserving_slerp has no weight; name what to vary, as in --grid t=" in (
        result.output
    )
    found = folder.swept("--grid", "t=0.5")
    assert [point["label"] for point in found["points"]] == ["unmerged", "t=0.5"]
    assert found["parameter"] == "t"


def test_a_method_with_nothing_to_vary(folder: Searching) -> None:
    """The recipe as it is, against the reward model; other numbers by name."""
    write(folder, "karcher", None)
    found = folder.swept()
    assert [point["label"] for point in found["points"]] == ["unmerged", "as-written"]
    result = folder.sweep("--weight", "0.5")
    assert result.exit_code == 1
    assert "reward_preserving_karcher has no weight; name what to vary" in result.output
    found = folder.swept("--grid", "max_iter=1,2")
    assert [p["label"] for p in found["points"]] == ["unmerged", "max_iter=1", "max_iter=2"]


def test_a_weight_is_told_of_as_it_was_typed(folder: Searching, base: Path) -> None:
    """By --grid, not by the short form of it."""
    write(folder, "ties", base)
    result = folder.sweep("--grid", "weight=0:half")
    assert result.exit_code == 1 and "Error: --grid weight=0:half: 'half'" in result.output


def test_what_stays_unmerged_is_in_what_a_result_was_made_with(
    folder: Searching, base: Path
) -> None:
    """Another filter of the recipe's, and earlier figures are measured anew."""
    write(folder, "task_arithmetic", base)
    folder.swept("--grid", "weight=1")
    path = folder.folder / "recipe.yml"
    content = yaml.safe_load(path.read_text())
    content["parameters"] = {"unmerged": [{"filter": "mlp", "value": True}, {"value": False}]}
    path.write_text(yaml.safe_dump(content))
    result = folder.sweep("--grid", "weight=1")
    assert result.exit_code == 0 and "from an earlier run" not in result.output


@pytest.mark.parametrize("both", [False, True])
def test_the_other_way_round_is_refused(folder: Searching, both: bool) -> None:
    """slerp from the domain model, listed or not: more of t would be less of it."""
    write(folder, "slerp", None)
    path = folder.folder / "recipe.yml"
    content = yaml.safe_load(path.read_text())
    reward, domain = content["base_model"], content["models"][0]["model"]
    models = [{"model": one} for one in ((domain, reward) if both else (reward,))]
    path.write_text(yaml.safe_dump(content | {"base_model": domain, "models": models}))
    result = folder.sweep("--grid", "t=0.5")
    assert result.exit_code == 1
    assert "name the reward model as base_model, so that more is more of the" in result.output


def test_a_rule_for_the_least_of_the_domain_model(folder: Searching, base: Path) -> None:
    """A density does not say how much of it there is."""
    write(folder, "ties", base)
    result = folder.sweep("--grid", "density=0.5,1", "--rule", "one-standard-error")
    assert result.exit_code == 1
    assert "density does not say how much of it there is" in result.output
    found = folder.swept("--grid", "density=1")
    assert not any("nothing of the reward model is left" in note for note in found["notes"])
