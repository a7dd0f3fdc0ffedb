"""`mergekit-moe` with a reward model as its base: a sparse reward model, whole or not at all."""

import json
import shutil
from pathlib import Path

import merging
import mixtures
import pytest
import tiny
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from tests import warm

ALL_SAME = "--i-understand-this-is-not-useful-without-training"
# Model type, what its config needs, the output's class, and whether a shared expert is asked for.
STRETCHED = {
    "rope_type": "llama3",
    "rope_theta": 100.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8,
}
MIXTRAL = "MixtralForSequenceClassification"
FAMILIES = {
    "llama": ("llama", {}, MIXTRAL, False),
    "llama-rope": ("llama", {"rope_parameters": STRETCHED}, MIXTRAL, False),
    "mistral-window": ("mistral", {"sliding_window": 4}, MIXTRAL, False),
    "mistral-wide-heads": ("mistral", {"head_dim": 16}, MIXTRAL, False),
    "qwen3": ("qwen3", {}, "Qwen3MoeForSequenceClassification", False),
    "qwen2": ("qwen2", {}, "Qwen2MoeForSequenceClassification", True),
    "llama-shared": ("llama", {}, "Qwen2MoeForSequenceClassification", True),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three Llama reward models of one base, and a language model of it. Shared: copy to change."""
    folder = tmp_path_factory.mktemp("models")
    return [*mixtures.reward_models(folder), mixtures.language_model(folder)]


def silent(path: Path) -> list[dict]:
    """A shared expert that adds nothing."""
    return [{"source_model": str(path), "residual_scale": 0.0, "positive_prompts": ["w1"]}]


@pytest.mark.parametrize(
    ("kind", "changes", "name", "shared"), [*FAMILIES.values()], ids=[*FAMILIES]
)
def test_equal_experts_are_the_dense_model(
    tmp_path: Path, kind: str, changes: dict, name: str, shared: bool
) -> None:
    """Whatever the gates say, the rewards are the dense model's, in plain transformers."""
    (rm,) = mixtures.reward_models(tmp_path, kind, 1, **changes)
    dense = mixtures.rewards(rm)
    assert float(dense.std()) > 0.1
    found = []
    for seed in (0, 1):
        more = {"shared_experts": silent(rm)} if shared else {}
        content = mixtures.recipe(rm, rm, rm, rm, seed=seed, **more)
        out = mixtures.made(tmp_path, content, ALL_SAME)
        assert AutoConfig.from_pretrained(out).architectures == [name]
        assert float((mixtures.rewards(out) - dense).abs().max()) < 1e-5
        found.append(merging.tensors(out)["model.layers.0.mlp.gate.weight"])
    assert not torch.equal(*found)


def test_what_the_output_is_made_of(tmp_path: Path, models: list[Path]) -> None:
    """Head and trunk are the base's to the bit, the MLPs the experts'; the rest is the base's."""
    base, *experts, lm = models
    out = mixtures.made(tmp_path, mixtures.recipe(base, *experts, lm))
    state, own = merging.tensors(out), merging.tensors(base)
    assert torch.equal(state["score.weight"], own["score.weight"])
    for name, tensor in own.items():
        assert ".mlp." in name or torch.equal(state[name], tensor), name
    for number, expert in enumerate([*experts, lm]):
        theirs = merging.tensors(expert)
        fused = state["model.layers.2.mlp.experts.gate_up_proj"][number]
        parts = [theirs[f"model.layers.2.mlp.{part}_proj.weight"] for part in ("gate", "up")]
        assert torch.equal(fused, torch.cat(parts))
        down = state["model.layers.2.mlp.experts.down_proj"][number]
        assert torch.equal(down, theirs["model.layers.2.mlp.down_proj.weight"])
    ours, theirs = AutoConfig.from_pretrained(out), AutoConfig.from_pretrained(base)
    for key in ("num_labels", "pad_token_id", "rope_parameters", "rms_norm_eps", "hidden_act"):
        assert getattr(ours, key) == getattr(theirs, key), key
    assert (ours.num_local_experts, ours.num_experts_per_tok) == (3, 2)
    tokenizers = [AutoTokenizer.from_pretrained(folder) for folder in (out, base)]
    assert len({(one.padding_side, one.pad_token, one.chat_template) for one in tokenizers}) == 1
    kept = yaml.safe_load((out / "mergekit_moe_config.yml").read_text())
    assert kept["base_model"] == str(base)


def test_random_gates_use_all_experts(tmp_path: Path, models: list[Path]) -> None:
    """In every layer, some token goes to each of them."""
    out = mixtures.made(tmp_path, mixtures.recipe(models[0], *models[:3]))
    model = AutoModelForSequenceClassification.from_pretrained(out).eval()
    ids = mixtures.ids(" ".join(mixtures.TEXTS))[None]
    logits = model.model(input_ids=ids, output_router_logits=True).router_logits
    assert len(logits) == 4
    for layer in logits:
        assert set(layer.topk(2).indices.flatten().tolist()) == {0, 1, 2}


@pytest.mark.parametrize("mode", ["hidden", "hidden_avg", "hidden_last", "cheap_embed"])
def test_gates_from_prompts(tmp_path: Path, models: list[Path], mode: str) -> None:
    """They are what mergekit itself makes of the same base as a language model."""
    from mergekit.common import ModelReference
    from mergekit.moe.router import get_gate_params
    from transformers import AutoModelForCausalLM

    base = models[0]
    content = mixtures.recipe(base, *models[:3], gate_mode=mode)
    out = mixtures.made(tmp_path, content, "--device", "cpu")
    as_lm = tmp_path / "as-lm"
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(as_lm)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.padding_side, tokenizer.pad_token = "left", tokenizer.bos_token
    from mergekit.moe.config import MoEMergeConfig

    expected = get_gate_params(
        ModelReference.model_validate(str(as_lm)),
        tokenizer,
        MoEMergeConfig.model_validate(content).experts,
        mode=mode,
        device="cpu",
    )
    for layer in range(4):
        found = merging.tensors(out)[f"model.layers.{layer}.mlp.gate.weight"]
        assert torch.equal(found, expected[layer].float()), layer


@pytest.mark.parametrize("mode", ["hidden", "cheap_embed"])
def test_prompts_are_read_by_the_trunk_of_the_output(
    tmp_path: Path, models: list[Path], mode: str
) -> None:
    """With `trunk: average`, gates are those of a base that has the mean as its own trunk."""
    base, one, other, _ = models
    content = mixtures.recipe(base, one, other, gate_mode=mode, trunk="average")
    state = merging.tensors(mixtures.made(tmp_path, content))
    mean = Path(shutil.copytree(base, tmp_path / "mean"))
    own = merging.tensors(base)
    own |= {name: state[name] for name in own if ".mlp." not in name}
    save_file(own, mean / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "of-mean").mkdir()
    content = mixtures.recipe(mean, one, other, gate_mode=mode)
    expected = merging.tensors(mixtures.made(tmp_path / "of-mean", content))
    for layer in range(4):
        name = f"model.layers.{layer}.mlp.gate.weight"
        assert torch.equal(state[name], expected[name]), layer


def test_several_prompts_without_a_padding_token(tmp_path: Path, models: list[Path]) -> None:
    """Prompts are padded with the tokenizer's token, whatever config.json lacks."""
    bare = Path(shutil.copytree(models[0], tmp_path / "bare"))
    settings = json.loads((bare / "config.json").read_text())
    (bare / "config.json").write_text(json.dumps({**settings, "pad_token_id": None}))
    gates = []
    for base in (bare, models[0]):
        content = mixtures.recipe(base, *models[:2], gate_mode="hidden")
        for number, expert in enumerate(content["experts"]):
            expert["positive_prompts"] = mixtures.TEXTS[2 * number : 2 * number + 2]
        folder = tmp_path / f"of-{base.name}"
        folder.mkdir()
        state = merging.tensors(mixtures.made(folder, content))
        gates.append(state["model.layers.2.mlp.gate.weight"])
    assert torch.equal(*gates)
    assert AutoConfig.from_pretrained(tmp_path / "of-bare" / "out").pad_token_id is None


def test_empty_prompts_are_refused(tmp_path: Path, models: list[Path]) -> None:
    """A gate made of nothing but the token that begins every text is no gate."""
    for key, prompts in (("positive_prompts", [""]), ("negative_prompts", ["w1", " "])):
        content = mixtures.recipe(models[0], *models[:2], gate_mode="hidden")
        content["experts"][1][key] = prompts
        said = mixtures.refused(tmp_path, content)
        assert f"experts entry 2: {key}: an empty prompt" in said


def test_averaged_trunk_and_head(tmp_path: Path, models: list[Path]) -> None:
    """Attention, norms, embeddings and head are the experts' mean; of copies, the copy."""
    base, one, other, _ = models
    content = mixtures.recipe(base, one, other, trunk="average", head="average")
    state = merging.tensors(mixtures.made(tmp_path, content))
    states = [merging.tensors(folder) for folder in (one, other)]
    for name in ("model.embed_tokens.weight", "model.norm.weight", "score.weight"):
        mean = (states[0][name].double() + states[1][name].double()) / 2
        assert torch.equal(state[name], mean.float()), name
    half = Path(shutil.copytree(base, tmp_path / "half"))
    save_file(
        {name: tensor.bfloat16() for name, tensor in merging.tensors(base).items()},
        half / "model.safetensors",
        metadata={"format": "pt"},
    )
    content = mixtures.recipe(half, one, other, trunk="average", dtype="float32")
    finer = merging.tensors(mixtures.made(tmp_path, content))
    for name in ("model.embed_tokens.weight", "model.norm.weight"):
        assert torch.equal(finer[name], state[name]), name
    content = mixtures.recipe(one, one, one, one, trunk="average", head="average")
    state = merging.tensors(mixtures.made(tmp_path, content, ALL_SAME))
    assert all(torch.equal(state[n], t) for n, t in states[0].items() if ".mlp." not in n)


def test_heads_apart(tmp_path: Path, models: list[Path]) -> None:
    """Each expert's head is a label of its own, named after the model."""
    base, one, other, _ = models
    out = mixtures.made(tmp_path, mixtures.recipe(base, base, one, other, head="apart"))
    assert mixtures.rewards(out).shape == (len(mixtures.TEXTS), 3)
    assert AutoConfig.from_pretrained(out).id2label == {0: "rm0", 1: "rm1", 2: "rm2"}
    weight = merging.tensors(out)["score.weight"]
    for row, folder in zip(weight, (base, one, other), strict=True):
        assert torch.equal(row, merging.tensors(folder)["score.weight"][0])


@pytest.mark.parametrize("form", ["average", "apart"])
def test_heads_keep_the_digits_of_the_finest(tmp_path: Path, models: list[Path], form: str) -> None:
    """Experts' heads in float32, on a base in bfloat16."""
    base, one, other, _ = models
    half = Path(shutil.copytree(base, tmp_path / "half"))
    coarse = {name: tensor.bfloat16() for name, tensor in merging.tensors(base).items()}
    save_file(coarse, half / "model.safetensors", metadata={"format": "pt"})
    out = mixtures.made(tmp_path, mixtures.recipe(half, one, other, head=form))
    heads = torch.cat([merging.tensors(folder)["score.weight"] for folder in (one, other)])
    wanted = heads if form == "apart" else heads.double().mean(0, keepdim=True).float()
    assert torch.equal(merging.tensors(out)["score.weight"], wanted)


def test_labels_tell_the_experts_apart(tmp_path: Path, models: list[Path]) -> None:
    """Folders of one name are told by those above them, and one model twice by numbers."""
    base, one, other, _ = models
    folders = []
    for name, model in (("maths", one), ("code", other)):
        (tmp_path / name).mkdir()
        folders.append(Path(shutil.copytree(model, tmp_path / name / "best")))
    content = mixtures.recipe(base, base, *folders, folders[0], head="apart")
    out = mixtures.made(tmp_path, content)
    labels = [f"{base.parent.name}/rm0", "maths/best-1", "code/best", "maths/best-2"]
    assert list(AutoConfig.from_pretrained(out).id2label.values()) == labels


@pytest.mark.parametrize(
    ("form", "change", "message"),
    [
        ("average", {"score_type": "cost"}, "config.json says score_type cost"),
        ("apart", {"score_type": "cost"}, "config.json says score_type cost"),
        ("average", {"mean": 2.0}, "the rewards have unlike centres or scales"),
        ("average", {"id2label": {"0": "harm"}}, "heads of unlike labels have no average"),
    ],
)
def test_heads_that_mean_other_things(
    tmp_path: Path, models: list[Path], form: str, change: dict, message: str
) -> None:
    """As those of `reward_average` and `reward_heads`."""
    folders = [Path(shutil.copytree(model, tmp_path / model.name)) for model in models[:2]]
    for folder, more in zip(folders, ({"id2label": {"0": "help"}}, change), strict=True):
        settings = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**settings, **more}))
    content = mixtures.recipe(folders[0], *folders, head=form)
    assert message in mixtures.refused(tmp_path, content)


