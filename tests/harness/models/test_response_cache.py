"""--use_cache never serves one model's rewards as another's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.models.response_cache import OWNER_KEY, claim
from harness.models.score.digests import of_weights
from tests.harness.models.test_reward import requests, reward, some_pairs

Save = Callable[..., Path]


def cached(model: Any, path: Path) -> Any:
    from lm_eval.api.model import CachingLM

    return CachingLM(model, str(path))


def test_the_same_model_reads_its_own_cache(reward_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    pairs = requests(some_pairs(3))
    first = cached(reward(reward_model), path).loglikelihood(pairs)
    again = reward(reward_model)
    assert cached(again, path).loglikelihood(pairs) == first
    assert again.scored_rows == 0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"dtype": "bfloat16"}, "dtype torch.float32 -> torch.bfloat16"),
        ({"head_dtype": "auto"}, "head_dtype float32 -> the model's own"),
        ({"max_length": 64}, "max_length 512 -> 64"),
        ({"chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}"}, "template "),
        ({"date": "2025-01-01"}, "date 2024-07-26"),
    ],
)
def test_another_setting_is_another_model(
    reward_model: Path, tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    path = tmp_path / "cache.db"
    cached(reward(reward_model), path)
    with pytest.raises(HarnessError, match="was written by another model") as caught:
        cached(reward(reward_model, **change), path)
    assert named in str(caught.value) and "give --use_cache another path" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"beta": 0.2}, "beta 0.1 -> 0.2"),
        ({"normalize": "mean"}, "normalize sum -> mean"),
        ({"reference": None}, "reference .* -> None main; .*reference_weights .* -> unset"),
    ],
)
def test_what_an_implicit_reward_depends_on(
    language_model: Path, tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    from harness.models.implicit import RewardImplicit

    path = tmp_path / "cache.db"
    before = {"reference": str(language_model), "device": "cpu"}
    cached(RewardImplicit(str(language_model), **before), path)
    cached(RewardImplicit(str(language_model), **before), path)
    with pytest.raises(HarnessError, match=f"written by another model .*{named}"):
        cached(RewardImplicit(str(language_model), **{**before, **change}), path)


def test_a_reference_with_other_weights_is_another_reference(
    language_model: Path, tmp_path: Path
) -> None:
    import torch

    from harness.models.implicit import RewardImplicit

    path = tmp_path / "cache.db"
    options = {"reference": str(language_model), "device": "cpu"}
    cached(RewardImplicit(str(language_model), **options), path)
    model = RewardImplicit(str(language_model), **options)
    with torch.no_grad():
        model.reference_model.lm_head.weight[3, 7] += 0.01
    with pytest.raises(HarnessError, match=r"\(reference_weights \w+ -> \w+\)"):
        cached(model, path)


def test_other_weights_at_the_same_path_are_another_model(
    save_reward_model: Save, tmp_path: Path
) -> None:
    import torch

    folder = save_reward_model(seed=5)
    path = tmp_path / "cache.db"
    cached(reward(folder), path)
    model = reward(folder)
    with torch.no_grad():
        model.model.model.layers[0].mlp.up_proj.weight[3, 7] += 0.01
    with pytest.raises(HarnessError, match=r"weights .* -> "):
        cached(model, path)


def test_the_same_weights_elsewhere_are_another_model(
    save_reward_model: Save, tmp_path: Path
) -> None:
    path = tmp_path / "cache.db"
    cached(reward(save_reward_model(seed=6)), path)
    with pytest.raises(HarnessError, match="path "):
        cached(reward(save_reward_model(seed=6)), path)


def test_a_cache_of_unknown_origin_is_refused() -> None:
    with pytest.raises(HarnessError, match="does not say which model filled it"):
        claim({"a-digest": (1.0, False)}, {"path": "x"}, "cache.db")
    empty: dict[str, Any] = {}
    claim(empty, {"path": "x"}, "cache.db")
    assert list(empty) == [OWNER_KEY]


def test_rows_that_change_places_change_the_digest() -> None:
    """In a small tensor, and in the middle of one that is read in several pieces."""
    import torch

    for shape, row in (((4, 4), 1), ((3000, 400), 1500)):
        layer = torch.nn.Linear(shape[1], shape[0])
        before = of_weights(layer)
        assert of_weights(layer) == before
        with torch.no_grad():
            layer.weight[[row, row + 1]] = layer.weight[[row + 1, row]]
        assert of_weights(layer) != before


def edited(file: Path, **changes: Any) -> None:
    """Set top-level entries of a JSON file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize(
    ("file", "changes", "named"),
    [
        ("config.json", {"pad_token_id": 9}, "config "),
        ("config.json", {"rms_norm_eps": 0.1}, "config "),
        ("tokenizer_config.json", {"bos_token": "<|im_start|>"}, "tokenizer "),
        ("tokenizer.json", {"normalizer": {"type": "Lowercase"}}, "tokenizer "),
    ],
)
def test_what_changes_rewards_and_no_weight(
    save_reward_model: Save, tmp_path: Path, file: str, changes: dict[str, Any], named: str
) -> None:
    folder = save_reward_model(seed=8)
    path = tmp_path / "cache.db"
    cached(reward(folder), path)
    edited(folder / file, **changes)
    with pytest.raises(HarnessError, match=rf"another model \({named}\w+ -> \w+\)"):
        cached(reward(folder), path)


