# SPDX-License-Identifier: Apache-2.0
"""One vocabulary, other cuts: said with an example, and only where there are any."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import merging
import pytest
from merging import Trio
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

WORDS = [*merging.SPECIAL, *"abcdefghijklmnopqrstuvwxyzHIW\u0120\u010a0123456789", "He", "el", "ll"]
WORDS += ["wo", "or", "\u0120w"]
MERGES = [("H", "e"), ("l", "l"), ("w", "o"), ("\u0120", "w"), ("o", "r")]


def save(folder: Path, change: Callable[[Tokenizer], object] = lambda made: None) -> None:
    """A byte-level tokenizer of 96 tokens, changed."""
    words = WORDS + [f"w{number}" for number in range(96 - len(WORDS))]
    vocabulary = {word: number for number, word in enumerate(words)}
    made = Tokenizer(models.BPE(vocabulary, MERGES, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.TemplateProcessing("<s> $A", None, [("<s>", 1)])
    change(made)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    tokenizer.save_pretrained(folder)


def other_merges(made: Tokenizer) -> None:
    merges = [*MERGES[:2], ("o", "r"), ("w", "o"), ("\u0120", "w")]
    made.model = models.BPE(made.get_vocab(), merges, unk_token="<pad>")


def lower(made: Tokenizer) -> None:
    made.normalizer = normalizers.Lowercase()


def prefix(made: Tokenizer) -> None:
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)


def split(made: Tokenizer) -> None:
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("w", "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )


def no_bos(made: Tokenizer) -> None:
    made.post_processor = processors.ByteLevel()


def said(trio: Trio, folder: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    merging.merged(folder, merging.recipe(trio.rm, (trio.lm, 0.3)))
    return [record.getMessage() for record in caplog.records if record.name == "dogerm"]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (other_merges, "merges"),
        (lower, "normalizer"),
        (prefix, "pre_tokenizer"),
        (split, "pre_tokenizer"),
        (no_bos, "post_processor"),
    ],
)
def test_other_cuts_are_said(
    own_trio: Trio,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    change: Callable[[Tokenizer], object],
    part: str,
) -> None:
    save(own_trio.rm)
    save(own_trio.lm, change)
    (line,) = said(own_trio, tmp_path, caplog)
    assert str(own_trio.lm) in line and f"cuts text otherwise ({part})" in line
    assert "to it and [" in line


def test_flags_of_added_tokens(
    own_trio: Trio, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A token that takes the spaces before it away."""
    for folder, strip in ((own_trio.rm, False), (own_trio.lm, True)):
        save(folder)
        file = folder / "tokenizer.json"
        content = json.loads(file.read_text())
        content["added_tokens"][2]["lstrip"] = strip
        file.write_text(json.dumps(content))
    (line,) = said(own_trio, tmp_path, caplog)
    assert "(added_tokens)" in line and "'a </s> b</s>c'" in line


@pytest.mark.parametrize("change", ["chat template", "length", "form", "padding"])
def test_what_cuts_alike_is_not(
    own_trio: Trio, tmp_path: Path, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    """Files that differ in what makes no other token."""

    def wrapped(made: Tokenizer) -> None:
        made.normalizer = normalizers.Sequence([])
        if change == "padding":
            made.enable_padding(length=8)

    save(own_trio.rm)
    save(own_trio.lm, wrapped if change in ("form", "padding") else lambda made: None)
    if change == "chat template":
        (own_trio.lm / "chat_template.jinja").write_text("{{ messages }} and more")
    elif change == "length":
        file = own_trio.lm / "tokenizer_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"model_max_length": 7}))
    assert said(own_trio, tmp_path, caplog) == []


@pytest.mark.parametrize("file", ["added_tokens.json", "tokenizer_config.json"])
def test_ids_that_a_models_own_files_disagree_on(
    own_trio: Trio, tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str
) -> None:
    """What transformers reads counts, and is said once."""
    token = {"content": "w5", "lstrip": False, "normalized": True, "rstrip": False}
    content: dict[str, Any] = {"w5": 70}
    if file == "tokenizer_config.json":
        config = json.loads((own_trio.lm / file).read_text())
        content = config | {
            "added_tokens_decoder": {"70": token | {"single_word": False, "special": False}}
        }
    (own_trio.lm / file).write_text(json.dumps(content))
    lines = said(own_trio, tmp_path, caplog)
    found = [line for line in lines if "other ids than transformers reads" in line]
    assert len(found) == 1 and str(own_trio.lm) in found[0] and file in found[0]
    assert "'w5' 70 (it is 8)" in found[0]
