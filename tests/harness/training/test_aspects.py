"""`dogerm train reward` on numbers in place of pairs: HelpSteer's columns, and one score."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from harness.errors import HarnessError
from harness.training.aspect_figures import regression
from tests.harness.models.test_reward import requests, reward, some_pairs
from tests.harness.training.test_runs import SMALL, Write, _run

COLUMNS = ["helpfulness", "verbosity"]
WEIGHTS = {"helpfulness": 0.65, "verbosity": -0.4}


def rated(count: int) -> list[dict[str, Any]]:
    """HelpSteer's rows: two responses to a prompt, each with all of its columns."""
    return [
        {
            "prompt": f"Please name the number after {n}!",
            "response": f"It is {n + 1 + other}." + " I hope that helps." * (n % 3),
            "helpfulness": 4 - 3 * other if n % 4 else 2,
            "correctness": 4 - 2 * other,
            "coherence": 4,
            "complexity": n % 3,
            "verbosity": n % 3,
        }
        for n in range(count)
        for other in (0, 1)
    ]


@pytest.fixture
def config(write_config: Callable[..., Path], write_jsonl: Write) -> Callable[..., Path]:
    """Writes a tiny configuration."""
    write_jsonl("rows.jsonl", rated(20))

    def write(name: str = "config.yml", **more: Any) -> Path:
        settings = {
            "model": "some/base",
            "data": [{"file": "rows.jsonl"}],
            "aspects": {"columns": COLUMNS, "weights": WEIGHTS},
            "lora": {"rank": 4},
            "training": {**SMALL, "seed": 5},
            "validation": {"share": 0.25},
        }
        return write_config(name, **{**settings, **more})

    return write


def ran(config: Path, out: Path, model: Path, *options: str) -> dict[str, Any]:
    """The figures."""
    result = _run("reward", config, "-o", out, "--model", model, *options)
    assert result.exit_code == 0, result.output
    figures: dict[str, Any] = json.loads((out / "figures.json").read_text())
    return figures


def test_two_aspects(config: Callable[..., Path], language_model: Path, tmp_path: Path) -> None:
    """Trained, exported, scored: the reward is the weighted sum, in the columns' own units."""
    out, checkpoint = tmp_path / "out", tmp_path / "rm"
    figures = ran(config(), out, language_model)
    validation = figures["validation"]["all"]
    assert set(validation["aspects"]) == set(COLUMNS) and set(figures["validation"]) == {
        "all",
        "rows",
    }
    assert all({"mse", "r2", "pearson"} == set(one) for one in validation["aspects"].values())
    assert validation["rows"] == 2 * (validation["pairs"] + validation["ties"]) > 0
    assert 0 <= validation["accuracy"] <= 1
    trained = [one for one in rated(20)]
    known = figures["aspects"]
    assert [one["name"] for one in known] == COLUMNS
    assert [one["weight"] for one in known] == [0.65, -0.4]
    assert known[0]["mean"] == pytest.approx(
        statistics.fmean(one["helpfulness"] for one in trained), abs=0.5
    )

    assert _run("export", out, "--model", language_model, "-o", checkpoint).exit_code == 0
    settings = json.loads((checkpoint / "config.json").read_text())
    assert settings["id2label"] == {"0": "helpfulness", "1": "verbosity"}
    assert settings["aspects"] == known == json.loads((out / "aspects.json").read_text())
    assert load_file(checkpoint / "model.safetensors")["score.weight"].shape == (2, 32)

    asked = requests(some_pairs(3))
    plain = reward(checkpoint, combine="mean", dtype="float32")
    raw = plain.scorer([[5, 6, 7]])
    scored = reward(checkpoint, combine="weighted", dtype="float32")
    assert scored.heads == COLUMNS and scored.get_model_info()["weights"] == [0.65, -0.4]
    (own,) = [scored.combination.answer(row, False) for row in raw]
    undone = [one["mean"] + one["std"] * value for one, value in zip(known, raw[0], strict=True)]
    assert own.details["members"] == pytest.approx(undone, rel=1e-6)
    assert own.score == pytest.approx(0.65 * undone[0] - 0.4 * undone[1], rel=1e-6)

    exported = scored.loglikelihood(asked, True)
    adapted = reward(language_model, peft=str(out), combine="weighted", dtype="float32")
    for one, other in zip(adapted.loglikelihood(asked, True), exported, strict=True):
        assert one[0] == pytest.approx(other[0], rel=0.05, abs=0.05)  # the export is in bfloat16
    other = reward(checkpoint, combine="weighted", weights="1;0", dtype="float32")
    first = other.combination.answer(raw[0], False)
    assert first.score == pytest.approx(undone[0], rel=1e-6)