def test_where_a_config_was_saved_changes_nothing(save_reward_model: Save, tmp_path: Path) -> None:
    folder = save_reward_model(seed=8)
    cached(reward(folder), tmp_path / "cache.db")
    edited(folder / "config.json", transformers_version="5.0.0", _name_or_path="elsewhere")
    cached(reward(folder), tmp_path / "cache.db")


def test_an_adapter_on_a_language_model_is_one_model(language_model: Path, tmp_path: Path) -> None:
    """The head that transformers makes for the base is random, and nothing uses it."""
    from tests.harness.models.load.test_adapters import trained

    trained(language_model, tmp_path / "adapter")
    for _ in range(2):
        cached(reward(language_model, peft=str(tmp_path / "adapter")), tmp_path / "cache.db")


def test_the_scale_of_an_adapter_is_part_of_the_model(reward_model: Path, tmp_path: Path) -> None:
    """`lora_alpha` is written in adapter_config.json alone."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(reward_model)
    adapter = tmp_path / "adapter"
    lora = LoraConfig(target_modules=["q_proj", "v_proj"], r=2, init_lora_weights=False)
    get_peft_model(model, lora).save_pretrained(adapter)
    path = tmp_path / "cache.db"
    cached(reward(reward_model, peft=str(adapter)), path)
    cached(reward(reward_model, peft=str(adapter)), path)
    edited(adapter / "adapter_config.json", lora_alpha=32)
    with pytest.raises(HarnessError, match=r"another model \(adapter_config \w+ -> \w+\)"):
        cached(reward(reward_model, peft=str(adapter)), path)


CODE = """
from transformers import LlamaForSequenceClassification

class Own(LlamaForSequenceClassification):
    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        output.logits = SCALE * output.logits
        return output
"""


def test_a_checkpoints_own_code_is_part_of_the_model(
    save_reward_model: Save, tmp_path: Path
) -> None:
    folder = save_reward_model(seed=9)
    own = {"architectures": ["Own"], "auto_map": {"AutoModel": "own.Own"}}
    edited(folder / "config.json", **own)
    path = tmp_path / "cache.db"
    (folder / "own.py").write_text(CODE.replace("SCALE", "1"))
    cached(reward(folder, trust_remote_code=True), path)
    (folder / "own.py").write_text(CODE.replace("SCALE", "-2"))
    with pytest.raises(HarnessError, match=r"another model \(code \w+ -> \w+\)"):
        cached(reward(folder, trust_remote_code=True), path)


def test_the_references_config_is_part_of_an_implicit_reward(
    language_model: Path, tmp_path: Path
) -> None:
    from harness.models.implicit import RewardImplicit

    reference = tmp_path / "reference"
    shutil.copytree(language_model, reference)
    path = tmp_path / "cache.db"
    options = {"reference": str(reference), "device": "cpu"}
    cached(RewardImplicit(str(language_model), **options), path)
    edited(reference / "config.json", rms_norm_eps=0.1)
    with pytest.raises(HarnessError, match=r"another model \(reference_config \w+ -> \w+\)"):
        cached(RewardImplicit(str(language_model), **options), path)
