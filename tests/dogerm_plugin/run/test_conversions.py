"""Layouts on disk that transformers renames while it loads: read, kept, and scored.

Of every model type with such a conversion: a reward model and a domain model as `save_pretrained`
writes them, merged, loaded back, and scored by `--model reward`'s loader.
"""

from pathlib import Path
from typing import Any

import conversions
import merging
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForSequenceClassification

WEIGHT = 0.3
IDS = [5, 9, 17, 33, 8, 21]
# old and new places of a trunk, a vision tower beside it, experts that are joined; the rest is slow
QUICK = {"qwen2_vl", "gemma3", "llava", "mixtral", "gpt_neox"}


def trunk(model: Any) -> Any:
    return getattr(model, model.base_model_prefix)


def moved(model: Any, by: float) -> Any:
    for parameter in model.parameters():
        parameter.data += by * torch.randn_like(parameter)
    return model.eval()


def classifier(folder: Path, name: str, body: Any) -> None:
    """The type's own sequence classifier."""
    model = AutoModelForSequenceClassification.from_config(conversions.config(name))
    trunk(model).load_state_dict(trunk(body).state_dict())
    model.save_pretrained(folder)


def head_beside_trunk(folder: Path, name: str, body: Any, wrapper: str = "") -> None:
    """The language model's layout, its head replaced by `score`, as trainers patch it."""
    body.save_pretrained(folder)
    text = body.config.get_text_config()
    state = {
        f"{wrapper}{key}": tensor
        for key, tensor in load_file(folder / "model.safetensors").items()
        if not {"lm_head", "embed_out"} & set(key.split("."))
    }
    state["score.weight"] = torch.randn(1, getattr(text, "word_embed_proj_dim", text.hidden_size))
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def wrapped(folder: Path, name: str, body: Any) -> None:
    """The same from inside a trainer's wrapper."""
    head_beside_trunk(folder, name, body, "pretrained_model.")


def cases() -> list[Any]:
    found = []
    for name in conversions.types():
        forms = [head_beside_trunk, *([classifier] if conversions.classifies(name) else [])]
        if name in QUICK:
            forms.append(wrapped)
        for form in forms:
            marks = [] if name in QUICK else [pytest.mark.slow]
            found.append(pytest.param(name, form, marks=marks, id=f"{name}-{form.__name__}"))
    return found


def lacking(report: dict[str, Any]) -> set[str]:
    """What transformers' loading found wrong, but for the two heads."""
    keys = set().union(*(report[key] for key in ("missing_keys", "mismatched_keys")))
    keys |= set(report["unexpected_keys"]) - {"score.weight"}
    return {key for key in keys if not {"lm_head", "embed_out"} & set(str(key).split("."))}


def scored(folder: Path) -> float:
    """The reward of one row by `--model reward`'s loader and scorer."""
    from harness.models.load.reward_loader import loader_for
    from harness.models.score.scorer import Scorer

    config = AutoConfig.from_pretrained(folder)
    loader = loader_for(str(folder), config, AutoModelForSequenceClassification)
    model = loader.from_pretrained(str(folder)).eval()
    assert not loader.missing and not loader.mismatched
    return Scorer(model, torch.device("cpu"))([IDS])[0]


@pytest.mark.parametrize(("name", "form"), cases())
def test_what_is_renamed_while_loading(name: str, form: Any, tmp_path: Path) -> None:
    rm, lm, out = tmp_path / "rm", tmp_path / "lm", tmp_path / "out"
    torch.manual_seed(0)
    body = moved(conversions.language_model(name)(conversions.config(name)), 0.02)
    form(rm, name, body)
    mine = {key: tensor.clone() for key, tensor in trunk(body).named_parameters()}
    moved(body, 0.005).save_pretrained(lm)
    theirs = dict(trunk(body).named_parameters())
    result = merging.command(tmp_path, merging.recipe(rm, (lm, WEIGHT)), out)
    assert result.exit_code == 0, result.output
    before, after = merging.tensors(rm), merging.tensors(out)
    assert set(after) == set(before)  # what is written is what was read
    assert torch.equal(after["score.weight"], before["score.weight"])

    with torch.no_grad():
        for key, parameter in theirs.items():
            parameter.copy_((1 - WEIGHT) * mine[key] + WEIGHT * parameter)
    kind = AutoModelForSequenceClassification if form is classifier else type(body)
    if form is not wrapped:
        loaded, report = kind.from_pretrained(out, output_loading_info=True)
        assert not lacking(report)
        for key, parameter in trunk(loaded).named_parameters():
            assert torch.allclose(parameter, theirs[key], atol=1e-5), key
    ids = torch.tensor([IDS])
    with torch.no_grad():
        if form is classifier:
            expected = float(loaded.eval()(input_ids=ids).logits)
        else:
            state = trunk(body)(input_ids=ids).last_hidden_state[0, -1]
            expected = float(before["score.weight"][0] @ state)
    assert scored(out) == pytest.approx(expected, rel=1e-4, abs=1e-4)
