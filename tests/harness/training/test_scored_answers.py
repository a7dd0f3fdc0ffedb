"""Lists of answers with scores, and UltraFeedback's pairs: read, split, checked, trained on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.rows.faults import Faults
from harness.training.config import Columns, Source
from harness.training.rows import PAIR, has_pairs, read_rows
from harness.training.split import prompt_key
from tests.harness.training.test_runs import SMALL, Write, _run


def lists(count: int, scores: list[Any]) -> list[dict[str, Any]]:
    """Rows of as many answers as there are scores."""
    return [
        {
            "prompt": f"Please name the number after {n}!",
            "responses": [f"It is {n + k}." for k in range(len(scores))],
            "scores": scores,
        }
        for n in range(count)
    ]


def ultrafeedback(count: int) -> list[dict[str, Any]]:
    """The schema of HuggingFaceH4/ultrafeedback_binarized; every fourth pair is a tie."""
    rows = []
    for n in range(count):
        prompt = f"Please name the number after {n}!"
        sides = {
            name: [
                {"role": "user", "content": prompt},
                {"role": "assistant", "content": f"It is {n + far}."},
            ]
            for name, far in (("chosen", 1), ("rejected", 2))
        }
        rows.append(
            {
                "prompt": prompt,
                "prompt_id": f"{n:064x}",
                **sides,
                "messages": sides["chosen"],
                "score_chosen": 8.0,
                "score_rejected": 8.0 if n % 4 == 3 else 6.5,
            }
        )
    return rows


def answers(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(str(row["chosen"]), str(row["rejected"])) for row in rows]


def test_each_two_of_unequal_score(
    write_jsonl: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The better one is chosen; ties are told, and so is what was made."""
    write_jsonl("lists.jsonl", lists(1, [3, 7.5, 3, "9"]))
    source = Source(file="lists.jsonl")
    rows = read_rows(source, PAIR, tmp_path)
    assert answers(rows) == [
        ("It is 3.", "It is 1."),
        ("It is 3.", "It is 0."),
        ("It is 3.", "It is 2."),
        ("It is 1.", "It is 0."),
        ("It is 1.", "It is 2."),
    ]
    assert {row["prompt"].origin.where for row in rows} == {"lists.jsonl, row 1"}
    told = capsys.readouterr().err
    assert "lists.jsonl: 1 lists of answers make 5 pairs; 1 ties (two answers of one" in told
    assert has_pairs(source, tmp_path)


def test_the_best_against_each_other(
    write_jsonl: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the columns' own names; another one as good as the best is a tie."""
    rows = [
        {"prompt": row["prompt"], "texts": row["responses"], "marks": row["scores"]}
        for row in lists(2, [5, 2, 5, 1])
    ]
    write_jsonl("lists.jsonl", rows)
    columns = Columns(responses="texts", scores="marks")
    read = read_rows(Source(file="lists.jsonl", pairs="best", columns=columns), PAIR, tmp_path)
    assert answers(read)[:2] == [("It is 0.", "It is 1."), ("It is 0.", "It is 3.")]
    assert len(read) == 4 and read[2]["prompt"].origin.where == "lists.jsonl, row 2"
    told = capsys.readouterr().err
    assert "make 4 pairs (the best against each other); 2 ties" in told


def test_ultrafeedback(
    write_jsonl: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Message lists that begin with the prompt; pairs of one score are counted."""
    write_jsonl("uf.jsonl", ultrafeedback(8))
    rows = read_rows(Source(file="uf.jsonl"), PAIR, tmp_path)
    assert len(rows) == 6 and answers(rows)[3] == ("It is 5.", "It is 6.")
    assert str(rows[3]["prompt"]) == "Please name the number after 4!"
    assert rows[3]["prompt"].origin.where == "uf.jsonl, row 5"
    assert "uf.jsonl: 2 ties (two answers of one score) are left out" in capsys.readouterr().err


def test_what_does_not_fit(write_jsonl: Write, tmp_path: Path) -> None:
    """Named by row and column, and counted."""
    good, other = lists(2, [1, 2])
    rows = [
        good,
        {**good, "scores": [1, None]},
        {**good, "scores": [1]},
        {**good, "scores": 3},
        {**good, "responses": ["It is 1.", ""]},
        other,
    ]
    write_jsonl("lists.jsonl", rows)
    misfits = Faults()
    read = read_rows(Source(file="lists.jsonl"), PAIR, tmp_path, misfits)
    assert len(read) == 2 and misfits.rows == 4
    assert [(one.said, one.where()) for one in misfits.values()] == [
        ("column scores: score 2 is None, expected a number", "row 2"),
        (
            "column responses has 2 answers and scores 1 scores, expected two or more, and as many",
            "row 3",
        ),
        ("columns responses and scores: expected two lists, as row 1 has them", "row 4"),
        ("`chosen` is empty or not text", "row 5"),
    ]
    turned = ultrafeedback(2)
    turned[1] |= {"score_chosen": 2, "score_rejected": 7}
    write_jsonl("uf.jsonl", turned)
    misfits = Faults()
    read_rows(Source(file="uf.jsonl"), PAIR, tmp_path, misfits)
    (fault,) = misfits.values()
    assert fault.said == (
        "column score_chosen is 2, below score_rejected 7: the answers stand the wrong way "
        "round; swap the two, or leave the row out"
    )
    assert fault.where() == "row 2"


def test_runs(
    write_jsonl: Write,
    write_config: Callable[..., Path],
    language_model: Path,
    tmp_path: Path,
) -> None:
    """Both forms at once: trained on and checked; a prompt's pairs are on one side."""
    from harness.training.gather import gather
    from harness.training.read_config import read_config

    write_jsonl("lists.jsonl", lists(20, [1, 2, 3]))
    write_jsonl("uf.jsonl", ultrafeedback(20))
    config = write_config(
        model="some/base",
        data=[{"file": "lists.jsonl"}, {"file": "uf.jsonl"}],
        lora={"rank": 4},
        training=SMALL,
        validation={"share": 0.25},
    )
    sides = gather(read_config(config), PAIR, tmp_path, lambda row: {"length": 1})
    prompts = [{prompt_key(row["prompt"]) for p in side for row in p.rows} for side in sides]
    assert all(prompts) and not prompts[0] & prompts[1]
    listed = [row for side in sides for row in side[0].rows]
    assert len(listed) == 60 and len({str(row["prompt"]) for row in listed}) == 20

    checked = _run("check", config, "--model", language_model)
    assert checked.exit_code == 0, checked.output
    assert "lists.jsonl: 60 rows, of which 60 fit" in checked.output
    assert "lists.jsonl: 20 lists of answers make 60 pairs; 0 ties" in checked.output
    assert "uf.jsonl: 5 ties (two answers of one score) are left out, 15 pairs" in checked.output

    out = tmp_path / "out"
    result = _run("reward", config, "-o", out, "--model", language_model)
    assert result.exit_code == 0, result.output
    figures = json.loads((out / "figures.json").read_text())
    assert set(figures["training_rows"]) == {"lists", "uf"}
    bad = write_config("bad.yml", model="some/base", data=[{"file": "lists.jsonl", "pairs": "two"}])
    refused = _run("reward", bad, "-o", tmp_path / "no", "--model", language_model)
    assert refused.exit_code == 1 and "`pairs` is all or best" in refused.output
