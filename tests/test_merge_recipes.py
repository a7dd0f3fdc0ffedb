"""Every shared recipe is valid, says what a reader needs, and merges tiny models of its kind."""

import json
from pathlib import Path

import merging
import mixtures
import pytest
import reward_models
import tiny
import torch
import yaml
from click.testing import CliRunner
from mergekit import merge_methods
from mergekit.merge_methods.base import TensorGroup
from mergekit.scripts.run_yaml import main as mergekit_yaml
from safetensors.torch import load_file
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from dogerm_plugin.methods.formula import numbers_of
from harness.commands.cli import main as dogerm
from harness.models.routing import router_file
from harness.study.candidates import config
from tests.benchmarks import study_data, study_real_data

FOLDER = Path(__file__).parents[1] / "merge_recipes"
EVERY = sorted(FOLDER.glob("*.yml"))
MIXTURES = [path for path in EVERY if path.stem.startswith("more-")]
ROUTED = [path for path in EVERY if path.stem.startswith("routed-")]
_BASES = ("base_model: meta-llama", "base_model: dogerm-demo/base")
STUDIES = sorted(FOLDER.glob("study*.yml"))
BY_TASK_VECTORS = [
    path
    for path in EVERY
    if any(base in path.read_text() for base in _BASES) and path not in STUDIES
]
OF_SEVERAL = [path for path in EVERY if path.stem.startswith("smollm2-reward")]
OTHERS = (*BY_TASK_VECTORS, *MIXTURES, *OF_SEVERAL, *ROUTED, *STUDIES)
BY_SHARES = [path for path in EVERY if path not in OTHERS]


def tokenizer(folder: Path, size: int) -> None:
    vocabulary = {f"t{i}": i for i in range(size)}
    made = Tokenizer(models.BPE(vocabulary, [], unk_token="t0"))
    PreTrainedTokenizerFast(tokenizer_object=made, unk_token="t0").save_pretrained(folder)


@pytest.mark.parametrize("path", BY_SHARES, ids=lambda path: path.stem)
def test_recipe_merges_tiny_models(path: Path, tmp_path: Path) -> None:
    """The recipe with tiny models in place of its own gives the formula's tensors."""
    recipe = yaml.safe_load(path.read_text())
    kind = "mistral" if "mistral" in path.stem else "llama"
    size = tiny.SIZES["vocab_size"]
    rm, _ = tiny.save_pair(tmp_path / "0", kind)
    tokenizer(rm, size)
    recipe["base_model"] = str(rm)
    domain = []
    for number, entry in enumerate(recipe["models"], start=1):
        torch.manual_seed(number)
        _, lm = tiny.save_pair(tmp_path / str(number), kind)
        tokenizer(lm, size)
        entry["model"] = str(lm)
        domain.append((load_file(lm / "model.safetensors"), entry["parameters"]["weight"]))
    (tmp_path / "recipe.yml").write_text(yaml.safe_dump(recipe))
    done = CliRunner().invoke(mergekit_yaml, [str(tmp_path / "recipe.yml"), str(tmp_path / "out")])
    assert done.exit_code == 0, done.output

    name = "model.layers.3.mlp.up_proj.weight"  # the last layer: a gradient's end
    mine = load_file(rm / "model.safetensors")
    merged = load_file(tmp_path / "out" / "model.safetensors")
    weights = [w if isinstance(w, float) else w[0]["value"][-1] for _, w in domain]
    expected = (1 - sum(weights)) * mine[name]
    for (tensors, _), weight in zip(domain, weights, strict=True):
        expected = expected + weight * tensors[name]
    assert torch.equal(merged[name], expected)
    assert torch.equal(merged["score.weight"], mine["score.weight"])


@pytest.mark.parametrize("path", MIXTURES, ids=lambda path: path.stem)
def test_mixture_of_tiny_models(path: Path, tmp_path: Path) -> None:
    """The recipe with tiny models in place of its own gives a sparse reward model."""
    recipe = yaml.safe_load(path.read_text())
    base = mixtures.reward_models(tmp_path, count=1)[0]
    names = {recipe["base_model"]: base}
    for number, expert in enumerate(recipe["experts"]):
        name = expert["source_model"]
        if name not in names:
            names[name] = mixtures.language_model(tmp_path / str(number))
        expert["source_model"] = str(names[name])
    out = mixtures.made(tmp_path, recipe | {"base_model": str(base)})
    assert mixtures.rewards(out).shape == (len(mixtures.TEXTS), 1)
    head = load_file(base / "model.safetensors")["score.weight"]
    assert torch.equal(load_file(out / "model.safetensors")["score.weight"], head)


