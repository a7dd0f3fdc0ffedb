"""Every decoder type of transformers gets its own model's reward in padded batches."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from types import ModuleType

import pytest

from tests.harness.conftest import sharpened
from tests.harness.models.score.test_scorer import alone, scorer


def tiny_models() -> ModuleType:
    """The tiny configs that the merge side's tests walk, loaded from their file."""
    file = Path(__file__).parents[3] / "dogerm_plugin" / "tiny.py"
    spec = importlib.util.spec_from_file_location("dogerm_tiny_models", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_every_decoder_type_is_scored_exactly(capsys: pytest.CaptureFixture[str]) -> None:
    """fp32 within 1e-5 of model(**inputs).logits; prints how many take padded batches, and packs.

    Packs are refused by the models in which tokens meet otherwise than in attention that can be
    told what a token sees: state spaces, linear attention, ALiBi, learned positions by index.
    minimax is off by a few 1e-5: its lightning attention rounds so with every change of length,
    by the same amount at any padding.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    tiny = tiny_models()
    generator = torch.Generator().manual_seed(1)
    rows = [torch.randint(0, 96, (n,), generator=generator).tolist() for n in (3, 17, 40, 26)]
    rows[1][-2:] = [0, 0]  # the pad token
    begun = rows[0] + rows[1]
    trees = [[rows[2], [*rows[2][:9], *rows[3]], rows[2][:12]], [rows[1]], [begun, rows[0]]]
    exact, padded, shared, failed = [], [], [], {}
    for name in tiny.decoder_types():
        try:
            config = tiny.tiny_config(name)
            config.num_labels = config.get_text_config().num_labels = 1
            torch.manual_seed(0)
            model = sharpened(AutoModelForSequenceClassification.from_config(config))
            expected = [alone(model, ids) for ids in rows]
        except Exception as error:  # the tiny config does not fit, or transformers itself fails
            failed[name] = f"not built: {type(error).__name__}: {error}"
            continue
        score = scorer(model)
        together = score.pads and not score.own_forward
        got = score(rows) if together else [score([ids])[0] for ids in rows]
        difference = max(abs(a - b) for a, b in zip(got, expected, strict=True))
        if difference <= 1e-5 * max(1.0, *map(abs, expected)):
            exact.append(name)
        else:
            failed[name] = f"off by {difference:.1e}"
        if together:
            padded.append(name)
        if score.sharing and score.sharing.works:
            short = [[ids[: score.sharing.reach] for ids in tree] for tree in trees]
            assert score.sharing.may_share([len(ids) for tree in short for ids in tree])
            apart = [alone(model, ids) for tree in short for ids in tree]
            packed = itertools.chain.from_iterable(score.sharing(short))
            difference = max(abs(a - b) for a, b in zip(packed, apart, strict=True))
            if difference > 1e-5 * max(1.0, *map(abs, apart)):
                failed[name] = f"off by {difference:.1e} in a pack"
            shared.append(name)
    wrong = {name: why for name, why in failed.items() if why.startswith("off")}
    wrong.pop("minimax", None)
    total = len(exact) + len(failed)
    with capsys.disabled():
        print(
            f"\nscored exactly: {len(exact)} of {total}; in padded batches: {len(padded)}; "
            f"in packs: {len(shared)}"
        )
        for name, why in failed.items():
            print(f"  {name}: {why[:120]}")
    assert not wrong
    assert len(exact) >= 60 and len(padded) >= 60
    assert len(shared) >= 45
