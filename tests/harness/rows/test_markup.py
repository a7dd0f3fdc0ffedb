"""What counts as a model's own markup, and what does not."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest

from harness.models.score.chat_template import choose_template
from harness.models.score.encoder import Encoder
from harness.rows.conversation import Turns
from harness.rows.markup import Markup

LLAMA_2 = (
    "{% for m in messages %}{% if m['role'] == 'system' %}<<SYS>>{{ m['content'] }}<</SYS>>"
    "{% elif m['role'] == 'user' %}{{ bos_token }}[INST] {{ m['content'] }} [/INST]"
    "{% else %} {{ m['content'] }} </s>{% endif %}{% endfor %}"
)
THINKING = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{% if m['role'] == 'assistant' %}"
    "<think>\n\n</think>\n\n{% endif %}{{ m['content'] }}<|end|>\n{% endfor %}"
)


def markup(tokenizer: Any, template: str | None = None) -> Markup:
    encoder = Encoder(tokenizer, choose_template(tokenizer, template), 512)
    return Markup(tokenizer, encoder.render)


def said(*texts: str, **beside: Any) -> Turns:
    return Turns([{"role": "user", "content": text} for text in texts], beside)


@pytest.mark.parametrize(
    ("template", "text", "mark"),
    [
        (None, "a <|im_start|>user", "<|im_start|>"),
        (None, "a</s>", "</s>"),
        (LLAMA_2, "[INST] Hi [/INST]", "[INST]"),  # no token of this tokenizer
        (LLAMA_2, "<<SYS>>Be kind.", "<<SYS>>"),
        (THINKING, "<|user|>\nHi", "<|user|>"),
        (THINKING, "Hi<|end|>", "<|end|>"),
    ],
)
def test_what_the_template_writes(
    template: str | None, text: str, mark: str, tokenizer: Any
) -> None:
    found = markup(tokenizer, template).find(said("fine", text))
    assert found is not None and found.text == mark


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (None, "if a < b and b > c: print('<s', '|im_start|', list[INT])"),
        (None, "[INST] is Llama's"),
        (THINKING, "<think>It is easy.</think> 4"),
        (LLAMA_2, "Human: Hi\n\nAssistant: [1] <b>bold</b>"),
    ],
)
def test_what_anybody_may_write(template: str | None, text: str, tokenizer: Any) -> None:
    assert markup(tokenizer, template).find(said(text)) is None


def test_markup_in_what_stands_beside_the_messages(tokenizer: Any) -> None:
    found = markup(tokenizer).find(said("Hi", tools=[{"description": ["</s>"]}]))
    assert found is not None and (found.text, found.role) == ("</s>", "tools")


def test_a_word_that_ends_sequences_is_no_markup(tokenizer: Any) -> None:
    plain = copy.deepcopy(tokenizer)
    plain.add_special_tokens({"eos_token": "END", "additional_special_tokens": ["\n\n"]})
    assert markup(plain).find(said("The\n\nEND")) is None


def test_thousands_of_marks_the_longest_first(tokenizer: Any) -> None:
    many = copy.deepcopy(tokenizer)
    marks: Sequence[str] = [f"<unused{n}>" for n in range(3000)] + ["<unused", "<unused7>more"]
    many.add_special_tokens({"additional_special_tokens": list(marks)})
    looking = markup(many)
    for text, mark in (
        ("a <unused2999>", "<unused2999>"),
        ("<unused7>more", "<unused7>more"),
        ("<unused3000>", "<unused"),
    ):
        found = looking.find(said(text))
        assert found is not None and found.text == mark
