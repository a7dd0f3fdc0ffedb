"""Held-out prompts are never trained on."""

from __future__ import annotations

from harness.training.split import is_held_out, prompt_key, split_rows, without_prompts


def test_no_prompt_is_on_both_sides() -> None:
    """Several rows of one prompt, and near-copies of it, stay together."""
    rows = [
        {"prompt": text, "chosen": str(copy)}
        for n in range(300)
        for copy, text in enumerate((f"Question {n}?", f"question  {n}?\n", f"Question {n}?"))
    ]
    train, held = split_rows(rows, 0.2)
    assert {prompt_key(r["prompt"]) for r in train}.isdisjoint(
        prompt_key(r["prompt"]) for r in held
    )
    assert len(train) + len(held) == len(rows)
    assert 0.1 < len(held) / len(rows) < 0.3


def test_the_decision_is_the_prompts_own() -> None:
    """It does not change with other rows, and a larger share holds out a superset."""
    prompts = [f"Prompt number {n}" for n in range(500)]
    small = {p for p in prompts if is_held_out(p, 0.05)}
    large = {p for p in prompts if is_held_out(p, 0.3)}
    assert small and small < large


def test_foreign_validation_prompts_are_taken_out() -> None:
    """When validation has data of its own."""
    rows = [{"prompt": "A  b"}, {"prompt": "c"}]
    assert without_prompts(rows, [{"prompt": "a B"}]) == [{"prompt": "c"}]
