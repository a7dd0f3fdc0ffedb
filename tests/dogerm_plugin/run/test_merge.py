"""Everything that mergekit offers keeps working with the method."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import merging
import pytest
import tiny
import torch
import yaml
from click.testing import CliRunner
from merging import HEAD, Trio, interpolated, same
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from tests import warm


def layer(name: str) -> int | None:
    parts = name.split(".")
    return int(parts[2]) if parts[1] == "layers" else None


def test_output_loads_and_gives_the_formulas_reward(trio: Trio, tmp_path: Path) -> None:
    """The merged folder is a whole model: class, labels, tokenizer, chat template, card, recipe."""
    recipe = merging.recipe(trio.rm, (trio.lm, 0.3))
    out = merging.merged(tmp_path, recipe)
    expected = interpolated(merging.tensors(trio.rm), (merging.tensors(trio.lm), 0.3))
    assert same(out, expected)
    folder = tmp_path / "out"
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    by_hand = AutoModelForSequenceClassification.from_pretrained(trio.rm)
    by_hand.load_state_dict(expected)
    ids = torch.tensor([[5, 6, 7, 8]])
    assert torch.equal(model(input_ids=ids).logits, by_hand(input_ids=ids).logits)
    assert model.config.num_labels == 1
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.get_vocab() == AutoTokenizer.from_pretrained(trio.rm).get_vocab()
    assert tokenizer.chat_template == merging.TEMPLATE
    card = (folder / "README.md").read_text()
    assert "Reward-preserving linear" in card and "arxiv.org/abs/2407.01470" in card
    assert yaml.safe_load((folder / "mergekit_config.yml").read_text()) == recipe


def test_several_domain_models(trio: Trio, tmp_path: Path) -> None:
    """Each model has its own λ; the reward model has the rest."""
    out = merging.merged(tmp_path, merging.recipe(trio.rm, (trio.lm, 0.3), (trio.other, 0.2)))
    expected = interpolated(
        merging.tensors(trio.rm),
        (merging.tensors(trio.lm), 0.3),
        (merging.tensors(trio.other), 0.2),
    )
    assert same(out, expected)


def test_gradient_over_the_layers(trio: Trio, tmp_path: Path) -> None:
    """`weight: [0, 0.6]` runs from the first layer to the last; embeddings take its start."""
    out = merging.merged(tmp_path, merging.recipe(trio.rm, (trio.lm, [0, 0.6])))
    rm, lm = merging.tensors(trio.rm), merging.tensors(trio.lm)
    for name, tensor in out.items():
        number = layer(name)
        weight = 0.0 if number is None else 0.6 * number / 3
        expected = interpolated(rm, (lm, weight))[name]
        assert torch.allclose(tensor, expected, atol=1e-7, rtol=0), name
    assert not torch.equal(
        out["model.layers.3.mlp.up_proj.weight"], rm["model.layers.3.mlp.up_proj.weight"]
    )


def test_filters(trio: Trio, tmp_path: Path) -> None:
    """`filter: mlp` has its own λ, the last entry is for the rest."""
    weight = [{"filter": "mlp", "value": 0.5}, {"value": 0.1}]
    out = merging.merged(tmp_path, merging.recipe(trio.rm, (trio.lm, weight)))
    rm, lm = merging.tensors(trio.rm), merging.tensors(trio.lm)
    for name, tensor in out.items():
        expected = interpolated(rm, (lm, 0.5 if "mlp" in name else 0.1))[name]
        assert torch.equal(tensor, expected), name


def test_filters_need_not_name_the_head(trio: Trio, tmp_path: Path) -> None:
    """A filter that covers the body is enough: the head takes no λ."""
    out = merging.merged(
        tmp_path, merging.recipe(trio.rm, (trio.lm, [{"filter": "model.", "value": 0.5}]))
    )
    assert same(out, interpolated(merging.tensors(trio.rm), (merging.tensors(trio.lm), 0.5)))


def test_weight_at_the_top_is_every_models(trio: Trio, tmp_path: Path) -> None:
    """`parameters: {weight: ...}` above the models is shared by them."""
    recipe = merging.recipe(trio.rm, parameters={"weight": 0.25})
    recipe["models"] = [{"model": str(trio.lm)}, {"model": str(trio.other)}]
    out = merging.merged(tmp_path, recipe)
    expected = interpolated(
        merging.tensors(trio.rm),
        (merging.tensors(trio.lm), 0.25),
        (merging.tensors(trio.other), 0.25),
    )
    assert same(out, expected)


def slices(trio: Trio, *ranges: tuple[int, int, float]) -> list[dict]:
    return [
        {
            "sources": [
                {"model": str(trio.rm), "layer_range": [start, end]},
                {
                    "model": str(trio.lm),
                    "layer_range": [start, end],
                    "parameters": {"weight": weight},
                },
            ]
        }
        for start, end, weight in ranges
    ]


@pytest.mark.parametrize("inside", ["slices", "modules"])
def test_slices_and_modules(trio: Trio, tmp_path: Path, inside: str) -> None:
    """Slices have their own λ; written directly or in the one module `default`.

    What follows the layers goes with the last, as in mergekit.
    """
    recipe = merging.recipe(trio.rm)
    del recipe["models"]
    pieces = slices(trio, (0, 2, 0.2), (2, 4, 0.6))
    recipe |= (
        {"slices": pieces} if inside == "slices" else {"modules": {"default": {"slices": pieces}}}
    )
    out = merging.merged(tmp_path, recipe)
    rm, lm = merging.tensors(trio.rm), merging.tensors(trio.lm)
    for name, tensor in out.items():
        weight = 0.6 if (layer(name) or 0) >= 2 or name == "model.norm.weight" else 0.2
        assert torch.equal(tensor, interpolated(rm, (lm, weight))[name]), name


def test_a_last_slice_of_more_models_is_refused(trio: Trio, tmp_path: Path) -> None:
    """mergekit would leave one of them out of the final norm, without a word."""
    recipe = merging.recipe(trio.rm)
    del recipe["models"]
    recipe["slices"] = slices(trio, (0, 2, 0.2), (2, 4, 0.6))
    one = {"model": str(trio.other), "layer_range": [2, 4], "parameters": {"weight": 0.1}}
    recipe["slices"][1]["sources"].append(one)
    line = merging.refused(tmp_path, recipe)
    assert "slices: the last names 3 models" in line and "model.norm.weight" in line


def test_slices_that_repeat_layers(trio: Trio, tmp_path: Path) -> None:
    """A deeper model of like layers: config.json, names and the loaded class agree."""
    recipe = merging.recipe(trio.rm)
    del recipe["models"]
    recipe["slices"] = slices(trio, (0, 3, 0.2), (1, 4, 0.6))
    out = merging.merged(tmp_path, recipe)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert model.config.num_hidden_layers == 6
    rm, lm = merging.tensors(trio.rm), merging.tensors(trio.lm)
    name = "model.layers.{}.self_attn.q_proj.weight"
    expected = interpolated(rm, (lm, 0.6))[name.format(1)]
    assert torch.equal(out[name.format(3)], expected)


@pytest.mark.parametrize("key", ["dtype", "out_dtype"])
@pytest.mark.parametrize("name", ["bfloat16", "float16", "float32"])
def test_dtype_is_rounded_to_once(trio: Trio, tmp_path: Path, key: str, name: str) -> None:
    """The float32 result is rounded once, and the head keeps the dtype it is stored in."""
    out = merging.merged(tmp_path, merging.recipe(trio.rm, (trio.lm, 0.3), **{key: name}))
    exact = interpolated(merging.tensors(trio.rm), (merging.tensors(trio.lm), 0.3))
    dtype = getattr(torch, name)
    for key_, tensor in out.items():
        expected = exact[key_] if key_ == HEAD else exact[key_].to(dtype)
        assert tensor.dtype == expected.dtype and torch.equal(tensor, expected), key_
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config.get("dtype", config.get("torch_dtype")) == name


@pytest.mark.parametrize("mine", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("theirs", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("aligned", [False, True])
def test_inputs_of_unlike_dtype(
    tmp_path: Path, mine: torch.dtype, theirs: torch.dtype, aligned: bool
) -> None:
    """Arithmetic in float32, output in the reward model's dtype, aligned embeddings too."""
    rm, _ = tiny.save_pair(tmp_path / "a", "llama", dtype=mine)
    _, lm = tiny.save_pair(tmp_path / "b", "llama", dtype=theirs)
    for path in (rm, lm):
        merging.save_tokenizer(path, merging.words(96))
    more = {"tokenizer": {"source": "base"}} if aligned else {}
    out = merging.merged(tmp_path, merging.recipe(rm, (lm, 0.3), **more))
    exact = interpolated(merging.tensors(rm), (merging.tensors(lm), 0.3))
    assert {tensor.dtype for tensor in out.values()} == {mine}
    assert same(out, {name: tensor.to(mine) for name, tensor in exact.items()})


