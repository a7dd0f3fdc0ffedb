"""RMB: helpfulness and harmlessness, by pairs and against all losers."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from tests.harness.conftest import oracle

GOALS = ("helpfulness", "harmlessness")


def turns(number: int) -> list[dict[str, str]]:
    """A conversation of the repository's schema; every third has an earlier exchange."""
    ask = {"role": "user", "content": f"What is {number} + {number}?", "language": "English"}
    before = [{**ask, "content": "Hello!"}, {**ask, "role": "assistant", "content": "Be brief."}]
    return [*before, ask] if number % 3 == 0 else [ask]


def said(text: str) -> dict[str, str]:
    return {"llm_name": "a model", "answer": text}


def pair(number: int, chosen: str = "", rejected: str = "") -> dict[str, Any]:
    """A row of a file of the repository's pairwise set."""
    return {
        "pair_uid": f"pair {number}",
        "conversation_input": turns(number),
        "chosen": said(chosen or f"It is {2 * number}."),
        "reject": said(rejected or f"I cannot help with {number * number}, sorry!"),
        "category_path": "a/path",
    }


def best(number: int, right: str = "", *losers: str) -> dict[str, Any]:
    """A row of a file of the repository's best-of-N set."""
    losers = losers or tuple(f"{number} {word}" for word in ("is it", "0 1 2")[: 1 + number % 2])
    return {
        "bon_uid": f"bon {number}",
        "conversation_input": turns(number),
        "bon_best": said(right or f"It is {2 * number}."),
        "loser_list": [said(loser) for loser in losers],
        "category_path": "a/path",
    }


PAIRS = {"helpfulness": [pair(n) for n in range(4)], "harmlessness": [pair(n) for n in range(4, 9)]}
BEST = {"helpfulness": [best(n) for n in range(5)], "harmlessness": [best(n) for n in range(5, 9)]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The repository's folders, one of which holds two scenarios in folders of their own."""
    for kind, goals in (("pairwise", PAIRS), ("bon", BEST)):
        for goal, rows in goals.items():
            for part, some in (("One/a", rows[:2]), ("Two/b", rows[2:])):
                file = tmp_path / f"rmb-{kind}-{goal}" / f"{part}.json"
                file.parent.mkdir(parents=True)
                file.write_text(json.dumps(some), "utf-8")
    return tmp_path


def test_the_mean_of_both_goals_and_both_rules(
    evaluated: Callable[..., Any], rewards: Callable[..., float], folder: Path
) -> None:
    results, scored = evaluated(folder, "rmb")
    found, expected = results["results"], {}
    conversations = set()

    def reward(row: dict[str, Any], response: dict[str, str]) -> float:
        conversations.add((str(row["conversation_input"]), response["answer"]))
        return rewards(row["conversation_input"], response["answer"])

    for goal in GOALS:
        right = [reward(r, r["chosen"]) > reward(r, r["reject"]) for r in PAIRS[goal]]
        expected[f"rmb-pairwise-{goal}"] = sum(right) / len(right)
        won = [
            reward(r, r["bon_best"]) > max(reward(r, loser) for loser in r["loser_list"])
            for r in BEST[goal]
        ]
        expected[f"rmb-bon-{goal}"] = sum(won) / len(won)
    assert {name: found[name]["accuracy,none"] for name in expected} == expected
    assert found["rmb"]["accuracy,none"] == pytest.approx(sum(expected.values()) / 4)
    assert scored == len(conversations)
    (sample,) = [s for s in results["samples"]["rmb-bon-helpfulness"] if s["doc_id"] == 3]
    assert [sorted(turn) for turn in sample["doc"]["prompt"]] == [["content", "role"]] * 3


def test_a_tie_is_wrong(tasks: Any, write_rows: Callable[..., Path]) -> None:
    """The best response must beat all losers, strictly."""
    import lm_eval

    write_rows([pair(1, "yes 1", "no 1"), pair(2, "yes 2", "no 1")], "rmb-pairwise-helpfulness")
    rows = [best(1, "a 3", "b 3", "c 1"), best(2, "a 3", "b 2", "c 1"), best(4, "a 1", "b 2")]
    folder = write_rows(rows, "rmb-bon-helpfulness")
    results = lm_eval.simple_evaluate(
        oracle(), tasks=["rmb"], task_manager=tasks(data_dir=folder), bootstrap_iters=0
    )["results"]
    assert results["rmb-pairwise-helpfulness"]["accuracy,none"] == 1 / 2
    assert results["rmb-bon-helpfulness"]["accuracy,none"] == pytest.approx(1 / 3)
    assert results["rmb"]["accuracy,none"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert results["rmb"]["alias"].endswith("(partial: 2 of 4 subsets)")


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("pairwise", {"chosen": {"text": "yes"}}, "column chosen holds {'text': 'yes'}, expected"),
        ("pairwise", {"reject": said(None)}, "column reject holds {'llm_name'"),  # type: ignore[arg-type]
        ("pairwise", {"conversation_input": "Hello"}, "column conversation_input is str"),
        ("bon", {"loser_list": []}, "column loser_list is empty, expected one response or more"),
        ("bon", {"loser_list": ["no"]}, 'column loser_list holds no, expected {"answer": text}'),
        ("bon", {"bon_best": said(None)}, "column bon_best holds {'llm_name'"),  # type: ignore[arg-type]
    ],
)
def test_a_row_that_does_not_fit_is_named(
    tasks: Any,
    write_rows: Callable[..., Path],
    kind: str,
    changes: dict[str, Any],
    expected: str,
) -> None:
    make = {"pairwise": pair, "bon": best}[kind]
    name = f"rmb-{kind}-helpfulness"
    folder = write_rows([make(1), {**make(2), **changes}], name)
    with pytest.raises(HarnessError, match=rf"{name}\.jsonl, row 2") as error:
        tasks(data_dir=folder).load([name])
    assert expected in str(error.value) and "\n" not in str(error.value)


def test_without_data_it_says_where_they_are(tasks: Any) -> None:
    with pytest.raises(HarnessError, match=r"no data for rmb-bon-.*Zhou-Zoey/RMB-Reward-Model"):
        tasks().load(["rmb-bon-helpfulness"])


def test_another_number_of_pairs_is_told(
    tasks: Any, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        tasks(data_dir=folder).load(["rmb_pairwise"])
    assert "rmb-pairwise-helpfulness: 4 rows in " in caplog.text
    assert "has 10067: not" in caplog.text and "has 7064: not" in caplog.text