def test_heads_of_unlike_starts_are_told(
    tmp_path: Path, models: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    """The mean of two heads that have nothing in common is made, and warned of."""
    other = Path(shutil.copytree(models[1], tmp_path / "other"))
    merging.edit(other, score__weight=torch.randn(1, 32, generator=torch.Generator()))
    content = mixtures.recipe(models[0], models[0], other, head="average")
    mixtures.made(tmp_path, content)
    assert "they come of unlike starts" in caplog.text


def test_parameters_are_counted(tmp_path: Path, models: list[Path]) -> None:
    """The line in the end says what the formulas say and `sum(p.numel())` has."""
    base, *others = models
    content = mixtures.recipe(base, *others)
    result = mixtures.command(tmp_path, content, tmp_path / "out")
    sizes = {name: tensor.numel() for name, tensor in merging.tensors(base).items()}
    dense, in_mlps = sum(sizes.values()), sum(n for name, n in sizes.items() if ".mlp." in name)
    gates = 4 * 3 * 32  # layers x experts x hidden size
    total = dense + 2 * in_mlps + gates
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert total == sum(parameter.numel() for parameter in model.parameters())
    assert f"{total:,} parameters, {total - in_mlps:,} active a token" in result.output
    assert f"3 models have {3 * dense:,} ({total / (3 * dense) - 1:+.0%})" in result.output


@pytest.mark.slow
def test_bytes_depend_on_the_recipe_alone(tmp_path: Path, models: list[Path]) -> None:
    """The real command, by threads and hash seed; without the hook the result scores the same."""
    content = mixtures.recipe(models[0], *models[:3])
    content["experts"][1]["noise_scale"] = 0.01
    path = mixtures.write(tmp_path, content)
    # the fork has one thread, and an order of hashes of its own
    runs = [
        warm.run("mergekit-moe", path, tmp_path / "out0"),
        mixtures.process(path, tmp_path / "out1", OMP_NUM_THREADS="2", PYTHONHASHSEED="1"),
    ]
    digests = []
    for number, done in enumerate(runs):
        assert done.returncode == 0, done.stderr
        assert "head kept: score.weight" in done.stderr
        digests.append(merging.digest(tmp_path / f"out{number}"))
    for digest in digests:
        del digest[".dogerm-manifest"]
    assert digests[0] == digests[1]
    here = mixtures.made(tmp_path, content)
    assert torch.equal(mixtures.rewards(here), mixtures.rewards(tmp_path / "out0"))


def test_a_seed_gives_other_gates(tmp_path: Path, models: list[Path]) -> None:
    """And nothing of the process's own generator."""
    gates = []
    for seed in (0, 0, 5):
        torch.rand(7)
        before = torch.get_rng_state()
        out = mixtures.made(tmp_path, mixtures.recipe(models[0], *models[:3], seed=seed))
        assert torch.equal(before, torch.get_rng_state())
        gates.append(merging.tensors(out)["model.layers.1.mlp.gate.weight"])
    assert torch.equal(gates[0], gates[1]) and not torch.equal(gates[0], gates[2])


@pytest.mark.slow
def test_language_models_are_mergekits_own(tmp_path: Path, models: list[Path]) -> None:
    """A recipe without a reward model gives the files that mergekit gives without the hook."""
    other = mixtures.save(tmp_path / "lm2", "llama", 11, tiny.AutoModelForCausalLM)
    content = mixtures.recipe(models[3], models[3], other, gate_mode="hidden", colour="ignored")
    path = mixtures.write(tmp_path, content)
    for done in (
        warm.run("mergekit-moe", path, tmp_path / "with"),
        mixtures.process(path, tmp_path / "without", DOGERM_AUTOLOAD="0"),
    ):
        assert done.returncode == 0, done.stderr
        assert "dogerm" not in done.stderr
    assert merging.digest(tmp_path / "with") == merging.digest(tmp_path / "without")
    assert AutoConfig.from_pretrained(tmp_path / "with").architectures == ["MixtralForCausalLM"]


def test_a_program_that_calls_build(tmp_path: Path, models: list[Path]) -> None:
    """`mergekit.scripts.moe.build` does the same as the command."""
    from mergekit.moe.config import MoEMergeConfig
    from mergekit.options import MergeOptions
    from mergekit.scripts import moe

    content = mixtures.recipe(models[0], *models[:3])
    moe.build(
        MoEMergeConfig.model_validate(content), str(tmp_path / "built"), MergeOptions(quiet=True)
    )
    made = merging.tensors(mixtures.made(tmp_path, content))
    assert merging.same(made, merging.tensors(tmp_path / "built"))


def test_a_failure_leaves_the_earlier_output(
    tmp_path: Path, models: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output appears when it is complete."""
    from dogerm_plugin.run import verify

    content = mixtures.recipe(models[0], *models[:3])
    out = mixtures.made(tmp_path, content)
    before = merging.digest(out)

    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(verify, "verify", fail)
    content["seed"] = 3
    result = mixtures.command(tmp_path, content, out)
    assert result.exit_code == 1 and "Error: No space left on device" in result.output
    assert merging.digest(out) == before
    assert [path.name for path in tmp_path.iterdir() if "merging" in path.name] == []


@pytest.mark.parametrize(
    ("option", "files"),
    [
        (("--out-shard-size", "20000"), "*.safetensors.index.json"),
        (("--no-safe-serialization",), "pytorch_model.bin"),
        (("--async-write", "--write-threads", "2"), "model.safetensors"),
    ],
)
def test_the_forms_that_mergekit_writes(
    tmp_path: Path, models: list[Path], option: tuple[str, ...], files: str
) -> None:
    """Shards, pickles, from several threads: the same tensors."""
    content = mixtures.recipe(models[0], *models[:3])
    plain = merging.tensors(mixtures.made(tmp_path, content))
    out = mixtures.made(tmp_path, content, *option)
    assert merging.same(merging.tensors(out), plain) and list(out.glob(files))
    assert mixtures.rewards(out).isfinite().all()


def test_a_shared_expert_that_speaks(
    tmp_path: Path, models: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    """It is what mergekit offers, and a warning says what it does to the rewards."""
    shared = [{"source_model": str(models[0]), "residual_scale": 0.1}]
    content = mixtures.recipe(models[0], *models[:3], shared_experts=shared)
    mixtures.made(tmp_path, content)
    assert "`residual_scale: 0` makes it silent" in caplog.text


def test_experts_may_be_adapters(tmp_path: Path, models: list[Path]) -> None:
    """`MODEL+ADAPTER`, as in other recipes."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(models[0])
    settings = LoraConfig(r=2, target_modules=["down_proj"], task_type="SEQ_CLS")
    tuned = get_peft_model(model, settings)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.02)
    tuned.save_pretrained(tmp_path / "adapter")
    expert = f"{models[0]}+{tmp_path / 'adapter'}"
    content = mixtures.recipe(models[0], models[0], expert, head="apart")
    assert "add --lora-merge-cache DIR" in mixtures.refused(tmp_path, content)
    out = mixtures.made(tmp_path, content, "--lora-merge-cache", str(tmp_path / "cache"))
    down = merging.tensors(out)["model.layers.0.mlp.experts.down_proj"]
    assert 0 < float((down[0] - down[1]).abs().max()) < 1
    assert AutoConfig.from_pretrained(out).id2label == {0: "rm0", 1: "adapter"}


def test_a_wrappers_names(tmp_path: Path, models: list[Path]) -> None:
    """A base saved inside a trainer's wrapper: the same output, hidden gates included."""
    content = mixtures.recipe(models[0], models[0], models[1], gate_mode="hidden")
    plain = merging.tensors(mixtures.made(tmp_path, content))
    wrapped = Path(shutil.copytree(models[0], tmp_path / "wrapped"))
    state = {f"pretrained_model.{n}": t for n, t in merging.tensors(wrapped).items()}
    save_file(state, wrapped / "model.safetensors", metadata={"format": "pt"})
    content = mixtures.recipe(wrapped, wrapped, models[1], gate_mode="hidden")
    assert merging.same(merging.tensors(mixtures.made(tmp_path, content)), plain)


def _strange(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    state[name] = torch.randn(state[name].shape, generator=torch.Generator().manual_seed(9))
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def _reordered(folder: Path) -> None:
    mixtures.save_tokenizer(folder, [*merging.SPECIAL, *reversed(merging.words(96)[3:])])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_strange, "model.layers.1.mlp.up_proj.weight: that of"),
        (_reordered, "of its tokens have another id than in"),
    ],
)
def test_experts_of_another_base(
    tmp_path: Path, models: list[Path], damage: object, message: str
) -> None:
    """The reason is named, and the output does not appear."""
    other = Path(shutil.copytree(models[1], tmp_path / "other"))
    damage(other)
    said = mixtures.refused(tmp_path, mixtures.recipe(models[0], models[0], other))
    assert message in said and str(other) in said


