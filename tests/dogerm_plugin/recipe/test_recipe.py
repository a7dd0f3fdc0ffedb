"""Recipes that say something wrong get one line, at once, and nothing is read or written."""

import copy
from pathlib import Path

import merging
import pytest
import yaml
from merging import Trio

from dogerm_plugin.errors import MergeError
from dogerm_plugin.methods import registry
from dogerm_plugin.recipe import configuration, keys


def refused(trio: Trio, tmp_path: Path, **changes: object) -> str:
    """The error line for a good recipe with these keys changed; None removes one."""
    content = merging.recipe(trio.rm, (trio.lm, 0.3)) | changes
    content = {key: value for key, value in content.items() if value is not None}
    message = merging.refused(tmp_path, content)
    assert not (tmp_path / "out").exists()
    return message


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (float("nan"), "weight nan is not in 0..1"),
        (-0.1, "weight -0.1 is not in 0..1"),
        (1.5, "weight 1.5 is not in 0..1"),
        (float("inf"), "weight inf is not in 0..1"),
        ("much", "weight 'much' is not a number"),
        (True, "weight True is not a number"),
        ([], "empty list"),
        ([0.1, "x"], "weight 'x' is not a number"),
        ([0.1, 2], "weight 2 is not in 0..1"),
        ([[0.1]], "weight"),
        (None, "weight"),
        ({"value": 0.1, "filtr": "mlp"}, "unknown key 'filtr'; did you mean 'filter'?"),
        ([{"filter": "mlp", "value": 3}, {"value": 0}], "weight 3 is not in 0..1"),
        ([{"filter": "mlp"}], "weight"),
        ([{"filter": "mlp", "value": 0.5}], "has no weight for model.embed_tokens.weight"),
    ],
    ids=str,
)
def test_weights_that_are_no_shares(trio: Trio, tmp_path: Path, weight: object, words: str) -> None:
    """λ must be a number in 0..1, everywhere it stands, for every tensor of the body."""
    models = [{"model": str(trio.lm), "parameters": {"weight": weight}}]
    assert words in refused(trio, tmp_path, models=models)


@pytest.mark.parametrize("weight", ["0.3", "3e-1"])
def test_numbers_that_yaml_reads_as_text(trio: Trio, tmp_path: Path, weight: str) -> None:
    """YAML 1.1 takes 3e-1 for a string; mergekit and this project take it for 0.3."""
    text = yaml.safe_dump(merging.recipe(trio.rm, (trio.lm, 0.3)))
    one = merging.merged(tmp_path, text)
    two = merging.merged(tmp_path, text.replace("weight: 0.3", f"weight: {weight}"))
    assert all((one[name] == two[name]).all() for name in one)


def test_no_weight(trio: Trio, tmp_path: Path) -> None:
    """The line shows what to write."""
    message = refused(trio, tmp_path, models=[{"model": str(trio.lm)}])
    assert f"{trio.lm} has no weight: add `parameters: {{weight: 0.3}}`" in message


def test_weights_that_sum_to_more_than_one(trio: Trio, tmp_path: Path) -> None:
    """Σλ > 1 would leave the reward model a negative share."""
    models = merging.recipe(trio.rm, (trio.lm, 0.6), (trio.other, 0.6))["models"]
    assert "sum to 1.2, more than 1" in refused(trio, tmp_path, models=models)


def test_gradients_that_sum_to_more_than_one_in_one_layer(trio: Trio, tmp_path: Path) -> None:
    """Found when the merge is planned, with the layer's name, before anything is written."""
    models = merging.recipe(trio.rm, (trio.lm, [0, 0, 0.7, 0]), (trio.other, [0.4] * 4))["models"]
    message = refused(trio, tmp_path, models=models)
    assert "sum to 1.1" in message and "model.layers.2." in message


@pytest.mark.parametrize("own", [0.3, 1, [0.7, 0.6], float("nan"), "x"], ids=str)
def test_wrong_weight_on_the_reward_model(trio: Trio, tmp_path: Path, own: object) -> None:
    """It follows from the others; one that disagrees is a mistake."""
    models = merging.recipe(trio.rm, (trio.rm, own), (trio.lm, 0.3))["models"]
    message = refused(trio, tmp_path, models=models)
    assert "1 − Σλ = 0.7" in message or "not in 0..1" in message or "not a number" in message