@pytest.mark.parametrize("tied", [True, False])
def test_tied_and_untied_embeddings(tmp_path: Path, tied: bool) -> None:
    """The language model's LM head is dropped, stored or not."""
    rm, lm = tiny.save_pair(tmp_path, "llama", tie_word_embeddings=tied)
    assert ("lm_head.weight" in merging.tensors(lm)) is not tied
    out = merging.merged(tmp_path, merging.recipe(rm, (lm, 0.3)))
    assert same(out, interpolated(merging.tensors(rm), (merging.tensors(lm), 0.3)))


@pytest.mark.parametrize(
    ("options", "kind"),
    [((), torch.Tensor), (("--lazy-unpickle",), torch.Tensor), ((), torch.nn.Parameter)],
)
def test_pickled_inputs(
    own_trio: Trio, tmp_path: Path, options: tuple[str, ...], kind: type[torch.Tensor]
) -> None:
    """pytorch_model.bin is read, with mergekit's lazy reader and without.

    Some training loops save parameters; the lazy reader does not know these.
    """
    rm, lm = merging.tensors(own_trio.rm), merging.tensors(own_trio.lm)
    saved = {name: kind(tensor) for name, tensor in lm.items()}
    torch.save(saved, own_trio.lm / "pytorch_model.bin")
    (own_trio.lm / "model.safetensors").unlink()
    out = merging.merged(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, 0.3)), *options)
    assert same(out, interpolated(rm, (lm, 0.3)))