@pytest.mark.parametrize("path", ROUTED, ids=lambda path: path.stem)
def test_routed_merges_of_tiny_models(path: Path, tmp_path: Path) -> None:
    """The file and the recipes that it names, with tiny models in place of their own."""
    router = yaml.safe_load(path.read_text())
    rm, _ = tiny.save_pair(tmp_path / "0", "llama")
    tokenizer(rm, tiny.SIZES["vocab_size"])
    named = {router["experts"]["general"]: str(rm)}
    alone = {}
    for name, file in router["experts"].items():
        if not file.endswith(".yml"):
            router["experts"][name] = named[file]
            continue
        recipe = yaml.safe_load((FOLDER / file).read_text())
        assert recipe["base_model"] in named
        recipe["base_model"] = str(rm)
        for entry in recipe["models"]:
            if entry["model"] not in named:
                folder = tmp_path / str(len(named))
                tiny.save_language_model(folder, "llama", len(named))
                tokenizer(folder, tiny.SIZES["vocab_size"])
                named[entry["model"]] = str(folder)
            entry["model"] = named[entry["model"]]
        (tmp_path / file).write_text(yaml.safe_dump(recipe))
        (tmp_path / name).mkdir()
        alone[name] = merging.merged(tmp_path / name, recipe)
    file = tmp_path / path.name
    file.write_text(yaml.safe_dump(router, sort_keys=False))
    out = tmp_path / "out"
    done = CliRunner().invoke(mergekit_yaml, [str(file), str(out)])
    assert done.exit_code == 0, done.output
    assert alone.keys() == {"math", "code", "all"}
    for name, expected in alone.items():
        made = merging.tensors(out / name)
        assert made.keys() == expected.keys()
        assert all(torch.equal(made[one], tensor) for one, tensor in expected.items())
    written = router_file.read(out / "router.yml").checked("out/router.yml")
    assert written.beside == ["all"] and not written.recipes


@pytest.mark.parametrize("path", BY_TASK_VECTORS, ids=lambda path: path.stem)
def test_recipe_of_task_vectors_merges_tiny_models(path: Path, tmp_path: Path) -> None:
    """The body is mergekit's own method's, by the recipe's seed; the head is the reward model's."""
    recipe = yaml.safe_load(path.read_text())
    rm, lm = tiny.save_pair(tmp_path / "0", "llama")
    tiny.save_language_model(tmp_path / "base", "llama", 3)
    for folder in (rm, lm, tmp_path / "base"):
        tokenizer(folder, tiny.SIZES["vocab_size"])
    given = [entry["parameters"] for entry in recipe["models"]]
    recipe["base_model"] = str(tmp_path / "base")
    for entry, folder in zip(recipe["models"], (rm, lm), strict=True):
        entry["model"] = str(folder)
    (tmp_path / "recipe.yml").write_text(yaml.safe_dump(recipe))
    done = CliRunner().invoke(mergekit_yaml, [str(tmp_path / "recipe.yml"), str(tmp_path / "out")])
    assert done.exit_code == 0, done.output

    merged = load_file(tmp_path / "out" / "model.safetensors")
    inputs = [load_file(one / "model.safetensors") for one in (tmp_path / "base", rm, lm)]
    host = merge_methods.get(recipe["merge_method"].removeprefix("reward_preserving_"))
    name = "model.layers.3.mlp.up_proj.weight"
    group = TensorGroup.from_tensors([one[name] for one in inputs], base_index=0)
    parameters = {key: [one[key] for one in given] for key in given[0]}
    with numbers_of(recipe.get("parameters", {}).get("seed", 0), name, torch.device("cpu")):
        (expected,) = host([group], parameters=parameters)
    assert torch.equal(merged[name], expected)
    assert torch.equal(merged["score.weight"], inputs[1]["score.weight"])