@pytest.mark.parametrize("own", [0.7, [0.7, 0.7], "0.7"], ids=str)
def test_right_weight_on_the_reward_model(trio: Trio, tmp_path: Path, own: object) -> None:
    """1 − Σλ may be written."""
    models = merging.recipe(trio.rm, (trio.rm, own), (trio.lm, 0.3))["models"]
    one = merging.merged(tmp_path, merging.recipe(trio.rm) | {"models": models})
    two = merging.merged(tmp_path, merging.recipe(trio.rm, (trio.lm, 0.3)))
    assert all((one[name] == two[name]).all() for name in one)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base_model": None}, "no base_model: it names the reward model"),
        ({"base_model": ""}, ""),
        ({"base_model": 3}, "base_model"),
        ({"base_model": "a@b@c"}, "multiple @"),
        ({"models": None}, "Exactly one of 'models', 'slices', or 'modules'"),
        ({"models": []}, "Exactly one of 'models', 'slices', or 'modules'"),
        ({"models": {}}, "models"),
        ({"models": "lm"}, "models"),
        ({"models": [{}]}, "models.0.model: Field required"),
        ({"models": [3]}, "models.0"),
        ({"slices": [{"sources": []}], "models": None}, "names no model besides"),
        ({"modules": {}, "models": None}, "Exactly one of"),
        ({"modules": {"default": {}}, "models": None}, ""),
        ({"dtype": "int8"}, "dtype: int8: expected bfloat16, float16 or float32"),
        ({"out_dtype": "int64"}, "out_dtype: int64: expected"),
        ({"dtype": "bf16"}, "dtype: bf16: expected"),
        ({"dtype": 16}, "dtype"),
        ({"parameters": 3}, "parameters"),
        ({"parameters": {"wieght": 0.3}}, "unknown parameter 'wieght'; did you mean 'weight'?"),
        ({"parameters": {"own_weight": 0.3}}, "unknown parameter 'own_weight'"),
        ({"parameters": {"normalize": True}}, "unknown parameter 'normalize'"),
        ({"tokenizer": {"sorce": "base"}}, "unknown key 'sorce'; did you mean 'source'?"),
        ({"tokenizer": "base"}, "tokenizer"),
        ({"tokenizer": {"source": "base"}, "tokenizer_source": "base"}, "Cannot specify both"),
        ({"tokeniser": {"source": "base"}}, "did you mean 'tokenizer'?"),
        ({"basemodel": "x"}, "did you mean 'base_model'?"),
        ({"chat_template": "nonsense"}, "'nonsense' is no template"),
    ],
    ids=str,
)
def test_keys_and_values(trio: Trio, tmp_path: Path, changes: dict, words: str) -> None:
    """Missing, misspelt and mistyped keys at the top."""
    assert words in refused(trio, tmp_path, **changes)


def test_unknown_keys_further_down(trio: Trio, tmp_path: Path) -> None:
    """mergekit drops them silently, at every level."""
    entry = {"model": str(trio.lm), "parameters": {"weight": 0.3}}
    assert "did you mean 'parameters'" in refused(
        trio, tmp_path, models=[entry | {"paramaters": {"weight": 0.4}}]
    )
    source = entry | {"layer_range": [0, 4]}
    piece = {"sources": [{"model": str(trio.rm), "layer_range": [0, 4]}, source]}
    for bad, words in (
        ({**piece, "source": 1}, "'source'"),
        ({"sources": [*piece["sources"][:1], source | {"layers": 3}]}, "'layers'"),
        ({**piece, "residual_weight": 0.5}, "residual_weight has no effect"),
        ({**piece, "base_model": str(trio.lm)}, "a merge has one"),
    ):
        assert words in refused(trio, tmp_path, models=None, slices=[bad])
    module = {"default": {"slices": [piece], "parms": {}}}
    assert "'parms'" in refused(trio, tmp_path, models=None, modules=module)
    token = {"source": "base", "tokens": {"w0": {"sauce": 1}}}
    assert "'sauce'" in refused(trio, tmp_path, tokenizer=token)


def test_slices_that_leave_a_model_out(trio: Trio, tmp_path: Path) -> None:
    """A slice of one model only is no merge; ranges must agree and exist."""
    rm = {"model": str(trio.rm), "layer_range": [0, 4]}
    lm = {"model": str(trio.lm), "layer_range": [0, 4], "parameters": {"weight": 0.3}}
    for sources in ([lm], [rm | {"layer_range": [0, 2]}, lm], [rm, lm | {"layer_range": [2, 9]}]):
        refused(trio, tmp_path, models=None, slices=[{"sources": sources}])
    refused(trio, tmp_path, models=None, modules={"other": {"slices": [{"sources": [rm, lm]}]}})


def test_models_named_twice(trio: Trio, tmp_path: Path) -> None:
    """Once each."""
    models = merging.recipe(trio.rm, (trio.lm, 0.3), (trio.lm, 0.2))["models"]
    assert f"names {trio.lm} 2 times" in refused(trio, tmp_path, models=models)


def test_only_the_reward_model(trio: Trio, tmp_path: Path) -> None:
    """Nothing to merge."""
    models = [{"model": str(trio.rm), "parameters": {"weight": 1}}]
    assert "names no model besides the reward model" in refused(trio, tmp_path, models=models)