def test_sharded_inputs_and_output(own_trio: Trio, tmp_path: Path) -> None:
    """Shards in, shards out; the index names every tensor's file."""
    rm, lm = merging.tensors(own_trio.rm), merging.tensors(own_trio.lm)
    (own_trio.lm / "model.safetensors").unlink()
    shard(own_trio.lm, lm)
    recipe = merging.recipe(own_trio.rm, (own_trio.lm, 0.3))
    out = merging.merged(tmp_path, recipe, "--out-shard-size", "40k")
    assert same(out, interpolated(rm, (lm, 0.3)))
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(out) and len(set(index["weight_map"].values())) > 1


def shard(folder: Path, state: dict[str, torch.Tensor], pieces: int = 3) -> None:
    """Write a checkpoint in several files with an index."""
    names = sorted(state)
    weight_map = {}
    for number in range(pieces):
        file = f"model-{number + 1:05d}-of-{pieces:05d}.safetensors"
        part = names[number::pieces]
        save_file({name: state[name] for name in part}, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    "options",
    [
        ("--async-write",),
        ("--async-write", "--write-threads", "2", "--out-shard-size", "40k"),
        ("--no-safe-serialization",),
        ("--no-safe-serialization", "--out-shard-size", "40k"),
        ("--device", "cpu", "--read-to-gpu"),
        ("--low-cpu-memory",),
        ("--clone-tensors",),
        ("--unsafe-truncate-embeddings",),
        ("--random-seed", "3"),
    ],
    ids=" ".join,
)
def test_options_of_the_command(trio: Trio, tmp_path: Path, options: tuple[str, ...]) -> None:
    """Ways to read, compute and write change nothing in the result."""
    out = merging.merged(tmp_path, merging.recipe(trio.rm, (trio.lm, 0.3)), *options)
    assert same(out, interpolated(merging.tensors(trio.rm), (merging.tensors(trio.lm), 0.3)))


