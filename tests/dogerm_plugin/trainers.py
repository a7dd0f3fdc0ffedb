# SPDX-License-Identifier: Apache-2.0
"""Tiny reward models in the files that training libraries write.

Each maker writes what the library's own saving code does: TRL's `RewardTrainer` and
`AutoModelForCausalLMWithValueHead.save_pretrained`, LLaMA-Factory's `fix_valuehead_checkpoint`,
OpenRLHF's `_get_reward_model` and `strategy.save_model`, Axolotl's `reward_model: true` (TRL's
trainer), ms-swift's `seq_cls` and value heads.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import merging
import tiny
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
)

VALUE = "v_head.summary.weight"


class Saved(NamedTuple):
    """What a maker wrote: the head's weight and bias, and where it is read.

    `reads_pads`: at the last token whatever it is; else at the last that is not the pad token.
    `auto` loads the folder in transformers; `beside` are its keys that transformers leaves out.
    """

    head: tuple[str, str | None]
    reads_pads: bool
    auto: Any = AutoModelForCausalLM
    beside: frozenset[str] = frozenset()


def save_tokenizer(folder: Path) -> None:
    """A token for each word: w0, w1, ... and what the template writes; others are `<pad>`."""
    words = [*merging.words(90), "user", "assistant", ":"]
    backend = Tokenizer(models.WordLevel({w: n for n, w in enumerate(words)}, unk_token="<pad>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    tokenizer.chat_template = merging.TEMPLATE.replace("'] }}: {{", "'] }} : {{")
    tokenizer.save_pretrained(folder)


def body(model_type: str = "llama", dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
    """A language model with random weights, large enough that rewards differ."""
    torch.manual_seed(4)
    model = AutoModelForCausalLM.from_config(tiny.tiny_config(model_type, **changes))
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model.to(dtype)


def domain_model(folder: Path, model: Any) -> Path:
    """A language model of the same pretrained base: the body and a little noise."""
    torch.manual_seed(5)
    for parameter in model.parameters():
        parameter.data += (0.01 * torch.randn_like(parameter.float())).to(parameter.dtype)
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def _finish(folder: Path, **config: Any) -> None:
    """The tokenizer and the trainer's own leftovers; config keys, None to remove one."""
    save_tokenizer(folder)
    torch.save({"learning_rate": 1e-5}, folder / "training_args.bin")
    file = folder / "config.json"
    values = json.loads(file.read_text()) | config
    file.write_text(json.dumps({key: v for key, v in values.items() if v is not None}))


def _value_head() -> dict[str, torch.Tensor]:
    torch.manual_seed(6)
    return {VALUE: torch.randn(1, 32), VALUE.replace("weight", "bias"): torch.randn(1)}


def _classifier(folder: Path, model: Any, **options: Any) -> Saved:
    config = type(model.config)(**model.config.to_dict())
    config.num_labels = 1
    made = AutoModelForSequenceClassification.from_config(config)
    made.model.load_state_dict(model.model.state_dict())
    torch.manual_seed(6)
    made.score.weight.data.normal_()
    made.to(model.dtype).save_pretrained(folder, **options)
    return Saved(("score.weight", None), False, AutoModelForSequenceClassification)


def trl_reward(folder: Path, model: Any) -> Saved:
    """RewardTrainer: a sequence classifier of one label."""
    saved = _classifier(folder, model)
    _finish(folder)
    return saved


def axolotl(folder: Path, model: Any) -> Saved:
    """`reward_model: true`, `model_type: AutoModelForSequenceClassification`; in shards."""
    saved = _classifier(folder, model, max_shard_size="40KB")
    assert (folder / "model.safetensors.index.json").exists()
    _finish(folder)
    return saved


def swift_seq_cls(folder: Path, model: Any) -> Saved:
    """`task_type seq_cls`, `num_labels 1`: with its problem_type and arguments."""
    saved = _classifier(folder, model)
    _finish(folder, problem_type="regression")
    (folder / "args.json").write_text(json.dumps({"task_type": "seq_cls", "num_labels": 1}))
    return saved


def trl_value_head(folder: Path, model: Any, prefix: str = "") -> Saved:
    """AutoModelForCausalLMWithValueHead: the head in the language model's own file."""
    head = _value_head()
    model.save_pretrained(folder)
    state = load_file(folder / "model.safetensors")
    state = {f"{prefix}{name}": tensor for name, tensor in state.items()}
    save_file(state | head, folder / "model.safetensors", metadata={"format": "pt"})
    _finish(folder)
    return Saved((VALUE, VALUE.replace("weight", "bias")), True, beside=frozenset(head))


def trl_trainer_state(folder: Path, model: Any) -> Saved:
    """The same, saved by a Trainer that takes the wrapper's state as it is.

    transformers alone doesn't find the body in it.
    """
    return trl_value_head(folder, model, "pretrained_model.")._replace(auto=None)


def llama_factory(folder: Path, model: Any, safe: bool = True) -> Saved:
    """The body as a language model, the head in `value_head.safetensors` or `.bin`."""
    head = _value_head()
    model.save_pretrained(folder)
    if safe:
        save_file(head, folder / "value_head.safetensors", metadata={"format": "pt"})
    else:  # transformers 4 with safe_serialization=False
        state = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        torch.save(state, folder / "pytorch_model.bin")
        torch.save(head, folder / "value_head.bin")
    _finish(folder)
    return Saved((VALUE, VALUE.replace("weight", "bias")), True)


def llama_factory_pickled(folder: Path, model: Any) -> Saved:
    return llama_factory(folder, model, safe=False)


def openrlhf(folder: Path, model: Any, prefix: str = "score", **config: Any) -> Saved:
    """`RewardModel`: the body and a linear layer named by `value_head_prefix`; no labels."""
    model.save_pretrained(folder)
    state = load_file(folder / "model.safetensors")
    state.pop("lm_head.weight", None)
    torch.manual_seed(6)
    state[f"{prefix}.weight"] = torch.randn(1, 32).to(model.dtype)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    _finish(
        folder,
        architectures=["RewardModel"],
        value_head_prefix=prefix,
        normalize_reward=False,
        mean=1.5,
        std=0.5,
        **config,
    )
    return Saved((f"{prefix}.weight", None), True, beside=frozenset({f"{prefix}.weight"}))


def openrlhf_value_head(folder: Path, model: Any) -> Saved:
    return openrlhf(folder, model, "value_head")


def openrlhf_newer(folder: Path, model: Any) -> Saved:
    """Releases that set num_labels."""
    labels = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    return openrlhf(folder, model, **labels)


MAKERS: dict[str, Callable[[Path, Any], Saved]] = {
    "TRL": trl_reward,
    "TRL, value head": trl_value_head,
    "TRL, value head, a trainer's state": trl_trainer_state,
    "LLaMA-Factory": llama_factory,
    "LLaMA-Factory, pickled": llama_factory_pickled,
    "OpenRLHF": openrlhf,
    "OpenRLHF, value_head": openrlhf_value_head,
    "OpenRLHF, with labels": openrlhf_newer,
    "Axolotl": axolotl,
    "ms-swift": swift_seq_cls,
    "ms-swift, value head": llama_factory,
}