def test_the_loss_is_the_standardised_squared_error(
    config: Callable[..., Path], language_model: Path, tmp_path: Path
) -> None:
    """Nearly without learning, that of the untrained heads, of rows from all validation."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from harness.training.several_heads import put_on
    from harness.training.split import split_rows
    from harness.training.tokens import conversation_ids
    from harness.training.turns import parse_turns

    training = {**SMALL, "learning_rate": 1e-12, "seed": 5, "batch_size": 40}
    figures = ran(config(training=training), tmp_path / "out", language_model)
    kept, held = split_rows(rated(20), 0.25)
    model = AutoModelForSequenceClassification.from_pretrained(language_model, num_labels=1).eval()
    put_on(model, 2, 5)
    tokenizer = AutoTokenizer.from_pretrained(language_model)
    errors, squared = [], []
    for row in held:
        ids = conversation_ids(tokenizer, parse_turns(row["prompt"]), row["response"])
        with torch.no_grad():
            heads = model(input_ids=torch.tensor([ids])).logits[0].tolist()
        for name, head in zip(COLUMNS, heads, strict=True):
            values = [one[name] for one in kept]
            mean, std = statistics.fmean(values), statistics.pstdev(values)
            errors.append((head - (row[name] - mean) / std) ** 2)
            squared.append((name, (mean + std * head - row[name]) ** 2))
    _, told = figures["curves"]["validation loss"][-1]
    assert told == pytest.approx(statistics.fmean(errors), rel=0.02)
    for name in COLUMNS:
        expected = statistics.fmean(value for one, value in squared if one == name)
        said = figures["validation"]["all"]["aspects"][name]["mse"]
        assert said == pytest.approx(expected, rel=0.02)


def test_messages_and_a_score(
    config: Callable[..., Path], write_jsonl: Write, language_model: Path, tmp_path: Path
) -> None:
    """One column: an ordinary reward model, with all weights trained, that learns its rows."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": row["prompt"]},
                {"role": "assistant", "content": row["response"]},
            ],
            "score": str(row["verbosity"]),  # as CSV has it
        }
        for row in rated(20)
    ]
    write_jsonl("scores.jsonl", rows)
    settings = config(
        data=[{"file": "scores.jsonl"}],
        aspects={"columns": ["score"]},
        lora=None,
        training={**SMALL, "epochs": 10, "learning_rate": 5e-3},
    )
    out = tmp_path / "out"
    figures = ran(settings, out, language_model)
    losses = [value for _, value in figures["curves"]["training loss"]]
    assert statistics.fmean(losses[-5:]) < 0.8 * statistics.fmean(losses[:5])
    content = json.loads((out / "config.json").read_text())
    assert content["id2label"] == {"0": "score"} and content["aspects"][0]["weight"] == 1.0
    answers = reward(out, dtype="float32").loglikelihood(requests(some_pairs(2)), True)
    assert len({one[0] for one in answers}) == len(answers)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"verbosity": None}, "rows.jsonl, row 5: column verbosity is None, expected a number"),
        ({"verbosity": "much"}, "row 5: column verbosity is 'much', expected a number"),
        ({"verbosity": ...}, "row 5: column verbosity is missing, expected a number"),
    ],
)
def test_a_row_without_its_number(
    config: Callable[..., Path],
    write_jsonl: Write,
    language_model: Path,
    tmp_path: Path,
    change: dict[str, Any],
    words: str,
) -> None:
    """One line with file, row and column; `check` counts them."""
    rows = rated(20)
    for number in (4, 9):
        rows[number] |= change
        rows[number] = {k: v for k, v in rows[number].items() if v is not ...}
    write_jsonl("rows.jsonl", rows)
    result = _run("reward", config(), "-o", tmp_path / "out", "--model", language_model)
    assert result.exit_code == 1 and words in result.output.splitlines()[-1], result.output
    assert "Traceback" not in result.output and not (tmp_path / "out").exists()
    checked = _run("check", config(), "--model", language_model)
    assert checked.exit_code == 1
    assert "rows.jsonl: 40 rows, of which 38 fit" in checked.output
    assert f"2 not       {words.partition('row 5: ')[2]} (rows 5, 10)" in checked.output