def test_files_that_can_be_left_out(trio: Trio, tmp_path: Path) -> None:
    """--no-copy-tokenizer and --no-write-model-card."""
    merging.merged(
        tmp_path,
        merging.recipe(trio.rm, (trio.lm, 0.3)),
        "--no-copy-tokenizer",
        "--no-write-model-card",
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        ".dogerm-manifest",
        "config.json",
        "model.safetensors",
    }


@pytest.mark.parametrize("option", ["--cuda", "--multi-gpu"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="shows what a machine without a GPU says")
def test_without_a_gpu_the_option_is_refused_in_one_line(
    trio: Trio, tmp_path: Path, option: str
) -> None:
    """No traceback, no output."""
    merging.refused(tmp_path, merging.recipe(trio.rm, (trio.lm, 0.3)), option)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("option", ["--cuda", "--multi-gpu", "--gpu-rich"])
def test_on_a_gpu(trio: Trio, tmp_path: Path, option: str) -> None:
    """The same numbers as on the CPU, up to the last place."""
    out = merging.merged(tmp_path, merging.recipe(trio.rm, (trio.lm, 0.3)), option)
    expected = interpolated(merging.tensors(trio.rm), (merging.tensors(trio.lm), 0.3))
    assert all(torch.allclose(out[name], expected[name], atol=1e-7) for name in expected)


def adapter(folder: Path, model: torch.nn.Module, kind: str) -> Path:
    """A LoRA adapter with random weights."""
    peft = pytest.importorskip("peft")
    torch.manual_seed(9)
    config = peft.LoraConfig(
        r=2, target_modules=["q_proj", "v_proj"], task_type=kind, init_lora_weights=False
    )
    tuned = peft.get_peft_model(model, config)
    merging.shrink(tuned)
    tuned.save_pretrained(folder)
    return folder


def test_a_lora_on_the_language_model(trio: Trio, tmp_path: Path) -> None:
    """`model+lora` with --lora-merge-cache equals merging the adapter by hand."""
    lora = adapter(tmp_path / "lora", AutoModelForCausalLM.from_pretrained(trio.lm), "CAUSAL_LM")
    recipe = merging.recipe(trio.rm, (f"{trio.lm}+{lora}", 0.3))
    out = merging.merged(tmp_path, recipe, "--lora-merge-cache", str(tmp_path / "cache"))
    peft = pytest.importorskip("peft")
    by_hand = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(trio.lm), lora)
    state = by_hand.merge_and_unload().state_dict()
    assert same(out, interpolated(merging.tensors(trio.rm), (state, 0.3)))
    assert (tmp_path / "out" / "tokenizer.json").exists()


def test_a_lora_on_the_reward_model(trio: Trio, tmp_path: Path) -> None:
    """The base may be `reward model+lora` too; its tokenizer comes along."""
    model = AutoModelForSequenceClassification.from_pretrained(trio.rm)
    lora = adapter(tmp_path / "lora", model, "SEQ_CLS")
    recipe = merging.recipe(f"{trio.rm}+{lora}", (trio.lm, 0.3))
    out = merging.merged(tmp_path, recipe, "--lora-merge-cache", str(tmp_path / "cache"))
    peft = pytest.importorskip("peft")
    model = AutoModelForSequenceClassification.from_pretrained(trio.rm)
    state = peft.PeftModel.from_pretrained(model, lora).merge_and_unload().state_dict()
    assert same(out, interpolated(dict(state), (merging.tensors(trio.lm), 0.3)))
    assert AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab()["w0"] == 3


