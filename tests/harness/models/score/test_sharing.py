"""What conversations begin with is computed once, and no reward changes."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.models.score.sharing import SharedRewards, reach
from harness.models.score.tree import common_beginning, size
from tests.dogerm_plugin.tiny import tiny_config
from tests.harness.models.score.test_scorer import alone, build, scorer, sharpened
from tests.harness.models.test_reward import requests, reward, rewards, some_pairs

# A tree of three, one of which begins another; a row by itself; two trees that begin alike, too.
LONG = [(7 * n) % 89 + 5 for n in range(40)]
GROUPS = [
    [LONG, [*LONG[:20], *range(30, 60)], LONG[:20]],
    [[*range(50, 10, -1)]],
    [[*LONG[:9], 11, 12], [*LONG[:9], 13, 3, 3]],  # the pad token at the end
    [[*LONG[:9], 11], [*LONG[:9], 12]],  # endings of one token
]
# As a chat template has it: all begin alike, one is nothing else, one shares nothing more.
TEMPLATE = [3, 71, 72, 73, 3]
BEGUN = [*([[*TEMPLATE, *row] for row in rows] for rows in GROUPS), [TEMPLATE], [[*TEMPLATE, 9]]]


def flat(groups: Any) -> list[Any]:
    return list(itertools.chain.from_iterable(groups))


@pytest.mark.parametrize("groups", [GROUPS, BEGUN], ids=["trees", "trees that begin alike"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", ["llama", "mixtral", "gpt2", "deepseek_v3"])
def test_rewards_are_those_of_single_rows(kind: str, attention: str, groups: Any) -> None:
    model = build(kind)
    model.set_attn_implementation(attention)
    expected = [alone(model, ids) for ids in flat(groups)]
    score = scorer(model)
    assert score.shares_prefixes
    assert flat(score.sharing(groups)) == pytest.approx(expected, abs=1e-5)
    # and the model is as it was
    assert [alone(model, ids) for ids in flat(groups)] == expected


def test_bfloat16_differs_by_its_rounding_alone() -> None:
    import torch

    model = build("llama")
    expected = [alone(model, ids) for ids in flat(GROUPS)]
    score = scorer(model.to(torch.bfloat16))
    assert score.shares_prefixes
    assert flat(score.sharing(GROUPS)) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("bloom", "can't be told what a token sees"),  # ALiBi: distances through the sequence
        ("jamba", "one row changes another's score"),
        ("zamba2", "one row changes another's score"),
        ("qwen3_next", "one row changes another's score"),
    ],
)
def test_models_that_do_not_allow_it_are_scored_row_by_row(
    kind: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        score = scorer(build(kind))
    (told,) = [record.message for record in caplog.records if "begin alike" in record.message]
    assert why in told
    assert not score.shares_prefixes and not score.sharing.may_share([3])


def test_attention_that_reaches_back_less_far_than_a_row() -> None:
    """Up to the window, a row sees all before it; beyond, it is scored alone."""
    model = build("mistral", sliding_window=24)
    score = scorer(model)
    assert score.sharing.reach == 24
    assert score.sharing.may_share([24, 3]) and not score.sharing.may_share([25, 3])
    short = [[row[:24] for row in rows] for rows in GROUPS]
    expected = [alone(model, ids) for ids in flat(short)]
    assert flat(score.sharing(short)) == pytest.approx(expected, abs=1e-5)


def test_attention_that_chooses_its_tokens_by_an_index() -> None:
    """As DeepSeek V3.2's: up to `index_topk` tokens a row sees all, beyond it is scored alone."""
    from transformers import AutoModelForSequenceClassification

    config = tiny_config("axk2", index_topk=24, num_labels=1)
    model = sharpened(AutoModelForSequenceClassification.from_config(config))
    score = scorer(model)
    assert score.sharing.works and score.sharing.reach == 24
    assert score.sharing.may_share([24, 3]) and not score.sharing.may_share([25, 3])
    (long, other, _), *_ = GROUPS
    apart = [alone(model, ids) for ids in (long, other)]
    assert score([long, other]) == pytest.approx(apart, abs=1e-5)
    # what a pack would have given: every token sees all before it
    assert flat(score.sharing([[long, other]])) != pytest.approx(apart, abs=1e-2)


def test_rows_beyond_a_window_go_in_padded_batches(save_reward_model: Callable[..., Path]) -> None:
    model = reward(save_reward_model(), batch_size="auto")
    expected = rewards(model, some_pairs())
    model.scorer.sharing.reach = 40
    passes: list[int] = []
    batch, pack = model.scores, model.tree_scores
    model.scores = lambda found: passes.append(len(found)) or batch(found)
    model.tree_scores = lambda groups: passes.append(0) or pack(groups)
    assert rewards(model, some_pairs()) == pytest.approx(expected, abs=1e-5)
    assert 0 in passes and max(passes) > 4