@pytest.mark.parametrize("path", OF_SEVERAL, ids=lambda path: path.stem)
def test_recipe_of_several_reward_models(path: Path, tmp_path: Path) -> None:
    """The head is made of all reward models' heads; the body is the rule's."""
    recipe = yaml.safe_load(path.read_text())
    folders = [
        reward_models.save(tmp_path / entry["model"], seed)
        for seed, entry in enumerate(recipe["models"])
    ]
    for entry, folder in zip(recipe["models"], folders, strict=True):
        entry["model"] = str(folder)
    if "base_model" in recipe:
        recipe["base_model"] = str(reward_models.save_base(tmp_path / "base"))
    merged = merging.merged(tmp_path, recipe)
    states = [merging.tensors(folder) for folder in folders]
    heads = torch.cat([one["score.weight"] for one in states])
    name = "model.layers.3.mlp.up_proj.weight"
    if recipe["merge_method"] == "reward_average":
        assert torch.allclose(merged["score.weight"], heads.mean(0, keepdim=True), atol=1e-7)
        mean = torch.stack([one[name] for one in states]).mean(0)
        assert torch.allclose(merged[name], mean, atol=1e-7)
        return
    assert torch.equal(merged["score.weight"], heads)
    base = merging.tensors(tmp_path / "base")[name]
    group = TensorGroup.from_tensors([base, *(one[name] for one in states)], base_index=0)
    given = [entry["parameters"] for entry in recipe["models"]]
    host = merge_methods.get(recipe["merge_method"].removeprefix("reward_heads_"))
    (expected,) = host([group], parameters={key: [one[key] for one in given] for key in given[0]})
    assert torch.equal(merged[name], expected)


def real_rows(data: Path) -> None:
    """Small files of the schemas that the real study reads."""
    domains = (*study_real_data.DOMAINS, "normal")
    dsp = [
        {"query": f"q{n}", "responses": {one: f"{one} {n}" for one in domains}} for n in range(330)
    ]
    tested = [{"prompt": f"t{n}", "chosen": f"{n}", "rejected": f"not {n}"} for n in range(500)]
    worked = [{"prompt": f"w{n}", "response": f"so it is {n}"} for n in range(500)]
    for part in ("eval", "train"):
        (data / part).mkdir(parents=True)
    (data / "eval" / "dsp.json").write_text(json.dumps(dsp))
    for file, rows in (("eval/gsm8k_pairs", tested), ("train/gsm8k_train_sft", worked)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (data / f"{file}.jsonl").write_text(text)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_study_can_be_planned(path: Path, tmp_path: Path) -> None:
    """Its rows are made as its header says, and no prompt that chooses is reported."""
    if path.stem == "study":
        study_data.write(tmp_path / "study-data")
    else:
        real_rows(tmp_path / "data")
        study_real_data.write(tmp_path / "data", tmp_path / "study-real-data")
    (tmp_path / "merge_recipes").mkdir()
    study = tmp_path / "merge_recipes" / path.name
    study.write_text(path.read_text())
    done = CliRunner().invoke(dogerm, ["study", str(study), "--plan", "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    asked = config.read(path)
    for name, candidate in asked.candidates.items():
        assert (f"scoring {name}" in done.output) == candidate.report, name


def test_labels_of_the_real_study_are_about_other_questions(tmp_path: Path) -> None:
    """What is reported, what chooses and what is learned or read share no prompt."""
    real_rows(tmp_path / "data")
    out = tmp_path / "made"
    study_real_data.write(tmp_path / "data", out)

    def asked(name: str) -> set[str]:
        return {json.loads(line)["prompt"] for line in (out / f"{name}.jsonl").open()}

    for domain in (*study_real_data.DOMAINS, "maths"):
        parts = [domain, f"choosing-{domain}", f"labels-{domain}", f"read/{domain}/read"]
        prompts = [asked(name) for name in parts]
        assert all(prompts)
        assert not prompts[0] & (prompts[1] | prompts[2] | prompts[3]), domain
        assert not prompts[1] & (prompts[2] | prompts[3]), domain


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_header_and_index(path: Path) -> None:
    """Each header has goal, sources, command and state; the folder's README lists the file."""
    header = path.read_text().split("merge_method")[0].split("experts:")[0]
    for word in ("# Goal:", "# Sources:", "# Run:", "# State:", f"merge_recipes/{path.name}"):
        assert word in header
    assert f"({path.name})" in (FOLDER / "README.md").read_text()