def test_an_expert_without_a_tokenizer(
    tmp_path: Path, models: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Its tokens can't be compared: a warning says so."""
    other = Path(shutil.copytree(models[1], tmp_path / "other"))
    for file in other.glob("tokenizer*"):
        file.unlink()
    mixtures.made(tmp_path, mixtures.recipe(models[0], models[0], other))
    assert f"{other} has no tokenizer: it can't be checked" in caplog.text


def test_an_expert_with_tokens_of_its_own(tmp_path: Path, models: list[Path]) -> None:
    """Rows that the base lacks are not used; a mean of them is refused."""
    other = mixtures.save(
        tmp_path / "more-rows", "llama", 1, AutoModelForSequenceClassification, vocab_size=100
    )
    mixtures.save_tokenizer(other, [*merging.words(96), "one", "more"])
    content = mixtures.recipe(models[0], models[0], other)
    mixtures.made(tmp_path, content)
    shutil.rmtree(tmp_path / "out")
    said = mixtures.refused(tmp_path, content | {"trunk": "average"})
    assert "[96, 32]" in said and "[100, 32]" in said and "say trunk: base" in said


def test_strangers_on_request(tmp_path: Path, models: list[Path]) -> None:
    """`allow_unrelated` beside the expert, as the refusal says."""
    other = Path(shutil.copytree(models[1], tmp_path / "other"))
    _strange(other)
    content = mixtures.recipe(models[0], models[0], other)
    assert "`allow_unrelated: true` beside its source_model" in mixtures.refused(tmp_path, content)
    content["experts"][1]["allow_unrelated"] = True
    mixtures.made(tmp_path, content)


def test_experts_of_another_shape(tmp_path: Path, models: list[Path]) -> None:
    """Named with both shapes."""
    wide = mixtures.save(
        tmp_path / "wide", "llama", 1, AutoModelForSequenceClassification, intermediate_size=64
    )
    said = mixtures.refused(tmp_path, mixtures.recipe(models[0], models[0], wide))
    assert "[32, 48]" in said and "[32, 64]" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gate_mod": "random"}, "unknown key 'gate_mod'; did you mean 'gate_mode'?"),
        ({"expert": [], "experts": None}, "unknown key 'expert'; did you mean 'experts'?"),
        ({"trunk": "mean"}, "trunk: Input should be 'base' or 'average' (found 'mean')"),
        ({"gate_mode": "hiden"}, "unknown gate_mode 'hiden'; did you mean 'hidden'?"),
        ({"experts": []}, "experts has 0 entries, and experts_per_token is 2: add experts"),
        ({"experts_per_token": 3}, "experts has 2 entries, and experts_per_token is 3"),
        ({"experts_per_token": 0}, "experts_per_token 0 is not 1 or more"),
        ({"gate_mode": "hidden"}, "has no positive_prompts, and gate_mode hidden asks for them"),
        ({"dtype": "bf16"}, "dtype: bf16: expected bfloat16, float16 or float32"),
        ({"base_model": None}, "base_model: expected a folder or a Hub id (found None)"),
        ({"base_model": "/no/such"}, "/no/such: no such folder, and not a Hub id"),
        ({"architecture": "granite"}, "architecture: granite: mergekit-moe has Mixtral, DeepSeek"),
        ({"architecture": "deepseek"}, "transformers has no class of DeepSeek MoE that gives"),
        ({"architecture": "qwen3"}, "Qwen3 MoE only supports Qwen3 input models"),
        ({"head": "apart"}, "has no reward head (it is a LlamaForCausalLM); say head: base"),
        ({"shared_experts": [{"source_model": "no/such"}]}, "neither base_model nor one of"),
        ({"experts": [{"source_model": "/no/such"}] * 2}, "/no/such: no such folder, and not a"),
    ],
)
def test_recipes_are_checked(
    tmp_path: Path, models: list[Path], change: dict, message: str
) -> None:
    """One line, and mergekit's own words where it refuses."""
    content = mixtures.recipe(models[0], models[1], models[3]) | change
    assert message in mixtures.refused(tmp_path, content)