def test_a_lora_without_a_cache_folder(trio: Trio, tmp_path: Path) -> None:
    """The line says which option is missing."""
    lora = adapter(tmp_path / "lora", AutoModelForCausalLM.from_pretrained(trio.lm), "CAUSAL_LM")
    recipe = merging.recipe(trio.rm, (f"{trio.lm}+{lora}", 0.3))
    assert "--lora-merge-cache" in merging.refused(tmp_path, recipe)


def multi(folder: Path, documents: list[dict], *options: str) -> None:
    from mergekit.scripts.multimerge import main

    path = folder / "multi.yml"
    path.write_text(yaml.safe_dump_all(documents, sort_keys=False))
    args = [str(path), "-I", str(folder / "between"), "--out-path", str(folder / "out"), "--quiet"]
    result = CliRunner().invoke(main, [*args, *options])
    assert result.exit_code == 0, (result.output, result.exception)


def test_multi_and_a_plain_merge_beside_it(trio: Trio, tmp_path: Path) -> None:
    """One document uses the other's output; mergekit's own linear sees the plain models."""
    plain = {
        "merge_method": "linear",
        "models": [
            {"model": str(path), "parameters": {"weight": 0.5}} for path in (trio.lm, trio.other)
        ],
    }
    first = {"name": "math", **merging.recipe(trio.rm, (trio.lm, 0.3))}
    last = merging.recipe("math", (trio.other, 0.2))
    multi(tmp_path, [last, first, {"name": "plain", **plain}])
    rm, lm, other = (merging.tensors(path) for path in trio)
    between = interpolated(rm, (lm, 0.3))
    assert same(merging.tensors(tmp_path / "between" / "math"), between)
    assert same(merging.tensors(tmp_path / "out"), interpolated(between, (other, 0.2)))
    mixed = merging.tensors(tmp_path / "between" / "plain")
    assert set(mixed) == set(lm) and "lm_head.weight" in mixed
    assert torch.allclose(
        mixed["lm_head.weight"], (lm["lm_head.weight"] + other["lm_head.weight"]) / 2
    )


def test_plain_merge_after_ours_in_one_process(trio: Trio, tmp_path: Path) -> None:
    """The views of a merge, finished or failed, are forgotten."""
    from mergekit.io.tasks import LoaderCache

    before = dict(LoaderCache.loaders)
    merging.merged(tmp_path, merging.recipe(trio.rm, (trio.lm, 0.3)))
    assert LoaderCache.loaders == before
    merging.refused(tmp_path, merging.recipe(trio.rm, (trio.lm, 0.3)), "--cuda")
    assert LoaderCache.loaders == before