@pytest.mark.parametrize("name", ["Qwen2Config", "Qwen3Config", "Gemma3TextConfig", "LlamaConfig"])
def test_how_far_attention_reaches(name: str) -> None:
    """Numbers of layers are no windows."""
    import transformers

    config = getattr(transformers, name)()
    assert reach(config) == (getattr(config, "sliding_window", None) or None)


def test_attention_that_is_scaled_by_the_place_is_left_alone() -> None:
    """Llama 4's, beyond what is tried out."""
    model = build("llama")
    model.config.attn_temperature_tuning = True
    assert not scorer(model).shares_prefixes


def test_rope_that_looks_at_the_longest_row() -> None:
    """Rows beyond the length that it was trained at go together with their like only."""
    scaling = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
    model = build("llama", max_position_embeddings=32, rope_parameters=scaling)
    score = scorer(model)
    assert score.sharing.may_share([32, 3]) and score.sharing.may_share([40, 40])
    assert not score.sharing.may_share([40, 32])
    like = [[[*LONG[:30], 7, 7], [*LONG[:30], 8, 8]], [[*LONG[:31], 9]]]
    expected = [alone(model, ids) for ids in flat(like)]
    assert flat(score.sharing(like)) == pytest.approx(expected, abs=1e-5)


def test_attention_of_another_kind_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    score = scorer(build("llama"), share_prefix=False)
    score.model.config._attn_implementation_internal = "paged|eager"
    with caplog.at_level(logging.INFO):
        sharing = SharedRewards(score, 1e-3)
    assert not sharing.works and "attention is paged|eager" in caplog.text


def computed(model: Any, pairs: Any) -> int:
    """The tokens that the body computes, padding included."""
    seen: list[int] = []
    embedding = model.model.get_input_embeddings()
    hook = embedding.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].numel()))
    model.loglikelihood(requests(pairs), disable_tqdm=True)
    hook.remove()
    return sum(seen)


@pytest.mark.parametrize("batch_size", ["auto", 2])
def test_each_token_of_a_tree_is_computed_once(reward_model: Path, batch_size: Any) -> None:
    """What the chat template puts before every conversation is computed once a pass."""
    pairs = some_pairs()
    model = reward(reward_model, batch_size=batch_size)
    ids = [model.encode(request).ids for request in requests(pairs)]
    trees = [ids[n : n + 2] for n in range(0, len(ids), 2)]
    begin = common_beginning(ids)
    again = begin * (len(trees) - 1) if batch_size == "auto" else 0  # two rows: one tree a pass
    assert begin > 1
    assert computed(model, pairs) == sum(map(size, trees)) - again < sum(map(len, ids))
    assert model.get_model_info()["model_shares_prefixes"] is True


def test_it_can_be_turned_off(reward_model: Path) -> None:
    pairs = some_pairs()
    shared, plain = reward(reward_model), reward(reward_model, share_prefix=False)
    assert plain.get_model_info()["model_shares_prefixes"] is False
    assert computed(plain, pairs) > computed(shared, pairs)
    assert rewards(plain, pairs) == pytest.approx(rewards(shared, pairs), abs=1e-5)


def test_memory_that_runs_out_makes_smaller_packs(
    reward_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = reward(reward_model, batch_size="auto")
    expected = rewards(model, some_pairs())
    sharing, tokens = model.scorer.sharing, []

    def cramped(groups: Any) -> Any:
        tokens.append(sum(map(size, groups)))
        if tokens[-1] > 300:
            raise RuntimeError("CUDA out of memory.")
        return type(sharing).__call__(sharing, groups)

    class Cramped:
        may_share = staticmethod(sharing.may_share)
        __call__ = staticmethod(cramped)

    model.scorer.sharing = Cramped()
    assert rewards(model, some_pairs()) == pytest.approx(expected, abs=1e-5)
    assert model.passes.limits().tokens <= max(tokens) // 2
    assert max(tokens) > 300
    tokens.clear()
    assert rewards(model, some_pairs()) == pytest.approx(expected, abs=1e-5)
    assert max(tokens) <= 300  # it is not tried again


def test_candidates_of_one_question_share_it(save_reward_model: Callable[..., Path]) -> None:
    pairs = [("What is 1 + 1? " * 9, f"It is {n}") for n in range(16)]
    model = reward(save_reward_model(), batch_size="auto")
    ids = [model.encode(request).ids for request in requests(pairs)]
    assert computed(model, pairs) == size(ids) < 0.3 * sum(map(len, ids))
