"""One loaded model that becomes every merge of a recipe, and is scored as that merge."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import forms
import lm_eval
import merging
import pytest
import torch
import yaml
from lm_eval.tasks import TaskManager
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions

from dogerm_plugin.errors import MergeError
from harness.errors import HarnessError
from harness.models.live import LiveReward
from harness.study import recipe_file, rows
from harness.study.measuring import Measuring
from harness.study.merged_model import MergedModel
from harness.study.recipe import Point
from harness.study.rows import SELECT, Rows
from harness.study.spec import Settings, Spec
from harness.study.store import Store
from harness.study.worker import LocalPool, Worker

TASK = "task: pairs\nclass: !function harness.own_data.OwnPreferences\ndataset_path: {}\n"
# Loaded in another dtype than the merge is written in, or the reward model is stored in.
LOADED_IN = [
    ("float32", "bfloat16"),
    ("bfloat16", "float32"),
    ("out_dtype bfloat16", "float32"),
    ("dtype float16", "bfloat16"),
    ("a finer head", "float32"),
    ("multimodal, out_dtype bfloat16", "float32"),
    ("tokenizer union, bfloat16", "float32"),
]


def merged(folder: Path, form: forms.Form, batch_size: str = "2", **arguments: Any) -> MergedModel:
    path = folder / "recipe.yml"
    path.write_text(yaml.safe_dump(form.content), encoding="utf-8")
    return MergedModel(recipe_file.read(path), Settings(arguments, batch_size, form.options))


def at(made: MergedModel, weights: list[Any]) -> Point:
    return made.recipe.point({"weight": weights})


def measure(made: MergedModel, weight: float, rows: Rows, store: Store) -> bool:
    """Measure a merge unless that is in the store; gives whether it had to be done."""
    spec = Spec(made.recipe, made.settings, (rows.name,))
    told: list[bool] = []
    measuring = Measuring(store, [rows], "accuracy", LocalPool(Worker(spec, made, [rows])), print)
    measuring.measure([("it", at(made, [weight]))], SELECT, lambda *about: told.append(about[2]))
    (now,) = told
    return now


def write(form: forms.Form, weight: float, out: Path) -> str:
    """The folder of a merge as mergekit writes it."""
    config = MergeConfiguration.model_validate(form.recipe(weight))
    run_merge(config, str(out), MergeOptions(quiet=True, **form.options))
    return str(out)


def check_same(found: LiveReward, expected: LiveReward) -> None:
    """The loaded models have equal parameters and buffers, dtypes and all."""
    mine, theirs = found.model.state_dict(), expected.model.state_dict()
    assert set(mine) == set(theirs)
    for name, tensor in theirs.items():
        assert mine[name].dtype == tensor.dtype and torch.equal(mine[name], tensor), name


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *((name, {}) for name in forms.FORMS),
        *((name, {"dtype": dtype}) for name, dtype in LOADED_IN),
    ],
    ids=str,
)
def test_the_live_model_is_the_written_merge(name: str, arguments: Any, tmp_path: Path) -> None:
    """As if the merge had been written and loaded, whatever the model was before."""
    form = forms.FORMS[name](tmp_path)
    made = merged(tmp_path, form, **arguments)
    for weight in (0.6, 0.3):
        made.set(at(made, form.weights(weight)))
    folder = write(form, 0.3, tmp_path / "out")
    if form.options.get("trust_remote_code"):
        arguments = arguments | {"trust_remote_code": True}
    check_same(made.loaded, LiveReward(folder, batch_size="2", **arguments))


@pytest.fixture
def simple(reward_model: Path, language_model: Path) -> forms.Form:
    return forms.simple((reward_model, language_model))


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A task of a few pairs, of unlike lengths."""
    lines = [
        {
            "prompt": f"What is {n} + {n}?",
            "chosen": f"{n} + {n} is {2 * n}." + " 1 2 3" * (n % 3),
            "rejected": f"I cannot help with {n}!" + " please" * (n % 4),
        }
        for n in range(7)
    ]
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    path = tmp_path / "pairs.yaml"
    path.write_text(TASK.format(data), encoding="utf-8")
    return path


@pytest.fixture
def store(tmp_path: Path) -> Any:
    made = Store(tmp_path / "store", {"made by": "a test"})
    yield made
    made.close()


def rewards(samples: list[dict[str, Any]]) -> list[list[float]]:
    return [[float(answer[0]) for answer in one["filtered_resps"]] for one in samples]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rewards_are_those_of_lm_eval_on_the_written_merge(
    dtype: str, simple: forms.Form, task: Path, tmp_path: Path
) -> None:
    """To the last digit; those of λ = 0 are the reward model's, before and after another λ."""
    (selected,) = rows.load([str(task)], [])
    made = merged(tmp_path, simple, "4", dtype=dtype)

    def live(weight: float, place: str) -> list[list[float]]:
        store = Store(tmp_path / place, {"made by": "a test"})
        assert measure(made, weight, selected, store)
        store.close()
        (file,) = store.results.glob("*/select/pairs/samples_pairs_*.jsonl")
        return rewards([json.loads(line) for line in file.read_text("utf-8").splitlines()])

    def alone(folder: str) -> list[list[float]]:
        found = lm_eval.simple_evaluate(
            "reward",
            model_args={"pretrained": folder, "dtype": dtype},
            tasks=["pairs"],
            task_manager=TaskManager(include_path=str(tmp_path), include_defaults=False),
            batch_size="4",
            device="cpu",
        )
        assert found is not None
        return rewards(found["samples"]["pairs"])

    reward_model = alone(simple.content["base_model"])
    assert live(0.0, "a") == reward_model
    assert live(0.4, "b") == alone(write(simple, 0.4, tmp_path / "out")) != reward_model
    assert live(0.0, "c") == reward_model


