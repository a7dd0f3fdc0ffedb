"""Pairs of tiny models in every form that checkpoints and recipes come in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import merging
import tiny
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

WORDS = merging.words(96)
CODE = """
import torch
from transformers import LlamaModel, LlamaPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

class OwnReward(LlamaPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.value = torch.nn.Linear(config.hidden_size, 1)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **kwargs):
        states = self.model(input_ids, attention_mask=attention_mask).last_hidden_state
        return SequenceClassifierOutput(logits=2 * self.value(states[:, -1]))
"""


@dataclass
class Form:
    """A recipe of which only λ is open, and mergekit's options for it."""

    content: dict[str, Any]
    weights: Callable[[float], list[Any]] = lambda value: [value]  # one for each domain model
    options: dict[str, Any] = field(default_factory=dict)

    def recipe(self, value: float) -> dict[str, Any]:
        """The recipe with this λ."""
        entries = zip(self.content["models"], self.weights(value), strict=True)
        models = [one | {"parameters": {"weight": weight}} for one, weight in entries]
        return self.content | {"models": models}


def by_task_vectors(form: Form, method: str) -> Form:
    """The same models by a method that starts from a pretrained base: a copy of a domain model."""
    first = str(form.content["models"][0]["model"]).partition("+")[0]
    base = shutil.copytree(first, f"{first}-base")
    models = [{"model": form.content["base_model"]}, *form.content["models"]]
    return Form(
        form.content | {"merge_method": method, "base_model": str(base), "models": models},
        lambda value: [1, *form.weights(value)],
        form.options,
    )


def pair(
    folder: Path, dtype: torch.dtype = torch.float32, model_type: str = "llama", **changes: Any
) -> tuple[Path, Path]:
    """A reward model and a language model with one tokenizer."""
    rm, lm = tiny.save_pair(folder, model_type, dtype, **changes)
    for path in (rm, lm):
        merging.save_tokenizer(path, WORDS)
    return rm, lm


def simple(models: tuple[Path, Path], **more: Any) -> Form:
    return Form(merging.recipe(models[0], (models[1], 0.0), **more))


