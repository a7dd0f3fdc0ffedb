"""Rows from files and generators, and the errors that name file and row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.rows.faults import Faults
from harness.training.balance import longer_is_chosen
from harness.training.config import Columns, Config, Source
from harness.training.gather import gather
from harness.training.rows import ANSWERED, PAIR, choose_rows, read_rows
from harness.training.split import prompt_key
from harness.training.turns import parse_turns
from tests.harness.training.conftest import pairs

Write = Callable[[str, list[dict[str, Any]]], Path]


def test_formats_hold_the_same_rows(tmp_path: Path, write_jsonl: Write) -> None:
    """JSONL, JSON and Parquet."""
    import json

    import pandas

    rows = pairs(5)
    write_jsonl("a.jsonl", rows)
    (tmp_path / "a.json").write_text(json.dumps(rows))
    pandas.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.json", "a.parquet"):
        assert read_rows(Source(file=name), PAIR, tmp_path) == rows


def test_columns_can_have_other_names(tmp_path: Path, write_jsonl: Write) -> None:
    """Columns that are not asked for are left out."""
    write_jsonl("a.jsonl", [{"question": "q", "answer": "a", "more": 1}])
    source = Source(file="a.jsonl", columns=Columns(prompt="question", response="answer"))
    assert read_rows(source, ANSWERED, tmp_path) == [{"prompt": "q", "response": "a"}]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"prompt": "p", "chosen": "c", "rejected": "  "}, "row 3: `rejected` is empty"),
        ({"prompt": "p", "chosen": None, "rejected": "r"}, "row 3: `chosen` is empty"),
        ({"prompt": "p", "chosen": "c"}, "row 3: no column `rejected` (found: prompt, chosen)"),
        (["p"], "line 3 is list, expected an object"),
        (
            {"prompt": "Human: a\n\nAssistant: b", "chosen": "c", "rejected": "r"},
            "row 3: column prompt: the last turn of the prompt is not the user's",
        ),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, write_jsonl: Write, bad: Any, message: str) -> None:
    """File and row number, so that it can be found."""
    write_jsonl("a.jsonl", [*pairs(2), bad])
    with pytest.raises(HarnessError) as caught:
        read_rows(Source(file="a.jsonl"), PAIR, tmp_path)
    assert message in str(caught.value) and "a.jsonl" in str(caught.value)


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    """Absent, not JSON, of an unknown kind, empty."""
    (tmp_path / "a.jsonl").write_text('{"prompt": "p"\n')
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "b.jsonl").write_text("\n")
    for name, message in (
        ("no.jsonl", "no such file"),
        ("a.jsonl", "line 1 is not JSON"),
        ("a.txt", "expected a .jsonl"),
        ("b.jsonl", "no rows"),
    ):
        with pytest.raises(HarnessError, match=message):
            read_rows(Source(file=name), PAIR, tmp_path)


def test_generators_are_seeded_and_known(tmp_path: Path) -> None:
    """The same seed makes the same rows; an unknown name gets the known ones."""
    source = Source(generator="basics", rows=20, seed=3)
    rows = read_rows(source, PAIR, tmp_path)
    assert rows == read_rows(source, PAIR, tmp_path)
    assert rows != read_rows(Source(generator="basics", rows=20, seed=4), PAIR, tmp_path)
    assert all(row["chosen"] != row["rejected"] for row in rows)
    with pytest.raises(HarnessError, match="known here: atlas, basics, facts, fun"):
        read_rows(Source(generator="nosuch", rows=1), PAIR, tmp_path)
    with pytest.raises(HarnessError, match="known here: atlas, facts, functions, medicines, sums"):
        read_rows(Source(generator="basics", rows=1), ANSWERED, tmp_path)


def test_sources_of_one_name_are_told_apart(tmp_path: Path, write_jsonl: Write) -> None:
    """Figures have an entry for each: files of one name are told by their folders."""
    files = [f"{name}/train.jsonl" for name in ("chat", "maths")]
    for file in files:
        (tmp_path / file).parent.mkdir()
        write_jsonl(file, pairs(20))

    def names(*data: dict[str, Any]) -> list[list[str]]:
        config = Config(model="m", data=[Source(**one) for one in data])
        parts = gather(config, PAIR, tmp_path, lambda row: {"length": 1})
        return [[part.name for part in some] for some in parts]

    told = ["chat/train", "maths/train"]
    assert names(*({"file": file} for file in files)) == [told, told]
    sums = {"generator": "sums", "rows": 20}
    changed = ["sums", "sums, 2 exchanged"]
    assert names(sums, {**sums, "corrupt": 2}) == [changed, changed]
    assert names(sums, {**sums, "seed": 1}) == [["sums-1", "sums-2"]] * 2


def test_choice_balances_first(write_jsonl: Write) -> None:
    """Then takes as many rows as asked for."""
    source = Source(file="a.jsonl", balance_length=True, rows=10, seed=1)
    chosen = choose_rows(source, pairs(60))
    assert len(chosen) == 10
    assert longer_is_chosen(choose_rows(Source(file="a", balance_length=True), pairs(60))) == 0.5


def test_corrupted_rows_come_from_chosen_answers(tmp_path: Path, write_jsonl: Write) -> None:
    """They need no `rejected` column; language models do not learn them."""
    write_jsonl("a.jsonl", [{"prompt": r["prompt"], "chosen": r["chosen"]} for r in pairs(9)])
    rows = read_rows(Source(file="a.jsonl", corrupt=1), PAIR, tmp_path)
    assert rows and all(row["chosen"] != row["rejected"] for row in rows)
    with pytest.raises(HarnessError, match="`corrupt` makes preference pairs"):
        read_rows(
            Source(file="a.jsonl", corrupt=1, columns=Columns(response="chosen")),
            ANSWERED,
            tmp_path,
        )


START = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Is 2 + 2 four?\n\nAssistant:"


def test_transcripts_are_split(
    tmp_path: Path, write_jsonl: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """hh-rlhf has no prompt column; rows that are no use for training are left out and counted."""
    good = {"chosen": START + " Yes.", "rejected": START + " No."}
    odd = [
        {"chosen": START + " Yes.", "rejected": START},
        {"chosen": START + " Yes.", "rejected": START + " Yes."},
        {"chosen": START + " Yes.\n\nHuman: Sure?\n\nAssistant: Yes.", "rejected": START + " No."},
        {"chosen": START + " Yes.", "rejected": "\n\nHuman: Ah\n\nAssistant: No."},
        {key: text.replace(" Hello", "") for key, text in good.items()},
    ]
    write_jsonl("a.jsonl", [good, *odd])
    (row,) = read_rows(Source(file="a.jsonl"), PAIR, tmp_path)
    assert (row["chosen"], row["rejected"]) == ("Yes.", "No.")
    assert parse_turns(row["prompt"]) == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Is 2 + 2 four?"},
    ]
    assert "a.jsonl: 5 of 6 transcripts do not fit, left out" in capsys.readouterr().err


@pytest.mark.parametrize("split", [True, False])
def test_a_transcript_and_its_messages_are_one_prompt(
    split: bool, tmp_path: Path, write_jsonl: Write
) -> None:
    """One of the two is not held out while the other is trained on."""
    said = parse_turns(START)
    row = {"prompt": START, "chosen": "Yes.", "rejected": "No."}
    if split:
        row = {"chosen": START + " Yes.", "rejected": START + " No."}
    write_jsonl("a.jsonl", [row])
    write_jsonl("b.jsonl", [{"prompt": said, "chosen": "Yes.", "rejected": "No."}])
    one, other = (
        read_rows(Source(file=name), PAIR, tmp_path)[0]["prompt"] for name in ("a.jsonl", "b.jsonl")
    )
    assert prompt_key(one) == prompt_key(other)


def test_answers_of_domains_that_are_missing(
    write_jsonl: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Counted and named by the row of the file; a row of another form is a misfit like others."""
    rows: list[dict[str, Any]] = [
        {"query": f"Why {n}?", "responses": {"law": "So.", "art": "Not so.", "normal": "Yes."}}
        for n in range(3)
    ]
    rows[1]["responses"]["art"] = ""
    write_jsonl("dsp.jsonl", rows)
    assert len(read_rows(Source(file="dsp.jsonl"), PAIR, tmp_path)) == 6 + 2 + 6
    told = "dsp.jsonl: 1 domains' answers are missing or empty, left out (the first in row 2)"
    assert told in capsys.readouterr().err
    write_jsonl("dsp.jsonl", [rows[0], {"query": "And?", "responses": {"law": "So."}}, rows[2]])
    misfits = Faults()
    assert len(read_rows(Source(file="dsp.jsonl"), PAIR, tmp_path, misfits)) == 12
    ((place,),) = ([one.where()] for one in misfits.values())
    assert place == "row 2"
    with pytest.raises(HarnessError, match=r"dsp\.jsonl, row 2: expected `query`"):
        read_rows(Source(file="dsp.jsonl"), PAIR, tmp_path)