def test_check_of_rows_that_fit(config: Callable[..., Path], language_model: Path) -> None:
    """As a training would read them, whatever the rows' first form is."""
    checked = _run("check", config(), "--model", language_model)
    assert checked.exit_code == 0, checked.output
    assert "rows.jsonl: 40 rows, of which 40 fit" in checked.output


def test_what_has_no_effect_or_no_sense(
    config: Callable[..., Path], language_model: Path, tmp_path: Path
) -> None:
    """One line each."""
    both = {"columns": COLUMNS}
    for kind, more, words in (
        ("reward", {"heads": 2}, "each column of `aspects` has one"),
        ("reward", {"labels": {"smoothing": 0.1}}, "`aspects` has no pairs"),
        ("reward", {"training": {"center_rewards": 0.1}}, "`center_rewards` needs pairs"),
        ("reward", {"aspects": {}}, "`aspects` has no `columns`"),
        ("reward", {"aspects": {"columns": ["a", "a"]}}, "names one twice"),
        ("reward", {"aspects": {**both, "weights": {"b": 1}}}, "one for each of its `columns`"),
        ("reward", {"aspects": {**both, "weight": 1}}, "did you mean `weights`?"),
        ("reward", {"aspects": {"columns": ["coherence"]}}, "column coherence is 4 in all"),
        ("reward", {"data": [{"generator": "sums", "rows": 9}]}, "makes no column helpfulness"),
        ("sft", {}, "a language model has no reward heads"),
        ("hybrid", {}, "both losses compare two answers"),
    ):
        result = _run(kind, config(**more), "-o", tmp_path / "out", "--model", language_model)
        assert result.exit_code == 1 and words in result.output, result.output
        assert words in result.output.splitlines()[-1] and not (tmp_path / "out").exists()


def test_figures_of_a_regression() -> None:
    """By hand; what never varies has no correlation."""
    made = regression([1.0, 2.0, 4.0], [1.0, 2.0, 3.0])
    assert made["mse"] == pytest.approx(1 / 3) and made["r2"] == pytest.approx(0.5)
    assert made["pearson"] == pytest.approx(statistics.correlation([1, 2, 4], [1, 2, 3]))
    assert regression([1.0, 1.0], [1.0, 2.0])["pearson"] is None
    assert regression([1.0, 2.0], [3.0, 3.0])["r2"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"combine": "weighted"}, "combine=weighted: the model says no weights for its heads"),
        ({"combine": "weighted", "weights": "1;2;3"}, "has 3 numbers, and the model 2 heads"),
        ({"combine": "weighted", "weights": "1;much"}, "weights=1;much: 'much' is no number"),
        ({"combine": "mean", "weights": "1;2"}, "is for combine=weighted, and this is mean"),
        ({"weights": "1;2"}, "is for combine=weighted, and there is no combine="),
        ({"combine": "weighted", "k": 2}, "k=2 is for combine=mean-std"),
    ],
)
def test_wrong_weights(
    save_reward_model: Callable[..., Path], arguments: dict[str, Any], words: str
) -> None:
    """Of a model of two labels that says nothing of them."""
    folder = save_reward_model(seed=3, num_labels=2)
    with pytest.raises(HarnessError) as told:
        reward(folder, **arguments)
    assert words in str(told.value) and "\n" not in str(told.value)
