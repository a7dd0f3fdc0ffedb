"""A chat template that leaves the response out is refused at load, one without the prompt told."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.models.score.rendering import Rendering
from harness.models.score.template_trial import try_out
from tests.harness.conftest import CHATML
from tests.harness.models.test_reward import by_transformers, reward, rewards, some_pairs

EACH = "{% for m in messages %}{{ CONTENT }}|{% endfor %}"


def each(content: str, what: str = "messages") -> str:
    return EACH.replace("CONTENT", content).replace("messages", what)


def tried(tokenizer: Any, template: str) -> None:
    try_out(Rendering(tokenizer, template, "a test", seconds=0.3), "the model")


REFUSED = {
    "nothing": ("always the same", "unlike responses to the same text"),
    "the prompt alone": ("{{ messages[0]['content'] }}", "unlike responses to the same text"),
    "the user's turns": (
        "{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}",
        "unlike responses to the same text",
    ),
    "a key that no message has": (each("m['text']"), "unlike responses to the same text"),
    "lengths": (each("m['content'] | length"), "does not render the response .* as it is"),
    "first letters": (each("m['content'][:3]"), "does not render the response .* as it is"),
    "a generator": (
        "{{ messages | map(attribute='content') }}",
        r"prints the Python object <generator object .* at 0x",
    ),
    "a function": (CHATML + "{{ strftime_now }}", "prints the Python object <.* at 0x"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, tokenizer: Any) -> None:
    template, said = REFUSED[name]
    with pytest.raises(HarnessError, match=said) as caught:
        tried(tokenizer, template)
    assert "the model: the chat template (a test)" in str(caught.value)
    assert "--model_args chat_template=" in str(caught.value)


TOLD = {
    "the response alone": ("{{ messages[-1]['content'] }}", "leaves the prompt out"),
    "the assistant's turns": (
        "{% for m in messages if m['role'] == 'assistant' %}{{ m['content'] }}{% endfor %}",
        "leaves the prompt out",
    ),
    "the last two turns": (each("m['content']", "messages[-2:]"), "leaves earlier turns .*two of"),
    "the last three": (each("m['content']", "messages[-3:]"), "leaves earlier turns .*one of"),
}


@pytest.mark.parametrize("name", TOLD)
def test_what_is_told(name: str, tokenizer: Any, caplog: pytest.LogCaptureFixture) -> None:
    template, said = TOLD[name]
    tried(tokenizer, template)
    (line,) = caplog.messages
    assert re.search(said, line) and line.startswith("the model: the chat template (a test) ")


FINE = {
    "ChatML": CHATML,
    "stripped": each("m['content'] | trim"),
    "lower case": each("m['content'] | lower"),
    "upper case": each("m['content'] | upper"),
    "JSON": "{{ messages | tojson }}",
    "blanks as another sign": each("m['content'] | replace(' ', '▁')"),
    "letter by letter": each("m['content'] | join(' ')"),
    "escaped": each("m['content'] | e"),
    "wants a system turn": (
        "{% if messages[0]['role'] != 'system' %}{{ raise_exception('system first') }}{% endif %}"
        + CHATML
    ),
    "wants more than one exchange": (
        "{% if messages | length < 4 %}{{ raise_exception('too short') }}{% endif %}" + CHATML
    ),
    "wants one exchange": (
        "{% if messages | length > 2 %}{{ raise_exception('too long') }}{% endif %}" + CHATML
    ),
    "wants tools": "{{ tools[0]['name'] }}" + CHATML,
    "fails": "{{ 1 / 0 }}",
    "has no end": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "drops what was thought": each("m['content'].split('</think>')[-1]"),
}


@pytest.mark.parametrize("name", FINE)
def test_what_is_left_to_the_rows(
    name: str, tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tried(tokenizer, FINE[name])
    assert caplog.messages == []


SILENT = "{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}"


@pytest.mark.parametrize("kind", ["reward", "reward-implicit", "reward-ensemble"])
def test_every_kind_of_model_is_refused(
    kind: str, reward_model: Path, save_reward_model: Callable[..., Path], language_model: Path
) -> None:
    """An ensemble's second member has the template of its own that renders no response."""
    from lm_eval.api.registry import get_model
    from transformers import AutoTokenizer

    options: dict[str, Any] = {"device": "cpu", "chat_template": SILENT}
    named = str(language_model if kind == "reward-implicit" else reward_model)
    names = named
    if kind == "reward-ensemble":
        folder = save_reward_model(seed=7)
        other = AutoTokenizer.from_pretrained(folder)
        other.chat_template = SILENT
        other.save_pretrained(folder)
        names, named = f"{reward_model};{folder}", str(folder)
        del options["chat_template"]
    with pytest.raises(HarnessError, match="unlike responses to the same text") as caught:
        get_model(kind)(names, **options)
    assert str(caught.value).startswith(named)


def test_a_template_that_wants_a_system_turn_scores(reward_model: Path) -> None:
    """The rows have one; the trial must not refuse what it has not."""
    from harness.rows.conversation import Conversation

    strict = FINE["wants a system turn"]
    system = {"role": "system", "content": "Be kind."}
    pairs = [
        (Conversation(prompt, [system, {"role": "user", "content": prompt}]), response)
        for prompt, response in some_pairs(3)
    ]
    got = rewards(reward(reward_model, chat_template=strict), pairs)
    expected = by_transformers(reward_model, pairs, chat_template=strict)
    assert got == pytest.approx(expected, abs=1e-5)


def test_a_template_that_refuses_a_row_says_which(
    reward_model: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    template = "{% if 'Paris' in messages[1]['content'] %}{{ 1 / 0 }}{% endif %}" + CHATML
    pairs = [("What is 1 + 1?", "2"), ("What is it?", "3"), ("Which town?", "Paris.")]
    with caplog.at_level(logging.WARNING), pytest.raises(HarnessError) as caught:
        reward(reward_model, chat_template=template).loglikelihood(_requests(pairs))
    assert str(caught.value).startswith(
        f"{reward_model}, task a-task, document 1, response 0 (prompt 'Which town?', response "
        "'Paris.'): the chat template (model_args: Jinja text) fails on"
    )
    assert "ZeroDivisionError" in str(caught.value)
    assert capsys.readouterr().err.endswith("\r")  # the bar is wiped off its line


def _requests(pairs: list[tuple[str, str]]) -> list[Any]:
    from tests.harness.models.test_reward import requests

    return requests(pairs)
