"""Token ids are the chat template's own."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.training.tokens import answer_ids, conversation_ids, require_chat_template
from harness.training.turns import parse_turns

PROMPT = "Human: Hi\n\nAssistant: Hello!\n\nHuman: What is 2 + 2?\n\nAssistant:"


def test_conversation_equals_the_template(tokenizer: Any) -> None:
    """Token for token, with one BOS and nothing behind the template."""
    ids = conversation_ids(tokenizer, parse_turns(PROMPT), "It is 4.")
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "What is 2 + 2?"},
        {"role": "assistant", "content": "It is 4."},
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    assert ids == tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    assert ids == tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ids.count(tokenizer.bos_token_id) == 1
    # the trap: rendering first and tokenizing then would double it
    assert tokenizer(text)["input_ids"].count(tokenizer.bos_token_id) == 2


def test_only_the_answer_is_learned(tokenizer: Any) -> None:
    """Labels are the answer's tokens up to the end of its turn."""
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.eos_token = "<|im_end|>"
    ids, labels = answer_ids(tokenizer, parse_turns(PROMPT), "It is 4.")
    assert ids == conversation_ids(tokenizer, parse_turns(PROMPT), "It is 4.")
    learned = [label for label in labels if label != -100]
    assert tokenizer.decode(learned) == "It is 4.<|im_end|>"
    assert len(labels) == len(ids)
    assert all(label in (-100, token) for label, token in zip(labels, ids, strict=True))


def test_a_template_that_rewrites_the_prompt_is_refused(tokenizer: Any) -> None:
    """Otherwise parts of the prompt would be learned, or of the answer not."""
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = "{{ messages | length }}" + tokenizer.chat_template
    with pytest.raises(HarnessError, match="use another template"):
        answer_ids(tokenizer, parse_turns(PROMPT), "4")


def test_a_tokenizer_without_template_is_refused(tokenizer: Any) -> None:
    """With what to do about it."""
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = None
    with pytest.raises(HarnessError, match="no chat template"):
        require_chat_template(tokenizer, "some/model")
