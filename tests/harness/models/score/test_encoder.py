"""The tokens that are scored: one rendering, one BOS, the end kept."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.models.score.chat_template import ChatTemplate, choose_template
from harness.models.score.encoder import Encoder
from harness.rows.conversation import PLAIN_TEMPLATE

TALK = [
    {"role": "user", "content": "What is 1 + 1?"},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "And 2 + 2?"},
    {"role": "assistant", "content": " 4"},
]


def encoder(tokenizer: Any, wanted: str | None = None, max_length: int = 512) -> Encoder:
    return Encoder(tokenizer, choose_template(tokenizer, wanted), max_length)


def test_a_conversation_is_tokenized_once_with_one_bos(tokenizer: Any) -> None:
    """The ids are those of apply_chat_template itself; the BOS of the plain call is not added."""
    ids, cut = encoder(tokenizer).encode(TALK)
    assert ids == tokenizer.apply_chat_template(TALK, return_dict=False)
    assert ids.count(tokenizer.bos_token_id) == 1
    twice = tokenizer(encoder(tokenizer).render(TALK))["input_ids"]
    assert twice.count(tokenizer.bos_token_id) == 2
    assert not cut


def test_a_long_conversation_keeps_its_end_and_the_bos(tokenizer: Any) -> None:
    full, _ = encoder(tokenizer).encode(TALK)
    ids, cut = encoder(tokenizer, max_length=12).encode(TALK)
    assert cut
    assert ids == [tokenizer.bos_token_id, *full[-11:]]


def test_without_a_bos_only_the_end_is_kept(tokenizer: Any) -> None:
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    full, _ = encoder(tokenizer, template).encode(TALK)
    ids, cut = encoder(tokenizer, template, max_length=5).encode(TALK)
    assert cut and ids == full[-5:]


def test_a_template_is_chosen_by_name_by_file_or_by_text(tokenizer: Any, tmp_path: Path) -> None:
    several = copy.deepcopy(tokenizer)
    several.chat_template = {"default": "D{{ messages[0]['content'] }}", "other": "O{{ 1 }}"}
    file = tmp_path / "template.jinja"
    file.write_text("F{{ 1 }}")
    assert choose_template(several, None).text.startswith("D")
    assert choose_template(several, "other") == ChatTemplate("O{{ 1 }}", "tokenizer: other")
    assert choose_template(several, str(file)).text == "F{{ 1 }}"
    assert choose_template(several, "J{{ 1 }}").source == "model_args: Jinja text"
    with pytest.raises(HarnessError, match="it has: default, other"):
        choose_template(several, "nothing")
    several.chat_template = {"a": "A", "b": "B"}
    with pytest.raises(HarnessError, match="no default: a, b; choose one"):
        choose_template(several, None)


def test_without_any_template_the_plain_format_and_a_warning(
    tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """BOS where the tokenizer puts one itself, names, blank lines, EOS."""
    bare = copy.deepcopy(tokenizer)
    bare.chat_template = None
    with caplog.at_level(logging.WARNING):
        plain = encoder(bare)
    assert len(caplog.records) == 1 and "no chat template" in caplog.text
    assert plain.template.text == PLAIN_TEMPLATE
    assert plain.render([{"role": "system", "content": "Be kind."}, *TALK]) == (
        "<s>Be kind.\n\nUser: What is 1 + 1?\n\nAssistant: 2\n\nUser: And 2 + 2?"
        "\n\nAssistant:  4</s>"
    )


def test_the_plain_format_of_an_encoder(tmp_path: Path) -> None:
    """[CLS] and [SEP], as its tokenizer puts them; [CLS], which is read, stays in a long row."""
    from transformers import BertTokenizer

    pieces = [f"{before}{chr(code)}" for before in ("", "##") for code in range(33, 127)]
    words = "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces])
    (tmp_path / "vocab.txt").write_text(words)
    bert = BertTokenizer(vocab=str(tmp_path / "vocab.txt"))
    assert bert.bos_token is None and bert.eos_token is None
    text = "User: What is 1 + 1?\n\nAssistant: 2\n\nUser: And 2 + 2?\n\nAssistant:  4"
    whole = bert(text)["input_ids"]
    assert encoder(bert).encode(TALK) == (whole, False)
    assert encoder(bert, max_length=9).encode(TALK) == ([whole[0], *whole[-8:]], True)


def test_a_template_that_refuses_says_why(tokenizer: Any) -> None:
    strict = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system role') }}"
        "{% endif %}{{ messages[0]['content'] }}"
    )
    with pytest.raises(HarnessError, match=r"No system role; .*leave out --system_instruction"):
        encoder(tokenizer, strict).encode([{"role": "system", "content": "Be kind."}, *TALK])
    with pytest.raises(HarnessError, match="to nothing"):
        encoder(tokenizer, "{% if false %}x{% endif %}").encode(TALK)


EARLY = (
    "{{ '[' + (messages|length|string) + ']' }}{% for m in messages %}{{ m['content'] + '|' }}"
    "{% endfor %}{{ '>' if add_generation_prompt }}"
)


def test_a_prompt_that_changes_once_a_response_follows_is_refused(tokenizer: Any) -> None:
    """Where the response starts is not defined: all of the conversation would count as it."""
    with pytest.raises(HarnessError, match=r"\(model_args: Jinja text\) renders the prompt") as e:
        encoder(tokenizer, EARLY).encode_response(TALK)
    assert "'3]What is 1 + 1?|2|And 2 + 2?|>' becomes '4]What" in str(e.value)
    encoder(tokenizer, EARLY).encode(TALK)  # no matter to a reward model


TURNS = "{% for m in messages %}{{ m['role'] + ':' + m['content'] + '|' }}{% endfor %}"
FOUND = {
    "a generation prompt that opens a thought": (
        TURNS + "{{ 'assistant:<think>' if add_generation_prompt }}",
        " 4|",
    ),
    "an end that every conversation has": (TURNS + "</s>", "assistant: 4|</s>"),
    "an end unless a response is asked for": (
        TURNS + "{{ 'assistant:' if add_generation_prompt else '</s>' }}",
        " 4|</s>",
    ),
    "contents altered": (
        "{% for m in messages %}{{ m['content']|upper + '|' }}{% endfor %}",
        " 4|",
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_where_the_response_starts(name: str, tokenizer: Any) -> None:
    """What stands behind the prompt may differ."""
    template, response = FOUND[name]
    found = encoder(tokenizer, template).encode_response(TALK)
    assert tokenizer.decode(found.ids[found.start :]) == response
