"""A model whose template shows all that a message can hold, and sets that are scored by it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.harness.conftest import sharpened

# Shows contents, names, tool calls, thoughts, tools and documents; refuses what calls itself judge.
WHOLE = (
    "{% if tools %}<|im_start|>tools\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% if documents %}<|im_start|>documents\n{{ documents | tojson }}<|im_end|>\n{% endif %}"
    "{% for m in messages %}"
    "{% if m['role'] == 'judge' %}{{ raise_exception('No judges here') }}{% endif %}"
    "<|im_start|>{{ m['role'] }}{{ ' ' + m['name'] if m['name'] }}\n"
    "{{ '(' + m['reasoning_content'] + ')' if m['reasoning_content'] }}{{ m['content'] }}"
    "{% for c in m['tool_calls'] or [] %}{{ c['function'] | tojson }}{% endfor %}"
    "{{ m['tool_call_id'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Scored(NamedTuple):
    """A run over a user's set: the rewards of each row, and all that lm-eval gives back."""

    rewards: list[tuple[float, float]]
    found: dict[str, Any]


@pytest.fixture(scope="session")
def whole_model(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: Any, small_config: dict[str, Any]
) -> Path:
    """A tiny reward model with the template `WHOLE`."""
    import copy

    from transformers import LlamaConfig, LlamaForSequenceClassification

    folder = tmp_path_factory.mktemp("whole")
    sharpened(LlamaForSequenceClassification(LlamaConfig(**small_config))).save_pretrained(folder)
    showing = copy.deepcopy(tokenizer)
    showing.chat_template = WHOLE
    showing.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def whole(whole_model: Path) -> Any:
    """`--model reward` of it."""
    from harness.models.reward import Reward

    return Reward(str(whole_model), device="cpu", batch_size=4)


@pytest.fixture(scope="session")
def by_transformers(whole_model: Path) -> Callable[..., float]:
    """The reward of messages, by transformers alone."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(whole_model)
    model = AutoModelForSequenceClassification.from_pretrained(whole_model).eval()

    def reward(messages: list[dict[str, Any]], **beside: Any) -> float:
        inputs = tokenizer.apply_chat_template(
            messages, return_dict=True, return_tensors="pt", **beside
        )
        with torch.no_grad():
            return float(model(**inputs).logits)

    return reward


@pytest.fixture
def own_set(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows and the YAML of a task, and gives the YAML."""

    def write(rows: list[Any], *lines: str, file: str = "p.jsonl") -> Path:
        folder = tmp_path / "own"
        folder.mkdir(exist_ok=True)
        if rows:
            texts = [json.dumps(row) + "\n" for row in rows]
            (folder / file).write_text("".join(texts), "utf-8")
        yaml = ["task: p", "class: !function harness.own_data.OwnPreferences"]
        (folder / "p.yaml").write_text("\n".join([*yaml, f"dataset_path: {file}", *lines]), "utf-8")
        return folder / "p.yaml"

    return write


@pytest.fixture
def score(own_set: Callable[..., Path], whole: Any) -> Callable[..., Scored]:
    """Scores rows with a model, inside lm-eval."""

    def run(rows: list[Any], *lines: str, model: Any = None, cache: Any = None) -> Scored:
        import lm_eval
        from lm_eval.tasks import TaskManager

        yaml = own_set(rows, *lines)
        manager = TaskManager(include_path=str(yaml.parent), include_defaults=False)
        found = lm_eval.simple_evaluate(
            model or whole, tasks=["p"], task_manager=manager, bootstrap_iters=0, use_cache=cache
        )
        answers = [sample["filtered_resps"] for sample in found["samples"]["p"]]
        return Scored([(float(one[0]), float(other[0])) for one, other in answers], found)

    return run
