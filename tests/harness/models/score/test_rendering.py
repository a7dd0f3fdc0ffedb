"""A chat template's text: transformers' own, the same on every day, or one line."""

from __future__ import annotations

import logging
import random
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.models.score import bounds
from harness.models.score.rendering import OutOfBounds, Rendering, own_rendering
from harness.models.score.template_args import fixed_date, variables
from tests.harness.conftest import CHATML

TALK = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]
DATED = "{{ strftime_now('%d %b %Y') }}\n" + CHATML


def rendering(tokenizer: Any, template: str, **options: Any) -> Rendering:
    return Rendering(tokenizer, template, "a test", **options)


@pytest.mark.parametrize(
    "template",
    [
        CHATML,
        CHATML + "\n",
        "\n  {% for m in messages %}\n  {{ m['content'] }}\n{% endfor %}\n\n",
        "{# a comment #}\n" + CHATML,
        "{%- set x = messages | tojson -%}{{ x }}{% generation %}y{% endgeneration %}",
    ],
)
def test_text_and_ids_are_those_of_transformers(tokenizer: Any, template: str) -> None:
    for options in ({}, {"add_generation_prompt": True}):
        got = rendering(tokenizer, template)
        expected = tokenizer.apply_chat_template(
            TALK, chat_template=template, tokenize=False, **options
        )
        assert got.text(TALK, **options) == expected
        ids = tokenizer.apply_chat_template(
            TALK, chat_template=template, return_dict=False, **options
        )
        assert got.ids(TALK, **options) == ids