def store(folder: Path, state: dict[str, torch.Tensor]) -> None:
    """Replace the tensors of a checkpoint."""
    state = {name: tensor.contiguous() for name, tensor in state.items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def stored(kind: str, other: str = "", **more: Any) -> Callable[[Path], Form]:
    """Stored in one dtype, or each model in its own."""

    def make(folder: Path) -> Form:
        rm, lm = pair(folder, getattr(torch, kind))
        if other:
            store(lm, {n: t.to(getattr(torch, other)) for n, t in merging.tensors(lm).items()})
        return simple((rm, lm), **more)

    return make


def finer_head(folder: Path) -> Form:
    rm, lm = pair(folder, torch.bfloat16)
    merging.edit(rm, score__weight=torch.randn(1, 32))
    return simple((rm, lm))


def mixed_dtypes(folder: Path) -> Form:
    """Norms in float32, as some training code leaves them."""
    rm, lm = pair(folder, torch.bfloat16)
    state = merging.tensors(rm)
    store(rm, {name: t.float() * 1.001 if "norm" in name else t for name, t in state.items()})
    return simple((rm, lm))


def sharded(folder: Path) -> Form:
    """Each model's tensors are divided between files in its own way."""
    rm, lm = pair(folder)
    for path, step in ((rm, 3), (lm, 2)):
        state = merging.tensors(path)
        names = sorted(state)
        where = {name: f"model-{number % step}.safetensors" for number, name in enumerate(names)}
        (path / "model.safetensors").unlink()
        for file in set(where.values()):
            part = {name: state[name] for name in names if where[name] == file}
            save_file(part, path / file, metadata={"format": "pt"})
        index = {"metadata": {}, "weight_map": where}
        (path / "model.safetensors.index.json").write_text(json.dumps(index))
    return simple((rm, lm))


def pickled(folder: Path) -> Form:
    """pytorch_model.bin, one in two files, one in the form that torch wrote before 1.6."""
    rm, lm = pair(folder)
    state = merging.tensors(rm)
    where = {name: f"pytorch_model-{number % 2}.bin" for number, name in enumerate(sorted(state))}
    for file in set(where.values()):
        torch.save({name: state[name] for name in state if where[name] == file}, rm / file)
    index = {"metadata": {}, "weight_map": where}
    (rm / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    old = {"_use_new_zipfile_serialization": False}
    torch.save(merging.tensors(lm), lm / "pytorch_model.bin", **old)
    for path in (rm, lm):
        (path / "model.safetensors").unlink()
    return simple((rm, lm))


def tied(folder: Path) -> Form:
    return simple(pair(folder, tie_word_embeddings=True))


def experts(*joined: str) -> Callable[[Path], Form]:
    """Experts stored one by one, or joined as the class holds them."""

    def make(folder: Path) -> Form:
        models = pair(folder, model_type="mixtral")
        autos = (AutoModelForSequenceClassification, AutoModelForCausalLM)
        for path, auto in zip(models, autos, strict=True):
            if path.name in joined:
                store(path, auto.from_pretrained(path).state_dict())
        return simple(models)

    return make


def multimodal(**more: Any) -> Callable[[Path], Form]:
    """A multimodal reward model; the domain model is a text model."""

    def make(folder: Path) -> Form:
        rm, _ = pair(folder, model_type="gemma3")
        text = tiny.tiny_config("gemma3").text_config
        tiny.save_random(folder / "text", AutoModelForCausalLM, text, seed=3)
        merging.save_tokenizer(folder / "text", WORDS)
        return simple((rm, folder / "text"), **more)

    return make


def value_head(folder: Path) -> Form:
    """TRL's: a language model, wrapped, with a value head beside its LM head."""
    rm, lm = pair(folder)
    state = {
        f"pretrained_model.{name}": tensor
        for name, tensor in merging.tensors(rm).items()
        if name != "score.weight"
    }
    state["pretrained_model.lm_head.weight"] = torch.randn(96, 32)
    state |= {"v_head.summary.weight": torch.randn(1, 32), "v_head.summary.bias": torch.randn(1)}
    return _published(rm, lm, state, "LlamaForCausalLM")


def bare_trunk(folder: Path) -> Form:
    """A trunk without its prefix and a head of two layers."""
    rm, lm = pair(folder)
    stored = merging.tensors(rm)
    state = {n.removeprefix("model."): t for n, t in stored.items() if n != "score.weight"}
    shapes = {"weight": (8, 32), "bias": (8,)}, {"weight": (1, 8), "bias": (1,)}
    for number, layer in zip((0, 2), shapes, strict=True):
        state |= {f"value_head.{number}.{n}": torch.randn(shape) for n, shape in layer.items()}
    return _published(rm, lm, state, "LlamaModel", vhead_layer_type="mlp")


def _published(
    rm: Path, lm: Path, state: dict[str, torch.Tensor], architecture: str, **more: Any
) -> Form:
    store(rm, state)
    config = json.loads((rm / "config.json").read_text())
    (rm / "config.json").write_text(json.dumps(config | {"architectures": [architecture]} | more))
    return simple((rm, lm))


def own_code(folder: Path, head: str = "value") -> Form:
    """A class that comes with the checkpoint, its head of this name."""
    rm, lm = pair(folder)
    state = {n: t for n, t in merging.tensors(rm).items() if n != "score.weight"}
    state |= {f"{head}.weight": torch.randn(1, 32), f"{head}.bias": torch.randn(1)}
    (rm / "modeling_own.py").write_text(CODE.replace("self.value", f"self.{head}"))
    auto_map = {"AutoModelForSequenceClassification": "modeling_own.OwnReward"}
    form = _published(rm, lm, state, "OwnReward", auto_map=auto_map)
    form.options = {"trust_remote_code": True}
    return form


def old_names(folder: Path) -> Form:
    """GPT-2 as first published: no `transformer.`, masks stored in every layer."""
    rm, lm = pair(folder, model_type="gpt2")
    for path in (rm, lm):
        state = {n.removeprefix("transformer."): t for n, t in merging.tensors(path).items()}
        store(path, state | {"h.0.attn.bias": torch.ones(1, 1, 8, 8)})
    return simple((rm, lm))


def vocabularies(
    mine: int, theirs: int, rows: tuple[int, int] | None = None, **more: Any
) -> Callable[[Path], Form]:
    """Tokens w0.. and w5.. (or equal ones), with as many rows as tokens or more."""

    def make(folder: Path) -> Form:
        sizes = rows or (mine, theirs)
        rm, _ = tiny.save_pair(folder / "a", "llama", vocab_size=sizes[0])
        _, lm = tiny.save_pair(folder / "b", "llama", vocab_size=sizes[1])
        merging.save_tokenizer(rm, merging.words(mine))
        merging.save_tokenizer(lm, merging.words(theirs, first=0 if not more else 5))
        return simple((rm, lm), **more)

    return make


def adapter(on: str) -> Callable[[Path], Form]:
    """`model+adapter` in place of one model."""

    def make(folder: Path) -> Form:
        import peft

        rm, lm = pair(folder)
        path, auto, kind = {
            "rm": (rm, AutoModelForSequenceClassification, "SEQ_CLS"),
            "lm": (lm, AutoModelForCausalLM, "CAUSAL_LM"),
        }[on]
        torch.manual_seed(9)
        config = peft.LoraConfig(r=2, task_type=kind, init_lora_weights=False)
        tuned = peft.get_peft_model(auto.from_pretrained(path), config)
        merging.shrink(tuned)
        tuned.save_pretrained(folder / "adapter")
        names = {"rm": str(rm), "lm": str(lm)}
        names[on] += f"+{folder / 'adapter'}"
        content = merging.recipe(Path(names["rm"]), (Path(names["lm"]), 0.0))
        return Form(content, options={"lora_merge_cache": str(folder / "cache")})

    return make


def two_models(folder: Path) -> Form:
    rm, lm = pair(folder)
    tiny.save_language_model(folder / "other", "llama", seed=2)
    merging.save_tokenizer(folder / "other", WORDS)
    content = merging.recipe(rm, (lm, 0.0), (folder / "other", 0.0))
    return Form(content, lambda value: [value, value / 2])


def filters(folder: Path) -> Form:
    form = simple(pair(folder))
    form.weights = lambda v: [[{"filter": "mlp", "value": v}, {"value": v / 3}]]
    return form


def gradient(folder: Path) -> Form:
    form = simple(pair(folder))
    form.weights = lambda value: [[0, value]]
    return form


FORMS: dict[str, Callable[[Path], Form]] = {
    "float32": stored("float32"),
    "bfloat16": stored("bfloat16"),
    "float16": stored("float16"),
    "bfloat16 and float32": stored("bfloat16", "float32"),
    "float32 and float16": stored("float32", "float16"),
    "out_dtype bfloat16": stored("float32", out_dtype="bfloat16"),
    "out_dtype float32": stored("bfloat16", out_dtype="float32"),
    "dtype float16": stored("float32", dtype="float16"),
    "a finer head": finer_head,
    "mixed dtypes": mixed_dtypes,
    "sharded": sharded,
    "pickled": pickled,
    "tied": tied,
    "experts apart": experts(),
    "experts joined": experts("rm", "lm"),
    "experts joined in the reward model": experts("rm"),
    "experts joined in the domain model": experts("lm"),
    "multimodal": multimodal(),
    "multimodal, out_dtype bfloat16": multimodal(out_dtype="bfloat16"),
    "value head": value_head,
    "bare trunk": bare_trunk,
    "own code": own_code,
    "old names": old_names,
    "padded, more rows": vocabularies(96, 96, (96, 104)),
    "padded, fewer rows": vocabularies(90, 90, (104, 96)),
    "tokenizer base": vocabularies(96, 90, tokenizer={"source": "base"}),
    "tokenizer union": vocabularies(96, 96, tokenizer={"source": "union"}),
    "tokenizer union, bfloat16": vocabularies(
        96, 96, tokenizer={"source": "union", "pad_to_multiple_of": 64}, out_dtype="bfloat16"
    ),
    "chat template": stored("float32", chat_template="chatml"),
    "adapter": adapter("lm"),
    "adapter on the reward model": adapter("rm"),
    "two domain models": two_models,
    "filters": filters,
    "gradient": gradient,
}