def test_a_recipe_for_the_other_command(tmp_path: Path, models: list[Path]) -> None:
    """Each command names the one that takes it."""
    mixture = mixtures.recipe(models[0], models[0], models[3])
    assert "no merge_method: run it by mergekit-moe" in merging.refused(tmp_path, mixture)
    merge = merging.recipe(models[0], (models[3], 0.3))
    assert "no experts: run it by mergekit-yaml" in mixtures.refused(tmp_path, merge)


def test_the_base_must_give_rewards(tmp_path: Path, models: list[Path]) -> None:
    """mergekit would drop the expert's head without a word."""
    said = mixtures.refused(tmp_path, mixtures.recipe(models[3], models[3], models[0]))
    assert "is a language model and the expert" in said
    said = mixtures.refused(tmp_path, mixtures.recipe(tmp_path / "nope", models[3], models[0]))
    assert "nope: no such folder" in said and "is a language model" not in said
    content = mixtures.recipe(models[0], *models[:2])
    content["base_modl"] = content.pop("base_model")
    said = mixtures.refused(tmp_path, content)
    assert "unknown key 'base_modl'; did you mean 'base_model'?" in said


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("gemma2", {}, "a gemma2 reward model has no sparse form"),
        ("qwen2", {}, "Qwen MoE: Qwen MoE merge requires exactly one shared expert"),
        ("llama", {"attention_bias": True}, "it has no place for model.layers.0.self_attn"),
        ("llama", {"mlp_bias": True}, "it has no place for model.layers.0.mlp"),
    ],
)
def test_models_without_a_sparse_form(
    tmp_path: Path, kind: str, changes: dict, message: str
) -> None:
    """By name, with what each of mergekit's architectures says; a bias that is lost is met, too."""
    one, other = mixtures.reward_models(tmp_path, kind, 2, **changes)
    assert message in mixtures.refused(tmp_path, mixtures.recipe(one, one, other))


def test_a_head_that_no_class_has(tmp_path: Path, models: list[Path]) -> None:
    """A value head with a bias, beside a language model: a reward model, and refused."""
    lm = Path(shutil.copytree(models[3], tmp_path / "value"))
    state = load_file(lm / "model.safetensors")
    state |= {"v_head.summary.weight": torch.ones(1, 32), "v_head.summary.bias": torch.ones(1)}
    save_file(state, lm / "model.safetensors", metadata={"format": "pt"})
    said = mixtures.refused(tmp_path, mixtures.recipe(lm, lm, models[1]))
    assert "is not one linear layer without a bias" in said