@pytest.mark.parametrize(
    "method",
    [
        "reward_preserving_liner",
        "reward-preserving-linear",
        "reward_preserving",
        "Reward_Preserving_Linear",
        "rewardpreserving_linear",
        "reward_linear",
    ],
)
def test_misspelt_method(trio: Trio, tmp_path: Path, method: str) -> None:
    """The nearest method's name is given."""
    message = refused(trio, tmp_path, merge_method=method)
    nearest = {
        "reward_preserving": "reward_preserving_sce",
        "reward_linear": "reward_average_linear",
    }.get(method, "reward_preserving_linear")
    told = f"unknown merge_method {method}; did you mean '{nearest}'?"
    assert told in message


def test_mergekits_own_methods_are_left_alone() -> None:
    """No name of mergekit's is taken for a misspelling of ours."""
    from mergekit import merge_methods

    theirs = {m.spec.name for m in merge_methods.registered_methods()} - {*registry.names()}
    assert theirs and not any(map(configuration.is_ours, theirs))
    assert all(map(configuration.is_ours, registry.names()))
    keys.check_text("merge_method: linear\nanything: [goes, {here: 1}]\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "found an empty file"),
        ("---\n", "found an empty file"),
        ("just words", "found str"),
        ("- a\n- b\n", "found list"),
        ("a: [1, 2", "not YAML"),
        ("a: b: c", "not YAML"),
        ("\tx: 1", "not YAML"),
        ("merge_method: !!python/object:os.system x", "not YAML"),
        ("when: 2001-99-99", "not YAML"),
        ("base_model: x", "found the keys base_model"),
        ("&a [*a]", "found list"),
        ("merge_method: reward_preserving_linear\n---\nmerge_method: linear\n", "2 recipes"),
    ],
)
def test_files_that_are_no_recipe(tmp_path: Path, text: str, words: str) -> None:
    """One line, whatever is in the file."""
    assert words in merging.refused(tmp_path, text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """Binary, missing, a folder."""
    (tmp_path / "recipe.bin").write_bytes(bytes(range(256)))
    for name in ("recipe.bin", "missing.yml", "."):
        with pytest.raises(MergeError, match="can't be read as a YAML recipe"):
            keys.check_file(str(tmp_path / name))


def test_checked_again_for_programs(trio: Trio, tmp_path: Path) -> None:
    """A caller of `run_merge` gets a ValueError of one line, with or without the source."""
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    content = merging.recipe(trio.rm, (trio.lm, 1.3))
    config = MergeConfiguration.model_validate(content)
    with pytest.raises(ValueError, match="not in 0") as caught:
        run_merge(config, str(tmp_path / "out"), MergeOptions(quiet=True))
    assert "\n" not in str(caught.value)


def test_prepared_leaves_the_callers_recipe_alone(trio: Trio) -> None:
    """A program may use its configuration again."""
    from mergekit.config import MergeConfiguration

    content = merging.recipe(trio.rm, (trio.rm, 0.7), (trio.lm, 0.3), dtype="bfloat16")
    config = MergeConfiguration.model_validate(content)
    before = copy.deepcopy(config)
    ours = configuration.prepared(config)
    assert config == before
    assert ours.out_dtype == "bfloat16" and ours.dtype is None
    assert ours.models[0].parameters == {"own_weight": 0.7}


def test_models_come_in_the_order_they_are_written(trio: Trio) -> None:
    """The reward model first; mergekit's own list is a set."""
    from mergekit.config import MergeConfiguration

    content = merging.recipe(trio.rm, (trio.other, 0.1), (trio.lm, 0.3), (trio.rm, 0.6))
    ours = configuration.prepared(MergeConfiguration.model_validate(content))
    assert [str(model) for model in ours.referenced_models()] == [
        str(trio.rm),
        str(trio.other),
        str(trio.lm),
    ]


def test_a_filter_that_matches_nothing(trio: Trio, tmp_path: Path) -> None:
    """A misspelt filter would leave its weight unused without a word."""
    weight = [{"filter": "self_atn", "value": 0.3}, {"value": 0.1}]
    models = [{"model": str(trio.lm), "parameters": {"weight": weight}}]
    message = refused(trio, tmp_path, models=models)
    assert "filter 'self_atn' matches no tensor; did you mean 'self_attn'?" in message
    models[0].pop("parameters")
    message = refused(trio, tmp_path, models=models, parameters={"weight": weight})
    assert "filter 'self_atn' matches no tensor" in message


def test_a_finished_merge_says_what_it_did(trio: Trio, tmp_path: Path) -> None:
    """One line: where, how many tensors, and that the head is the reward model's."""
    recipe = merging.recipe(trio.rm, (trio.lm, 0.3))
    said = merging.command(tmp_path, recipe, tmp_path / "out", quiet=False).stderr
    assert f"{tmp_path / 'out'}: " in said and "body tensors, head kept: score.weight" in said
