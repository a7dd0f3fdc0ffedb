"""The published rule, derived again from the paper, and each defect of the reference script."""

from pathlib import Path

import merging
import pytest
import tiny
import torch
from merging import Trio
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode

from dogerm_plugin.methods.linear import CHUNK, linear

HEAD = "score.weight"


def by_name(rm: dict, lm: dict, weight: float) -> dict:
    """The paper's rule for equal vocabularies: interpolate what both have, keep the head."""
    return {
        name: tensor if name == HEAD else weight * lm[name] + (1 - weight) * tensor
        for name, tensor in rm.items()
    }


@pytest.mark.parametrize("weight", [0.0, 0.1, 0.3, 0.35, 0.5, 0.85, 1.0])
def test_equals_the_reference_rule_exactly(trio: Trio, tmp_path: Path, weight: float) -> None:
    """Maximum difference 0.0 in float32 over every tensor."""
    out = merging.merged(tmp_path, merging.recipe(trio.rm, (trio.lm, weight)))
    expected = by_name(merging.tensors(trio.rm), merging.tensors(trio.lm), weight)
    assert set(out) == set(expected)
    assert max((out[n] - expected[n]).abs().max().item() for n in out) == 0.0


def by_token(
    rm: torch.Tensor, lm: torch.Tensor, rm_ids: dict, lm_ids: dict, weight: float
) -> dict[str, torch.Tensor]:
    """The paper's rule per token: both → interpolated; one → its row."""
    rows = {}
    for token in rm_ids | lm_ids:
        if token in rm_ids and token in lm_ids:
            rows[token] = weight * lm[lm_ids[token]] + (1 - weight) * rm[rm_ids[token]]
        else:
            rows[token] = rm[rm_ids[token]] if token in rm_ids else lm[lm_ids[token]]
    return rows


def test_shared_tokens_with_other_ids(tmp_path: Path) -> None:
    """Defect 1: the reference asserts equal ids for shared tokens; here rows follow the token."""
    rm, lm = tiny.save_pair(tmp_path, "llama")
    mine = merging.words(96)
    theirs = mine[:3] + mine[3:][::-1]
    merging.save_tokenizer(rm, mine)
    merging.save_tokenizer(lm, theirs)
    recipe = merging.recipe(rm, (lm, 0.3), tokenizer={"source": "base"})
    out = merging.merged(tmp_path, recipe)["model.embed_tokens.weight"]
    name = "model.embed_tokens.weight"
    expected = by_token(
        merging.tensors(rm)[name],
        merging.tensors(lm)[name],
        {t: i for i, t in enumerate(mine)},
        {t: i for i, t in enumerate(theirs)},
        0.3,
    )
    assert torch.equal(out, torch.stack([expected[token] for token in mine]))


def test_rows_of_the_reward_model_only(tmp_path: Path) -> None:
    """Defect 2: the reference loses rows that only the reward model has; here they stay."""
    rm, _ = tiny.save_pair(tmp_path / "a", "llama", vocab_size=100)
    _, lm = tiny.save_pair(tmp_path / "b", "llama", vocab_size=96)
    merging.save_tokenizer(rm, merging.words(100))
    merging.save_tokenizer(lm, merging.words(96))
    recipe = merging.recipe(rm, (lm, 0.3), tokenizer={"source": "union"})
    out = merging.merged(tmp_path, recipe)["model.embed_tokens.weight"]
    assert torch.equal(out[96:], merging.tensors(rm)["model.embed_tokens.weight"][96:])
    assert len(out) == 100


def test_tensors_are_paired_by_name_not_by_order(own_trio: Trio, tmp_path: Path) -> None:
    """Defect 3: the reference zips parameters in file order; here the order means nothing."""
    state = load_file(own_trio.lm / "model.safetensors")
    save_file(
        dict(reversed(state.items())), own_trio.lm / "model.safetensors", metadata={"format": "pt"}
    )
    out = merging.merged(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, 0.3)))
    expected = by_name(merging.tensors(own_trio.rm), merging.tensors(own_trio.lm), 0.3)
    assert all(torch.equal(out[name], expected[name]) for name in expected)


def test_a_name_mismatch_is_not_skipped(own_trio: Trio, tmp_path: Path) -> None:
    """Defect 3, second half: a tensor that one side lacks is named, not left unmerged."""
    merging.edit(own_trio.lm, model__layers__2__mlp__up_proj__weight=None)
    message = merging.refused(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, 0.3)))
    assert "model.layers.2.mlp.up_proj.weight" in message and str(own_trio.lm) in message


@pytest.mark.parametrize("model_type", ["gpt2", "gpt_neox", "qwen2"])
def test_no_head_name_is_built_in(tmp_path: Path, model_type: str) -> None:
    """Defect 4: the reference knows `score` and `lm_head` only."""
    rm, lm = tiny.save_pair(tmp_path, model_type)
    out = merging.merged(tmp_path, merging.recipe(rm, (lm, 0.3)))
    assert not any("lm_head" in name or "embed_out" in name for name in out)
    assert torch.equal(out[HEAD], merging.tensors(rm)[HEAD])


def test_memory_is_not_both_models_in_fp32() -> None:
    """Defect 5: the work buffers of one tensor do not grow with the tensor."""

    class Float32(TorchDispatchMode):
        largest = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result.dtype == torch.float32:
                self.largest = max(self.largest, result.untyped_storage().nbytes())
            return result

    a, b = torch.ones(2, 32 * CHUNK, dtype=torch.bfloat16)
    with Float32() as seen:
        linear(a, [b], [0.3])
    assert 0 < seen.largest <= 2 * 4 * CHUNK


def test_weights_always_sum_to_one(trio: Trio, tmp_path: Path) -> None:
    """Defect 6: the reference takes two weights that need not sum to 1."""
    recipe = merging.recipe(trio.rm, (trio.lm, 0.3), (trio.rm, 0.8))
    assert "1 − Σλ = 0.7" in merging.refused(tmp_path, recipe)
    recipe = merging.recipe(trio.rm, (trio.lm, 0.3), (trio.rm, 0.7))
    assert merging.merged(tmp_path, recipe)


def test_steps_of_a_sweep_do_not_overwrite_each_other(trio: Trio, tmp_path: Path) -> None:
    """Defect 7: a failed step leaves the finished output of the step before as it was."""
    merging.merged(tmp_path, merging.recipe(trio.rm, (trio.lm, 0.3)))
    before = merging.digest(tmp_path / "out")
    merging.refused(tmp_path, merging.recipe(trio.rm, (trio.lm, 1.3)))
    assert merging.digest(tmp_path / "out") == before
