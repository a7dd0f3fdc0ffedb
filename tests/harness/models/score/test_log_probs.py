"""Log-probabilities of responses whose conversations begin alike are those of single rows."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

from harness.errors import HarnessError
from harness.models.score.encoder import Encoded
from harness.models.score.log_probs import Forward, ResponseLogProbs, SharedLogProbs
from tests.harness.conftest import sharpened
from tests.harness.models.score.test_scorer import DECODERS, SMALL
from tests.harness.models.score.test_sharing import BEGUN, GROUPS, LONG, flat

CPU = torch.device("cpu")


def build(name: str, **changes: Any) -> Any:
    """A tiny language model."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    options = {name: value for name, value in SMALL.items() if name != "num_labels"}
    config = AutoConfig.for_model(name, **{**options, **DECODERS.get(name, {}), **changes})
    return sharpened(AutoModelForCausalLM.from_config(config))


def encoded(groups: Any, start: int = 4) -> list[list[Encoded]]:
    """Rows whose responses start at a place, or behind their first token in short ones."""
    return [[Encoded(row, False, min(start, len(row) - 1)) for row in rows] for rows in groups]


def alone(model: Any, row: Encoded) -> list[float]:
    """The definition: the log-softmax of one unpadded row's logits."""
    with torch.no_grad():
        chances = model(input_ids=torch.tensor([row.ids])).logits[0].log_softmax(-1)
    return [float(chances[at - 1, row.ids[at]]) for at in range(row.start, len(row.ids))]


@pytest.mark.parametrize("groups", [GROUPS, BEGUN], ids=["trees", "trees that begin alike"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "mixtral", "gpt2", "gpt_neox", "deepseek_v3"])
def test_each_token_has_the_log_probability_of_the_row_alone(
    kind: str, attention: str, groups: Any
) -> None:
    model = build(kind)
    model.set_attn_implementation(attention)
    rows = encoded(groups)
    expected = [alone(model, row) for row in flat(rows)]
    shared = SharedLogProbs(Forward(model, CPU))
    assert shared.works
    assert [one.tolist() for one in flat(shared(rows))] == [
        pytest.approx(one, abs=1e-5) for one in expected
    ]
    model_sums = ResponseLogProbs(model, CPU)
    assert flat(model_sums.trees(rows)) == pytest.approx(
        [sum(one) for one in expected], abs=1e-5 * max(map(len, expected))
    )
    assert model_sums(flat(rows)) == pytest.approx(flat(model_sums.trees(rows)), abs=1e-4)


@pytest.mark.parametrize("start", [1, 9, 21])
def test_wherever_the_responses_start(start: int) -> None:
    """Within what the rows share, too."""
    model = build("llama")
    rows = encoded([[LONG, [*LONG[:20], *range(30, 60)], LONG[:20]], [LONG[:9]]], start)
    (first, second, third), (last,) = SharedLogProbs(Forward(model, CPU))(rows)
    for one, row in zip((first, second, third, last), flat(rows), strict=True):
        assert one.tolist() == pytest.approx(alone(model, row), abs=1e-5)


@pytest.mark.parametrize("kernel", ["parts", "flex"])
def test_logits_that_are_changed_after_the_head(kernel: str) -> None:
    """Granite divides them, and Gemma 2 caps them: the model's own forward does it."""
    granite = build("granite", logits_scaling=4.0, attention_multiplier=0.3)
    gemma = build("gemma2", sliding_window=64, final_logit_softcapping=2.0)
    rows = encoded(GROUPS)
    for model in (granite, gemma):
        shared = SharedLogProbs(Forward(model, CPU), kernel if model is granite else None)
        for one, row in zip(flat(shared(rows)), flat(rows), strict=True):
            assert one.tolist() == pytest.approx(alone(model, row), abs=1e-5)


@pytest.mark.parametrize("kind", ["bloom", "jamba", "zamba2", "qwen3_next"])
def test_models_that_do_not_allow_it(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        model = ResponseLogProbs(build(kind), CPU)
    assert "rows that begin alike are scored apart" in caplog.text
    assert not model.may_share([3])
    with pytest.raises(HarnessError, match=r"share_prefix=parts: .*can't be scored so"):
        ResponseLogProbs(build(kind), CPU, kernel="parts")


def test_bfloat16_differs_by_its_rounding_alone() -> None:
    model = build("llama")
    rows = encoded(GROUPS)
    expected = [sum(alone(model, row)) for row in flat(rows)]
    half = ResponseLogProbs(model.to(torch.bfloat16), CPU)
    packed, padded = flat(half.trees(rows)), half(flat(rows))
    off = max(abs(a - b) for a, b in zip(padded, expected, strict=True))
    assert packed == pytest.approx(expected, abs=2 * off)


def test_only_logits_of_responses_are_computed() -> None:
    """And each token once: the head sees what predicts a response's token, the body the tree."""
    model = build("llama")
    seen: dict[str, list[int]] = {"body": [], "head": []}
    model.get_input_embeddings().register_forward_pre_hook(
        lambda _, inputs: seen["body"].append(inputs[0].numel())
    )
    model.lm_head.register_forward_pre_hook(
        lambda _, inputs: seen["head"].append(inputs[0].shape[1])
    )
    shared = SharedLogProbs(Forward(model, CPU))
    seen["body"].clear(), seen["head"].clear()
    prompt = LONG[:30]
    shared([[Encoded([*prompt, *range(n, n + 5)], False, 30) for n in (10, 20, 30)]])
    assert seen == {"body": [30 + 3 * 4], "head": [1 + 3 * 4]}
