"""A reward that is NaN or infinite is told with its row, its model and the cause."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from tests.harness.models.test_reward import by_transformers, requests, reward, rewards, some_pairs

Save = Callable[..., Path]

PAIRS = [(f"What is {n} + {n}?", text) for n in range(6) for text in (f"It is {2 * n}.", "No.")]
# One row has a sign that no other has: the letter Ω, of two bytes, none of them elsewhere.
PAIRS[7] = (PAIRS[7][0], "Ω")


def broken(folder: Path, token: int, value: float = float("nan")) -> Path:
    """The model with the embedding of one token overwritten."""
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["model.embed_tokens.weight"][token] = value
    save_file(tensors, file, metadata={"format": "pt"})
    return folder


@pytest.fixture
def of_omega(tokenizer: Any) -> int:
    """A token that only the row with Ω has."""
    return int(tokenizer("Ω")["input_ids"][-1])


@pytest.mark.parametrize("options", [{}, {"share_prefix": False}, {"batch_size": 12}])
def test_the_right_row_is_named(
    save_reward_model: Save, of_omega: int, options: dict[str, Any], tokenizer: Any
) -> None:
    """Packed, in padded batches, and all in one pass: one row's NaN is in the others' numbers."""
    folder = broken(save_reward_model(seed=31), of_omega)
    with pytest.raises(HarnessError) as caught:
        reward(folder, **options).loglikelihood(requests(PAIRS))
    said = str(caught.value)
    assert said.startswith("the reward of task a-task, document 3, response 1 (prompt 'What is 3 ")
    assert f"response 'Ω') by {folder} is nan: " in said
    assert f"the tensor model.embed_tokens.weight of {folder} holds NaN or Inf" in said


def test_the_bar_is_cleared(
    save_reward_model: Save, of_omega: int, capsys: pytest.CaptureFixture[str]
) -> None:
    model = reward(broken(save_reward_model(seed=31), of_omega))
    capsys.readouterr()
    with pytest.raises(HarnessError):
        model.loglikelihood(requests(PAIRS))
    last = capsys.readouterr().err
    assert last.endswith("\r") and last.rsplit("\r", 2)[1].strip() == ""


def test_rows_without_the_broken_token_are_scored(save_reward_model: Save, of_omega: int) -> None:
    whole, part = save_reward_model(seed=32), broken(save_reward_model(seed=32), of_omega)
    assert rewards(reward(part), some_pairs(3)) == pytest.approx(
        rewards(reward(whole), some_pairs(3)), abs=1e-5
    )


def test_a_broken_padding_token_is_in_no_reward(save_reward_model: Save, tokenizer: Any) -> None:
    """By definition a reward is that of the single row, without padding."""
    folder = broken(save_reward_model(seed=33), tokenizer.pad_token_id)
    pairs = some_pairs(4)
    got = rewards(reward(folder, batch_size=8, share_prefix=False), pairs)
    assert got == pytest.approx(by_transformers(folder, pairs), abs=1e-5)


def test_an_overflow_names_the_dtype(reward_model: Path) -> None:
    model = reward(reward_model, share_prefix=False)
    model.scores = lambda rows: [float("inf") for _ in rows]
    with pytest.raises(HarnessError, match=r"is inf: all of its weights are finite, .* float32;"):
        model.loglikelihood(requests(PAIRS))


def test_the_policy_or_its_reference_is_named(
    language_model: Path, tmp_path: Path, of_omega: int
) -> None:
    import shutil

    from harness.models.implicit import RewardImplicit

    reference = tmp_path / "reference"
    shutil.copytree(language_model, reference)
    broken(reference, of_omega)
    options: dict[str, Any] = {"reference": str(reference), "device": "cpu", "batch_size": 4}
    model = RewardImplicit(str(language_model), **options)
    with pytest.raises(HarnessError) as caught:
        model.loglikelihood(requests(PAIRS))
    said = str(caught.value)
    assert "the implicit reward of task a-task, document 3, response 1" in said
    assert f"by {language_model} is nan" in said
    assert f"embed_tokens.weight of {reference} holds NaN" in said


def test_the_member_of_an_ensemble_is_named(
    reward_model: Path, save_reward_model: Save, of_omega: int
) -> None:
    from harness.models.ensemble import RewardEnsemble

    folder = broken(save_reward_model(seed=34), of_omega)
    model = RewardEnsemble(f"{reward_model};{folder}", device="cpu", batch_size=4)
    with pytest.raises(HarnessError, match=rf"document 3, response 1 .* by {folder} is nan"):
        model.loglikelihood(requests(PAIRS))


def test_a_model_without_a_finite_weight_blames_no_other_part(
    save_reward_model: Save, caplog: pytest.LogCaptureFixture
) -> None:
    from safetensors.torch import load_file, save_file

    folder = save_reward_model(seed=35)
    tensors = load_file(folder / "model.safetensors")
    tensors["score.weight"][:] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with caplog.at_level(logging.WARNING):
        model = reward(folder)
    assert "its rewards of made-up rows are NaN or infinite" in caplog.text
    with pytest.raises(HarnessError, match=r"document \d, .*the tensor score\.weight of "):
        model.loglikelihood(requests(PAIRS))