def test_relative_paths_without_a_network(
    trio: Trio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mergekit's model card would ask the Hub whether `rm` is a repository."""
    monkeypatch.chdir(trio.rm.parent)
    recipe = merging.recipe(Path("rm"), (Path("./lm"), 0.3))
    assert merging.merged(tmp_path, recipe)


@pytest.mark.slow
def test_same_bytes_under_every_hash_seed(tmp_path: Path) -> None:
    """sha256 of every file, with two domain models, a union tokenizer and many shards."""
    rm, lm = tiny.save_pair(tmp_path, "llama")
    tiny.save_language_model(tmp_path / "other", "llama", seed=2, vocab_size=98)
    merging.save_tokenizer(rm, merging.words(96))
    merging.save_tokenizer(lm, merging.words(96, first=20))
    merging.save_tokenizer(tmp_path / "other", merging.words(96), ("<extra>", "<more>"))
    recipe = merging.recipe(
        rm,
        (lm, 0.3),
        (tmp_path / "other", 0.2),
        tokenizer={"source": "union"},
        chat_template="auto",
        dtype="bfloat16",
    )
    path = merging.write(tmp_path, recipe)
    (tmp_path / "runs").mkdir()

    def run(seed: int | None) -> dict[str, str]:
        out = tmp_path / "runs" / str(seed) / "out"  # the card holds the folder's own name
        asked = (path, out, "--out-shard-size", "10k")
        process: Any
        if seed is None:  # the fork has one of its own
            process = warm.Process("mergekit-yaml", *asked)
        else:
            process = merging.process(*asked, PYTHONHASHSEED=str(seed), OMP_NUM_THREADS="1")
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
        return merging.digest(out)

    with ThreadPoolExecutor(2) as pool:
        digests = list(pool.map(run, (None, *range(1, 5))))
    assert len(digests[0]) > 10
    assert all(digest == digests[0] for digest in digests)


@pytest.mark.parametrize("module", ["dogerm_plugin.methods.registry", "dogerm_plugin.run.merge"])
def test_our_modules_may_be_imported_first(module: str) -> None:
    """The hook runs while they are half imported; the method is registered all the same."""
    code = (
        f"import {module}; from mergekit import merge_methods; "
        f"print(merge_methods.get({merging.METHOD!r}).spec.name)"
    )
    environment = {**os.environ, "DOGERM_AUTOLOAD": "1"}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=600
    )
    assert run.stdout.strip() == merging.METHOD and "not active" not in run.stderr, run.stderr


@pytest.mark.parametrize("out_dtype", [None, "bfloat16"])
def test_counters_are_not_rounded(own_trio: Trio, tmp_path: Path, out_dtype: str | None) -> None:
    """An int64 head buffer stays: bfloat16 would turn 257 into 256."""
    merging.edit(own_trio.rm, steps=torch.tensor([257, 1 << 40]))
    recipe = merging.recipe(own_trio.rm, (own_trio.lm, 0.3), out_dtype=out_dtype)
    assert merging.merged(tmp_path, recipe)["steps"].tolist() == [257, 1 << 40]


def test_an_adapter_merge_whose_weights_are_gone(trio: Trio, tmp_path: Path) -> None:
    """mergekit takes the folder for finished; here it is made anew."""
    lora = adapter(tmp_path / "lora", AutoModelForCausalLM.from_pretrained(trio.lm), "CAUSAL_LM")
    recipe = merging.recipe(trio.rm, (f"{trio.lm}+{lora}", 0.3))
    options = ("--lora-merge-cache", str(tmp_path / "cache"))
    first = merging.merged(tmp_path, recipe, *options)
    (folder,) = (tmp_path / "cache").iterdir()
    (folder / "model.safetensors").unlink()
    assert same(merging.merged(tmp_path, recipe, *options), first)


def test_a_tokenizer_that_cannot_be_copied(
    trio: Trio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mergekit logs it and ends well, without a tokenizer; here it is an error."""
    from mergekit import merge

    monkeypatch.setattr(merge, "_copy_tokenizer", lambda *_, **__: 1 / 0)
    result = merging.command(tmp_path, merging.recipe(trio.rm, (trio.lm, 0.3)), tmp_path / "out")
    assert result.exit_code == 1 and "--no-copy-tokenizer" in result.output
    assert not (tmp_path / "out").exists()


def test_a_bad_recipe_among_several(trio: Trio, tmp_path: Path) -> None:
    """mergekit-multi: one line too, and the merge that was finished before it stays."""
    from mergekit.scripts.multimerge import main

    first = {"name": "math", **merging.recipe(trio.rm, (trio.lm, 0.3))}
    last = merging.recipe("math", (tmp_path / "nowhere", 0.2))
    path = tmp_path / "multi.yml"
    path.write_text(yaml.safe_dump_all([first, last]))
    args = [str(path), "-I", str(tmp_path / "between"), "--out-path", str(tmp_path / "out")]
    result = CliRunner().invoke(main, [*args, "--quiet"])
    assert isinstance(result.exception, SystemExit) and result.exit_code == 1
    assert result.output.count("Error: ") == 1 and "no such folder" in result.output
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "between" / "math" / "model.safetensors").exists()