FAILING = {
    "raises": ("{{ raise_exception('user only') }}", "refuses a conversation .*: user only"),
    "divides by zero": ("\n{{ 1 / 0 }}", r"\(line 2 of the template\): ZeroDivisionError"),
    "an attribute that is not there": ("{{ messages[0].x.y }}", "has no attribute 'x'"),
    "a turn that is not there": ("{{ messages[9]['content'] }}", "no element 9"),
    "adds a number to a text": ("{{ 'a' + messages | length }}", "TypeError: can only concat"),
    "calls itself": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
    "a file": ("{% include 'x' %}", "no loader"),
    "escapes": ("{{ messages.append(1) }}", "unsafe"),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_template_that_fails_is_told_in_one_line(name: str, tokenizer: Any) -> None:
    template, said = FAILING[name]
    with pytest.raises(HarnessError, match=r"the chat template \(a test\) .*" + said) as caught:
        rendering(tokenizer, template).text(TALK)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("template", ["x\n{% if %}", "x\n{{ messages | no_such_filter }}"])
def test_what_is_no_jinja_is_told_when_it_is_read(template: str, tokenizer: Any) -> None:
    with pytest.raises(HarnessError, match=r"\(a test\) is no Jinja template: line 2: "):
        rendering(tokenizer, template)


EVER = "{% for i in range(99999) %}{% for j in range(99999) %}TEXT{% endfor %}{% endfor %}"
SLOW = {
    "a loop": EVER.replace("TEXT", ""),
    "a loop that writes": EVER.replace("TEXT", "a"),
    "one operation": "{% set n = messages | length * 5 %}{{ n ** (n ** 9) }}",
    "one operation that is computed when it is compiled": "{{ 10 ** (10 ** 9) }}",
}


@pytest.mark.parametrize("name", SLOW)
def test_a_template_without_end_is_ended(name: str, tokenizer: Any) -> None:
    with pytest.raises(OutOfBounds, match=r"takes more than 0\.3 seconds .*template_seconds="):
        rendering(tokenizer, SLOW[name], seconds=0.3).text(TALK)


LARGE = {
    "a product": "{{ 'a' * 10 ** 10 }}",
    "a product of what is not known before": "{{ messages[1]['content'] * 10 ** 10 }}",
    "a filter": "{{ 'a' | center(10 ** 10) }}",
    "a method": "{{ 'a'.ljust(10 ** 10) }}",
    "a format": "{{ '%10000000000d' % messages | length }}",
    "doubling": (
        "{% set ns = namespace(x='a') %}{% for i in range(99) %}"
        "{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}"
    ),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_template_without_measure_is_ended(
    name: str, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MEMORY", 1 << 27)
    with pytest.raises(OutOfBounds, match="of memory"):
        rendering(tokenizer, LARGE[name], seconds=60).text(TALK)


def test_a_text_too_long_to_tokenize_is_refused(tokenizer: Any) -> None:
    long = rendering(tokenizer, "{{ messages[1]['content'] * 2 ** 25 }}")
    with pytest.raises(OutOfBounds, match="makes 33554432 characters of a conversation of"):
        long.ids(TALK)


def test_a_long_conversation_is_none_without_measure(tokenizer: Any) -> None:
    talk = [TALK[0], {"role": "assistant", "content": "2 " * (1 << 24)}]
    assert len(rendering(tokenizer, CHATML).text(talk)) > 2 << 24


def test_half_a_character_is_told_in_one_line(tokenizer: Any) -> None:
    talk = [TALK[0], {"role": "assistant", "content": "a \ud83d b"}]
    with pytest.raises(HarnessError, match=r"the lone surrogate '\\ud83d'"):
        rendering(tokenizer, CHATML).ids(talk)


def test_the_date_is_fixed_and_said_once(tokenizer: Any, caplog: pytest.LogCaptureFixture) -> None:
    dated = rendering(tokenizer, DATED)
    assert dated.outside.drawn == set()
    with caplog.at_level(logging.WARNING):
        texts = {dated.text(TALK) for _ in range(3)}
    assert texts == {"26 Jul 2024\n" + rendering(tokenizer, CHATML).text(TALK)}
    (said,) = caplog.messages
    assert "scored as if it were 2024-07-26" in said and "date=YYYY-MM-DD" in said
    assert dated.outside.drawn == {"strftime_now"}


def test_another_date_in_any_format(tokenizer: Any) -> None:
    template = "{{ strftime_now('%Y-%m-%d %A %H:%M %s %%s %Z') }}"
    text = rendering(tokenizer, template, date=fixed_date("2025-01-31")).text(TALK)
    assert text == "2025-01-31 Friday 00:00 1738281600 %s "


def test_the_same_text_elsewhere_keeps_todays_date(tokenizer: Any) -> None:
    """transformers keeps templates compiled by their text; theirs is another one than ours."""
    from datetime import datetime

    year = "{{ strftime_now('%Y') }}"
    assert rendering(tokenizer, year).text(TALK) == "2024"
    theirs = tokenizer.apply_chat_template(TALK, chat_template=year, tokenize=False)
    assert theirs == str(datetime.now().year)


def test_a_template_that_transformers_has_forgotten_stays_fixed(tokenizer: Any) -> None:
    from transformers.utils import chat_template_utils

    year = rendering(tokenizer, "{{ strftime_now('%Y') }}")
    assert year.text(TALK) == "2024"
    chat_template_utils._compile_jinja_template.cache_clear()
    assert year.text(TALK) == "2024"


def test_chance_is_fixed(tokenizer: Any) -> None:
    template = "{{ range(10 ** 4) | list | random }} {{ lipsum(n=1) }}"
    before = random.getstate()
    texts = {rendering(tokenizer, template).text(TALK) for _ in range(3)}
    assert len(texts) == 1 and random.getstate() == before


def test_a_template_for_tools_is_fixed_as_well(tokenizer: Any) -> None:
    plain = rendering(tokenizer, CHATML)
    text = plain.text(TALK, chat_template="{{ strftime_now('%Y') }}{{ tools }}", tools=[])
    assert text == "2024[]" and plain.outside.drawn == {"strftime_now"}


def test_training_takes_the_same_text(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.training.tokens import conversation_ids

    monkeypatch.setattr(tokenizer, "chat_template", DATED)
    expected = rendering(tokenizer, DATED).ids(TALK)
    assert conversation_ids(tokenizer, TALK[:1], "2") == expected
    assert tokenizer.decode(expected).startswith("26 Jul 2024\n")
    monkeypatch.setattr(tokenizer, "chat_template", None)
    with pytest.raises(HarnessError, match="chat_template"):
        own_rendering(tokenizer)


def test_what_may_stand_in_chat_template_args() -> None:
    assert variables(None) == {}
    assert variables({"a": 1}) == {"a": 1}
    assert variables('{"a": null}') == {"a": None}
    assert variables("{'a': None}") == {"a": None}
    for wrong in ("a", "[1]", "{", 3, {1: 2}):
        with pytest.raises(HarnessError, match="is no mapping of the template's variables"):
            variables(wrong)
    with pytest.raises(HarnessError, match="has tokenize"):
        variables({"tokenize": True})


@pytest.mark.parametrize("wrong", ["tomorrow", "31.1.2025", "2025-02-30", 7])
def test_what_is_no_date(wrong: Any) -> None:
    with pytest.raises(HarnessError, match=f"date={wrong} is no date; .*date=2024-07-26"):
        fixed_date(wrong)
