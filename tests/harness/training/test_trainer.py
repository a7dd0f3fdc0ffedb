"""What both kinds of training share."""

from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.training.trainer import load_tokenizer


@pytest.fixture
def without_padding(tokenizer: Any, tmp_path: Path) -> str:
    """A saved tokenizer without a padding token, as Llama-2's and Mistral's are."""
    bare = type(tokenizer)(
        tokenizer_object=tokenizer.backend_tokenizer,
        bos_token=tokenizer.bos_token,
        eos_token=tokenizer.eos_token,
    )
    bare.save_pretrained(tmp_path)
    return str(tmp_path)


def test_a_reward_model_needs_its_own_padding_token(without_padding: str) -> None:
    """Padding with the end token would move the place where rewards are read."""
    with pytest.raises(HarnessError, match="no padding token"):
        load_tokenizer(without_padding, may_pad_with_end=False)


def test_a_language_model_may_pad_with_its_end_token(without_padding: str) -> None:
    """Its labels leave padding out, so nothing is learned from it."""
    loaded = load_tokenizer(without_padding, may_pad_with_end=True)
    assert loaded.pad_token == loaded.eos_token