def test_corrupted_rows_have_no_margin(tmp_path: Path, write_jsonl: Write) -> None:
    """It would be that of the pair as it was."""
    write_jsonl("a.jsonl", [{"prompt": "?", "chosen": "It is so.", "rejected": "No.", "by": 2}])
    with pytest.raises(HarnessError, match="`margin` is of other rejected answers than `corrupt`"):
        read_rows(Source(file="a.jsonl", corrupt=1, columns=Columns(margin="by")), PAIR, tmp_path)


def test_corrupted_rows_keep_their_domain(tmp_path: Path, write_jsonl: Write) -> None:
    """One prompt asked of two domains, as DSP's are."""
    answers = {"law": "Courts have settled this long before.", "art": "Painters never have cared."}
    table = [{"prompt": "And why?", "chosen": text, "domain": d} for d, text in answers.items()]
    write_jsonl("a.jsonl", table)
    rows = read_rows(Source(file="a.jsonl", corrupt=1), PAIR, tmp_path)
    assert {row["domain"]: row["chosen"] for row in rows} == answers


def test_transcripts_can_be_corrupted_and_learned(tmp_path: Path, write_jsonl: Write) -> None:
    """The prompt comes from both columns, whichever of them is used."""
    write_jsonl("a.jsonl", [{"chosen": START + " Yes, it is.", "rejected": START + " No."}] * 9)
    rows = read_rows(Source(file="a.jsonl", corrupt=1), PAIR, tmp_path)
    assert all(sorted(row["rejected"]) == sorted("Yes, it is.") for row in rows)
    source = Source(file="a.jsonl", columns=Columns(response="chosen"))
    learned = read_rows(source, ANSWERED, tmp_path)
    assert learned[0]["response"] == "Yes, it is."
    assert parse_turns(learned[0]["prompt"]) == parse_turns(START)


def test_transcripts_in_one_column_only_need_a_prompt(tmp_path: Path, write_jsonl: Write) -> None:
    write_jsonl("a.jsonl", [{"chosen": START + " Yes.", "rejected": "No."}])
    with pytest.raises(HarnessError, match="row 1: no column `prompt`"):
        read_rows(Source(file="a.jsonl"), PAIR, tmp_path)
