"""A template that prints today's date gives one reward on every day, and the results say which."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from tests.harness.conftest import CHATML, preference_rows
from tests.harness.models.test_response_cache import cached
from tests.harness.models.test_reward import by_transformers, requests, reward, rewards, some_pairs

TASK = "rewardbench-hep-go"

# As Llama 3.2's: the user's date_string, else today's.
DATED = (
    "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "Today Date: {{ date_string }}\n" + CHATML
)
ALWAYS_TODAY = "{{ strftime_now('%Y-%m-%d') }}\n" + CHATML


@pytest.fixture(scope="module")
def dated(save_reward_model: Callable[..., Path]) -> Path:
    """A reward model whose own template prints the date."""
    from transformers import AutoTokenizer

    folder = save_reward_model(seed=41)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = DATED
    tokenizer.save_pretrained(folder)
    return folder


def test_the_reward_is_that_of_the_fixed_date(dated: Path) -> None:
    pairs = some_pairs(4)
    model = reward(dated)
    assert rewards(model, pairs) == pytest.approx(
        by_transformers(dated, pairs, date_string="26 Jul 2024"), abs=1e-5
    )
    assert model.get_model_info()["chat_template_date"] == "2024-07-26"


@pytest.mark.parametrize(
    "arguments",
    [
        {"date": "2025-01-31"},
        {"chat_template_args": {"date_string": "31 Jan 2025"}},
        {"chat_template_args": '{"date_string": "31 Jan 2025"}'},
    ],
)
def test_another_date(dated: Path, arguments: dict[str, Any]) -> None:
    pairs = some_pairs(4)
    model = reward(dated, **arguments)
    assert rewards(model, pairs) == pytest.approx(
        by_transformers(dated, pairs, date_string="31 Jan 2025"), abs=1e-5
    )
    told = model.get_model_info()["chat_template_date"]
    assert told == ("2025-01-31" if "date" in arguments else None)


@pytest.mark.parametrize("model", ["reward", "reward-implicit", "reward-ensemble"])
def test_it_is_said_once_and_written_in_the_results(
    model: str,
    dated: Path,
    reward_model: Path,
    language_model: Path,
    tasks: Callable[..., Any],
    write_rows: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    import lm_eval

    names = {
        "reward": {"pretrained": str(dated)},
        "reward-implicit": {"pretrained": str(language_model), "chat_template": DATED},
        "reward-ensemble": {"pretrained": f"{dated};{reward_model}"},
    }
    with caplog.at_level(logging.WARNING):
        results = lm_eval.simple_evaluate(
            model,
            model_args=names[model],
            device="cpu",
            tasks=[TASK],
            task_manager=tasks(data_dir=write_rows(preference_rows("hep-go", 3))),
            bootstrap_iters=0,
        )
    config = results["config"]
    found = config["members"] if model == "reward-ensemble" else [config]
    assert [one["chat_template_date"] for one in found] == ["2024-07-26", None][: len(found)]
    (said,) = [line for line in caplog.messages if "today's date" in line]
    assert "2024-07-26" in said


def test_a_cache_knows_the_date(dated: Path, tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    cached(reward(dated), path).loglikelihood(requests(some_pairs(2)))
    cached(reward(dated, date="2024-07-26"), path)
    with pytest.raises(HarnessError, match=r"another model \(date 2024-07-26.* -> 2025-01-31"):
        cached(reward(dated, date="2025-01-31"), path)
    with pytest.raises(HarnessError, match=r"another model \(template "):
        cached(reward(dated, chat_template_args={"date_string": "31 Jan 2025"}), path)


def test_a_variable_that_the_template_does_not_read_is_told(
    dated: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        reward(dated, chat_template_args={"date_sting": "x", "date_string": "y"})
    (said,) = [line for line in caplog.messages if line.startswith("chat_template_args")]
    assert said.endswith("does not use date_sting")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"chat_template_args": "date_string"}, "is no mapping of the template's variables"),
        ({"chat_template_args": {"tokenize": False}}, "has tokenize"),
        ({"date": "yesterday"}, "date=yesterday is no date"),
        ({"template_seconds": 0}, "template_seconds=0 is not a number above 0"),
        ({"chat_template": "{% for %}"}, r"is no Jinja template: line 1: "),
        ({"chat_template": "{{ 'a' * 10 ** 10 }}"}, None),
    ],
)
def test_arguments_that_make_no_sense(
    reward_model: Path, arguments: dict[str, Any], said: str | None
) -> None:
    if said is None:  # told with the first row
        model = reward(reward_model, **arguments)
        with pytest.raises(HarnessError, match=r"document 0, .* 1 GiB of memory"):
            model.loglikelihood(requests(some_pairs(1)))
        return
    with pytest.raises(HarnessError, match=said):
        reward(reward_model, **arguments)


def test_a_file_with_a_template_without_end(reward_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "endless.jinja"
    loop = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    file.write_text(loop + CHATML)
    model = reward(reward_model, chat_template=str(file), template_seconds=0.3)
    with pytest.raises(HarnessError) as caught:
        model.loglikelihood(requests([("What is 1 + 1?", "2")]))
    assert f"(file: {file}) takes more than 0.3 seconds" in str(caught.value)
    assert "document 0, response 0 (prompt 'What is 1 + 1?'" in str(caught.value)
    with pytest.raises(HarnessError, match=r"prompt 'Hello there': the chat template \(file: "):
        model.apply_chat_template([{"role": "user", "content": "Hello there"}])


def test_a_sweeps_model_has_the_same_date(dated: Path) -> None:
    from harness.models.live import LiveReward

    pairs = some_pairs(3)
    model = LiveReward(str(dated), device="cpu", batch_size=4)
    assert rewards(model, pairs) == pytest.approx(
        by_transformers(dated, pairs, date_string="26 Jul 2024"), abs=1e-5
    )


def test_what_is_kept_of_a_sweep_knows_date_and_variables() -> None:
    """They are among the model's arguments, and the fixed date is in the code."""
    from harness.runs import identity

    lines = {
        identity.as_text(arguments)
        for arguments in (
            {},
            {"date": "2025-01-31"},
            {"chat_template_args": {"date_string": "31 Jan 2025"}},
            {"chat_template_args": {"date_string": "1 Feb 2025"}},
        )
    }
    assert len(lines) == 4 and all(json.loads(line) is not None for line in lines)