def test_what_is_in_the_store_is_not_measured(
    simple: forms.Form, task: Path, store: Store, tmp_path: Path
) -> None:
    """Then not even the model is loaded."""
    (selected,) = rows.load([str(task)], [])
    assert measure(merged(tmp_path, simple), 0.4, selected, store)
    again = merged(tmp_path, simple)
    assert not measure(again, 0.4, selected, store)
    assert "_loaded" not in vars(again)


def test_after_an_error_half_way_nothing_half_written_is_scored(
    task: Path, store: Store, tmp_path: Path
) -> None:
    """A file is changed meanwhile: no score; of the models as they are then, the right one."""
    rm, lm = forms.pair(tmp_path)
    form = forms.simple((rm, lm))
    made = merged(tmp_path, form)
    made.set(at(made, [0.3]))
    whole = merging.tensors(lm)
    merging.edit(lm, model__layers__2__mlp__up_proj__weight=torch.full((48, 32), float("nan")))
    (selected,) = rows.load([str(task)], [])
    for weight in (0.6, 0.3):  # the one before, too: the model is not that any more
        with pytest.raises(HarnessError, match="changed while it was merged"):
            measure(made, weight, selected, store)
        assert not store.path(f"{weight}/select", "pairs").exists()
    forms.store(lm, whole)
    made = merged(tmp_path, form)
    assert measure(made, 0.3, selected, store)
    check_same(made.loaded, LiveReward(write(form, 0.3, tmp_path / "out"), batch_size="2"))


def test_a_damaged_domain_model_is_told_before_any_score(tmp_path: Path) -> None:
    """λ = 0 needs no number of it; the check at the start reads it all the same."""
    rm, lm = forms.pair(tmp_path)
    merging.edit(lm, model__norm__weight=torch.full((32,), float("inf")))
    with pytest.raises(MergeError, match=f"{lm}: NaN or Inf in tensor model.norm.weight"):
        made = merged(tmp_path, forms.simple((rm, lm)))
        made.set(at(made, [0.0]))


def test_a_loaded_model_that_no_merge_gives_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loaded with one number changed: nothing is scored, at any λ."""
    made = merged(tmp_path, forms.simple(forms.pair(tmp_path)))
    load = made._load

    def changed(*args: Any, **options: Any) -> LiveReward:
        loaded = load(*args, **options)
        loaded.model.model.norm.weight.data[5] *= 1.001
        return loaded

    monkeypatch.setattr(made, "_load", changed)
    for weight in (0.0, 0.3):
        with pytest.raises(HarnessError, match=r"tensor norm\.weight is not the one that"):
            made.set(at(made, [weight]))


@pytest.mark.parametrize("name", ["tokenizer union", "chat template"])
def test_an_output_of_its_own_leaves_no_files(
    name: str, tmp_path: Path, tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written once to see what it is, and not kept, neither in the folder nor mapped."""
    place = tmp_path_factory.mktemp("place")
    monkeypatch.setattr("tempfile.tempdir", str(place))
    made = merged(tmp_path, forms.FORMS[name](tmp_path))
    made.set(at(made, [0.0]))
    assert not list(place.iterdir())
    if os.path.exists("/proc/self/maps"):
        assert str(place) not in Path("/proc/self/maps").read_text()


def test_no_room_to_write_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder and what moves it are named."""

    def full(*_: Any) -> None:
        raise MergeError("No space left on device")

    made = merged(tmp_path, forms.FORMS["tokenizer base"](tmp_path))
    monkeypatch.setattr("mergekit.merge.run_merge", full)
    with pytest.raises(HarnessError, match=r"can't be written: No space left .* TMPDIR"):
        made.set(at(made, [0.0]))


@pytest.mark.parametrize("name", ["pretrained", "tokenizer", "subfolder", "revision"])
def test_arguments_that_the_recipe_has(name: str, simple: forms.Form, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=f"--model_args {name}=: the recipe says"):
        merged(tmp_path, simple, **{name: "something"})


def test_the_models_bytes(tmp_path: Path) -> None:
    """Every parameter once, in the dtype that it is loaded in."""
    made = merged(tmp_path, forms.tied(tmp_path), dtype="bfloat16")
    count = sum(tensor.numel() for tensor in made.loaded.model.parameters())
    head = made.loaded.model.score.weight.numel()  # float32
    assert made.bytes() == pytest.approx(2 * (count + head), abs=100)
