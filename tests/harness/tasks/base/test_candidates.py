"""What every benchmark's task shares: truncation counts and the kind of score in the table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.rows.answer import Answer, kind_suffix
from tests.harness.conftest import oracle, preference_rows

Tasks = Callable[..., Any]


def evaluate(manager: Any, name: str, model: Any) -> Any:
    import lm_eval

    return lm_eval.simple_evaluate(model, tasks=[name], task_manager=manager, bootstrap_iters=0)


def rows_with_scores() -> list[dict[str, Any]]:
    rows = preference_rows("hep-go", 3) + preference_rows("math-prm", 2, start=3)
    return [{**row, "chosen": "longer 1", "rejected": "it 0"} for row in rows]


def test_an_answer_without_details_is_a_likelihood() -> None:
    assert Answer.of((-3.5, True)) == Answer(-3.5, True, {"kind": "likelihood"})
    assert Answer.of([1.0, False, {"kind": "reward"}]).details == {"kind": "reward"}
    assert kind_suffix({"reward", "likelihood"}) == " [likelihood]"


def test_truncated_rows_are_counted_not_averaged(
    tasks: Tasks, write_rows: Callable[..., Path], reward_model: Path
) -> None:
    """A pair counts once, whichever of its two conversations was cut."""
    from harness.models.reward import Reward

    rows = preference_rows("hep-go", 3) + preference_rows("math-prm", 2, start=3)
    rows[1]["rejected"] = rows[1]["chosen"] = "2 4 " * 120
    rows[4]["rejected"] = "2 4 " * 120
    manager = tasks(data_dir=write_rows(rows))
    results = evaluate(manager, "rewardbench_reasoning", Reward(str(reward_model), max_length=120))
    counted = {name: found.get("truncated,none") for name, found in results["results"].items()}
    assert counted["rewardbench-hep-go"] == 1
    assert counted["rewardbench-math-prm"] == 1
    assert counted["rewardbench_reasoning"] == 2
    first, second = results["samples"]["rewardbench-hep-go"][1]["filtered_resps"]
    assert first[2] == {"kind": "reward", "truncated": True} == second[2]


@pytest.mark.parametrize("kind", ["reward", "likelihood"])
def test_the_table_says_what_kind_of_score_it_is(
    tasks: Tasks, write_rows: Callable[..., Path], kind: str
) -> None:
    from lm_eval.utils import make_table

    manager = tasks(data_dir=write_rows(rows_with_scores()))
    results = evaluate(manager, "rewardbench_reasoning", oracle(kind))
    assert ("[likelihood]" in make_table(results)) == (kind == "likelihood")
    assert ("[likelihood]" in make_table(results, "groups")) == (kind == "likelihood")
    assert results["results"]["rewardbench_reasoning"]["longer,none"] == 1.0


def test_the_longer_answer_is_a_baseline_in_every_table(
    tasks: Tasks, write_rows: Callable[..., Path]
) -> None:
    rows = rows_with_scores()
    rows[0]["chosen"] = "i 1"
    results = evaluate(tasks(data_dir=write_rows(rows)), "rewardbench-hep-go", oracle())
    assert results["results"]["rewardbench-hep-go"]["longer,none"] == pytest.approx(2 / 3)
    assert results["results"]["rewardbench-hep-go"]["accuracy,none"] == 1.0


def test_a_misspelt_metadata_key_is_refused(tasks: Tasks, write_rows: Callable[..., Path]) -> None:
    """It would leave the user's rows aside and take the Hub's."""
    manager = tasks(datadir=write_rows(rows_with_scores()))
    with pytest.raises(HarnessError, match="unknown key 'datadir'; did you mean 'data_dir'"):
        evaluate(manager, "rewardbench-hep-go", oracle())


def test_a_section_without_data_is_named_in_the_overall_score(
    tasks: Tasks, write_rows: Callable[..., Path]
) -> None:
    results = evaluate(tasks(data_dir=write_rows(rows_with_scores())), "rewardbench", oracle())
    alias = results["results"]["rewardbench"]["alias"]
    empty = "rewardbench_chat, rewardbench_chat_hard, rewardbench_safety"
    assert alias.endswith(f"(partial: 2 of 23 subsets, none of {empty})")
