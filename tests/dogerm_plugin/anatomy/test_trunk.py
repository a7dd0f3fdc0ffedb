"""Under which names of a class a checkpoint's tensors are held, whatever they begin with."""

from typing import Any

import pytest
import tiny
import torch
from transformers import AutoModelForSequenceClassification

from dogerm_plugin.anatomy.trunk import TensorNames

LAST = "norm.weight", "layers.3.mlp.up_proj.weight", "embed_tokens.weight"
TRUNK = [f"layers.{n}.{part}.weight" for n in range(4) for part in ("mlp.up_proj", "mlp.down_proj")]
TRUNK += ["norm.weight", "embed_tokens.weight"]


@pytest.fixture(scope="module")
def llama() -> Any:
    with torch.device("meta"):
        return AutoModelForSequenceClassification.from_config(tiny.tiny_config("llama"))


@pytest.mark.parametrize(
    ("prefix", "wrapper"),
    [
        ("", ""),
        ("model.", ""),
        ("pretrained_model.model.", "pretrained_model."),
        ("transformer.", "transformer."),
        ("a.b.model.", "a.b."),
    ],
)
def test_whatever_the_names_begin_with(prefix: str, wrapper: str, llama: Any) -> None:
    """A head's name may end as a tensor of the trunk does; it stays a head."""
    names = TensorNames(
        llama, [*(prefix + n for n in TRUNK), "v_head.norm.weight", "lm_head.weight"]
    )
    assert names.has_trunk and names.wrapper == wrapper
    for name in LAST:
        assert names.of(prefix + name)[0] == f"model.{name}"
    assert names.of("v_head.norm.weight")[0] == "v_head.norm.weight"


def test_of_two_trunks_the_classs_own(llama: Any) -> None:
    stored = [prefix + name for name in TRUNK for prefix in ("teacher.model.", "model.")]
    names = TensorNames(llama, stored)
    assert names.wrapper == ""
    assert names.of("teacher.model.norm.weight")[0] == "teacher.model.norm.weight"


def test_no_trunk_at_all(llama: Any) -> None:
    assert not TensorNames(llama, ["v_head.weight"]).has_trunk
