"""One loaded reward model that is overwritten by one merge after another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import forms
import merging
import pytest
import tiny
import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import CacheHook
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions

from dogerm_plugin.run.in_memory import Merges
from harness.errors import HarnessError
from harness.models.live import LiveMerge, LiveReward
from harness.models.reward import Reward

# One of each kind: plain, tied, experts, multimodal, latent attention, state space, hybrids.
USUAL = ("llama", "gpt2", "mixtral", "gemma3", "deepseek_v3", "mamba2", "qwen3_next", "zamba2")
TYPES = [
    name if name in USUAL else pytest.param(name, marks=pytest.mark.slow)
    for name in tiny.decoder_types()
]


def configuration(content: dict[str, Any]) -> MergeConfiguration:
    return MergeConfiguration.model_validate(content)


def live(folder: Path, **arguments: Any) -> LiveReward:
    return LiveReward(str(folder), device="cpu", batch_size="2", **arguments)


def requests(*texts: str) -> list[Instance]:
    return [
        Instance("loglikelihood", {}, ("w1 w2 w3", text), 0, ("task", number, 1))
        for number, text in enumerate(texts)
    ]


@pytest.mark.parametrize("model_type", TYPES)
def test_every_decoder_type(model_type: str, tmp_path: Path) -> None:
    """Bytes as mergekit writes them, and the loaded model as if the merge had been loaded."""
    rm, lm = tiny.save_pair(tmp_path, model_type)
    zero, config = (configuration(merging.recipe(rm, (lm, weight))) for weight in (0.0, 0.3))
    run_merge(config, str(tmp_path / "out"), MergeOptions(quiet=True))
    merges = Merges(zero)
    found, expected = dict(merges.tensors(config)), merging.tensors(tmp_path / "out")
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert found[name].numpy().tobytes() == tensor.numpy().tobytes(), name
    merging.save_tokenizer(tmp_path / "tokenizer", merging.words(96))
    reward = live(rm, tokenizer=str(tmp_path / "tokenizer"))
    merge = LiveMerge(merges, reward.model)
    merge.check(zero)
    merge.set(config)
    fresh = live(tmp_path / "out", tokenizer=str(tmp_path / "tokenizer"))
    mine, theirs = reward.model.state_dict(), fresh.model.state_dict()
    assert set(mine) == set(theirs)
    for name, tensor in theirs.items():
        assert torch.equal(mine[name], tensor), name
    merge.unmerge()
    merge.check_unmerged()
    for name, tensor in live(rm, tokenizer=str(tmp_path / "tokenizer")).model.state_dict().items():
        assert torch.equal(mine[name], tensor), name


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return forms.pair(tmp_path)


@pytest.fixture
def merges(pair: tuple[Path, Path]) -> Merges:
    return Merges(configuration(merging.recipe(pair[0], (pair[1], 0.0))))


def test_the_files_stay_as_they_are(pair: tuple[Path, Path], merges: Merges) -> None:
    """transformers loads parameters that are mapped files; what is written to them stays ours."""
    before = [merging.digest(folder) for folder in pair]
    reward = live(pair[0])
    LiveMerge(merges, reward.model).set(configuration(merging.recipe(pair[0], (pair[1], 0.7))))
    assert [merging.digest(folder) for folder in pair] == before


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_that_was_loaded_otherwise(
    dtype: str, pair: tuple[Path, Path], merges: Merges
) -> None:
    """One number of one tensor differs: the tensor is named."""
    reward = live(pair[0], dtype=dtype)
    reward.model.model.layers[2].mlp.up_proj.weight.data[3, 4] += 0.5
    zero = configuration(merging.recipe(pair[0], (pair[1], 0.0)))
    with pytest.raises(HarnessError, match=r"rm: .* layers.2.mlp.up_proj.weight is not the one"):
        LiveMerge(merges, reward.model).check(zero)


def one_layer_less(trunk: Any) -> None:
    del trunk.layers[-1]


def one_parameter_more(trunk: Any) -> None:
    trunk.layers[1].scale = torch.nn.Parameter(torch.ones(1))


def one_layer_offloaded(trunk: Any) -> None:
    trunk.layers[0].to("meta")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (one_layer_less, "LlamaModel as loaded lacks layers.3"),
        (one_parameter_more, "LlamaModel as loaded has layers.1.scale"),
        (one_layer_offloaded, "layers.0.self_attn.q_proj.weight was offloaded"),
    ],
)
def test_a_model_of_other_tensors(
    change: Callable[[Any], None], words: str, pair: tuple[Path, Path], merges: Merges
) -> None:
    """Fewer, more, or not in memory: said before any is written."""
    model = live(pair[0]).model
    change(model.model)
    with pytest.raises(HarnessError, match=words):
        LiveMerge(merges, model)


def test_a_conversation_is_tokenized_once(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is scored; rewards and counts are those of the model without that."""
    reward, plain = live(pair[0]), Reward(str(pair[0]), device="cpu", batch_size="2")
    tokenized: list[str] = []
    original = reward.encoder.encode
    monkeypatch.setattr(
        reward.encoder, "encode", lambda turns: tokenized.append(str(turns)) or original(turns)
    )
    texts = requests("w4", "w5 w6 w7", "w4"), requests("w5 w6 w7", "w8 w9")
    for some in texts:
        assert reward.loglikelihood(some) == plain.loglikelihood(some, disable_tqdm=True)
        assert reward.get_model_info()["scored_rows"] == 2  # of these requests, distinct ones
    assert len(tokenized) == 3


def test_a_cache_of_scores_is_refused(pair: tuple[Path, Path]) -> None:
    """Its keys do not tell one merge from another."""
    reward = live(pair[0])
    reward.set_cache_hook(CacheHook(None))
    hook = CacheHook(None)
    hook.dbdict = {}  # type: ignore[assignment]
    with pytest.raises(HarnessError, match="--use_cache"):
        reward.set_cache_hook(hook)


@pytest.mark.parametrize("name", ["peft", "delta", "load_in_8bit", "gguf_file"])
def test_arguments_whose_weights_cannot_be_written(name: str, pair: tuple[Path, Path]) -> None:
    with pytest.raises(HarnessError, match=f"--model_args {name}=.*model\\+adapter"):
        live(pair[0], **{name: "something"})
