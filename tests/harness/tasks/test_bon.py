"""Best-of-N by real lm-eval runs."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.tasks.bon.answers import gsm8k_answer
from tests.harness.conftest import oracle

Tasks = Callable[..., Any]
Write = Callable[..., Path]


def question(rewards: list[float], labels: list[Any], **more: Any) -> dict[str, Any]:
    """A question whose candidates get these rewards from the `oracle` model."""
    responses = [f"reward {reward}" for reward in rewards]
    return {"prompt": "What is it?", "responses": responses, "labels": labels, **more}


def run(manager: Any, name: str, model: Any = None, **options: Any) -> Any:
    import lm_eval

    return lm_eval.simple_evaluate(model or oracle(), tasks=[name], task_manager=manager, **options)


def values(results: Any, name: str) -> dict[str, Any]:
    found = results["results"][name]
    return {key.removesuffix(",none"): value for key, value in found.items() if "," in key}


def test_every_n_on_a_hand_worked_file(tasks: Tasks, write_rows: Write) -> None:
    rows = [
        question([3, 2, 1, 0], [1, 0, 0, 0], answers=["a", "b", "b", None]),
        question([0, 0, 5, 1], [True, False, False, True], answers=["x", "y", "y", "x"]),
    ]
    rows[0]["responses"][3] += " " * 20 + "0"  # the longest is a wrong one
    rows[1]["responses"][0] = "a longer one: reward 0"  # and here a right one
    results = run(tasks(data_dir=write_rows(rows, "bon")), "bon")
    found = values(results, "bon")
    expected = {
        "random": (1 / 4 + 1 / 2) / 2,
        "best_of_n@1": (1 / 4 + 1 / 2) / 2,
        # first row: 3 of 6 pairs have the best; second: pairs 5|0 5|0 5|1 wrong, 1|0 1|0 right,
        # 0|0 half
        "best_of_n@2": (3 / 6 + (2 + 1 / 2) / 6) / 2,
        "best_of_n@4": (1 + 0) / 2,
        "oracle@1": (1 / 4 + 1 / 2) / 2,
        "oracle@2": (3 / 6 + 5 / 6) / 2,
        "oracle@4": 1.0,
        "longest@4": (0 + 1) / 2,
        # a|b a|b: half each, a|None: all; the others have no a. x and y are alike.
        "majority@2": ((1 / 2 + 1 / 2 + 1) / 6 + 1 / 2) / 2,
        "majority@4": (0 + 1 / 2) / 2,
        # e**3 against e**2 + e, and y's 1 + e**5 against x's 1 + e
        "weighted_best_of_n@4": (1 + 0) / 2,
        "truncated": 0,
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name
    assert set(found) == set(expected) | {"longest@1", "longest@2", "majority@1"} | {
        "weighted_best_of_n@1",
        "weighted_best_of_n@2",
        *(key for key in found if "_stderr" in key),
    }
    # the standard error is that of a mean of two: half the difference
    assert found["best_of_n@4_stderr"] == pytest.approx(1 / 2)
    assert found["oracle@2_stderr"] == pytest.approx(1 / 6)
    assert found["random_stderr"] == pytest.approx(1 / 8)


def test_each_candidate_is_one_request(tasks: Tasks, write_rows: Write) -> None:
    prompt = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "def f(x):\n"},
    ]
    rows = [question([1, 2, 3], [0, 1, 0]) | {"prompt": prompt}]
    rows[0]["responses"][1] = "    return x  # 2"
    results = run(tasks(data_dir=write_rows(rows, "bon_humaneval")), "bon_humaneval", limit=1)
    (sample,) = results["samples"]["bon_humaneval"]
    assert [request[1] for request in sample["arguments"]] == rows[0]["responses"]
    assert {request[0].messages[-1]["content"] for request in sample["arguments"]} == {
        "def f(x):\n"
    }
    assert [answer[0] for answer in sample["filtered_resps"]] == [1, 2, 3]
    assert sample["best_of_n@2"] == pytest.approx(1 / 3)
    assert not any(name.startswith("majority") for name in sample["metrics"])
    json.dumps(results["samples"], default=str)


def test_gsm8k_votes_with_the_numbers_in_the_responses(tasks: Tasks, write_rows: Write) -> None:
    rows = [question([1, 2, 3], [1, 1, 0])]
    rows[0]["responses"] = ["#### 1,200\nreward 1", "It is $1200.00", "The answer is 7. 3"]
    manager = tasks(data_dir=write_rows(rows, "bon_gsm8k"))
    (sample,) = run(manager, "bon_gsm8k", model=LengthModel())["samples"]["bon_gsm8k"]
    assert sample["doc"]["answers"] == ["1200", "1200", "7"]
    assert sample["majority@2"] == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)


def test_each_answer_is_found_once(
    tasks: Tasks, write_rows: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the task asks for its documents twice; another file's are found anew."""
    found: list[str] = []
    monkeypatch.setattr(
        "harness.tasks.bon.task.gsm8k_answer", lambda text: found.append(text) or gsm8k_answer(text)
    )
    for first in (1, 2):
        manager = tasks(data_dir=write_rows([question([first, 3], [1, 0])], "bon_gsm8k"))
        (sample,) = run(manager, "bon_gsm8k")["samples"]["bon_gsm8k"]
        assert sample["doc"]["answers"] == [f"{first}", "3"]
    assert found == ["reward 1", "reward 3", "reward 2", "reward 3"]


def test_gsm8k_reads_given_answers_by_the_same_rule(tasks: Tasks, write_rows: Write) -> None:
    rows = [question([1, 2, 3, 4], [1, 1, 0, 0], answers=["1,200", 1200, "1200.", None])]
    manager = tasks(data_dir=write_rows(rows, "bon_gsm8k"))
    (sample,) = run(manager, "bon_gsm8k")["samples"]["bon_gsm8k"]
    assert sample["doc"]["answers"] == ["1200", "1200", "1200", None]
    assert sample["majority@4"] == pytest.approx(2 / 3)


def LengthModel() -> Any:
    from lm_eval.api.model import LM

    class Length(LM):
        def loglikelihood(self, requests: Any) -> list[tuple[Any, ...]]:
            return [(-float(len(r.args[1])), False) for r in requests]

        def loglikelihood_rolling(self, requests: Any) -> Any: ...

        def generate_until(self, requests: Any) -> Any: ...

    return Length()


def test_likelihoods_choose_too_and_the_table_says_so(tasks: Tasks, write_rows: Write) -> None:
    from lm_eval.utils import make_table

    rows = [question([1, 22], [1, 0])]
    results = run(tasks(data_dir=write_rows(rows, "bon")), "bon", model=LengthModel())
    assert values(results, "bon")["best_of_n@2"] == 1
    assert "bon [likelihood]" in make_table(results)
    assert "truncated" not in values(results, "bon")


def test_a_reward_that_is_not_a_number_is_never_chosen(tasks: Tasks, write_rows: Write) -> None:
    rows = [question([float("nan"), 1], [1, 0]), question([float("nan"), 1], [0, 1])]
    found = values(run(tasks(data_dir=write_rows(rows, "bon")), "bon"), "bon")
    assert found["best_of_n@2"] == 1 / 2
    assert found["best_of_n@1"] == 1 / 4 and found["random"] == 1 / 2


def test_a_question_with_fewer_candidates_counts_with_all_it_has(
    tasks: Tasks, write_rows: Write, caplog: pytest.LogCaptureFixture
) -> None:
    """Nine of ten have four, so @4 is reported, over all ten questions."""
    rows = [question([4, 3, 2, 1], [1, 0, 0, 0]) for _ in range(9)]
    rows.append(question([1, 2, 3], [0, 0, 1]))
    with caplog.at_level(logging.WARNING):
        results = run(tasks(data_dir=write_rows(rows, "bon")), "bon")
    found = values(results, "bon")
    assert found["best_of_n@4"] == 1 and "best_of_n@8" not in found
    assert "1 of 10 questions have fewer than 4 candidates (one has 3)" in caplog.text
    assert "same number of documents" not in caplog.text  # lm-eval's warning
    assert results["n-samples"]["bon"]["effective"] == 10


def test_n_stops_where_too_few_questions_have_as_many(
    tasks: Tasks, write_rows: Write, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [question([4, 3, 2, 1], [1, 0, 0, 0]), question([1, 2], [0, 1])]
    with caplog.at_level(logging.WARNING):
        found = values(run(tasks(data_dir=write_rows(rows, "bon")), "bon"), "bon")
    assert "best_of_n@2" in found and "best_of_n@4" not in found
    assert "fewer than" not in caplog.text
    assert found["oracle@2"] == pytest.approx((1 / 2 + 1) / 2)


def test_answers_in_a_part_of_the_rows_are_no_vote(
    tasks: Tasks, write_rows: Write, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [question([1, 2], [1, 0], answers=["a", "b"]), question([1, 2], [1, 0])]
    with caplog.at_level(logging.WARNING):
        found = values(run(tasks(data_dir=write_rows(rows, "bon")), "bon"), "bon")
    assert "majority@1" not in found
    assert "no majority vote, as 1 of 2 questions have no column answers" in caplog.text


def test_empty_candidates_are_scored_and_said(
    tasks: Tasks, write_rows: Write, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [question([1, 2], [1, 0])]
    rows[0]["responses"][0] = " \n"
    folder = write_rows(rows, "bon")
    with caplog.at_level(logging.WARNING):
        found = values(run(tasks(data_dir=folder), "bon", model=LengthModel()), "bon")
    assert found["best_of_n@2"] == 1  # the shortest has the highest likelihood
    assert f"1 of 2 candidates in {folder}/bon.jsonl are empty" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [1]}, "2 responses but 1 labels"),
        ({"labels": [1, 2]}, "column labels, candidate 2 is 2, expected 1 .correct. or 0"),
        ({"labels": [1, "0"]}, "column labels, candidate 2 is '0'"),
        ({"labels": [0.5, 1]}, "column labels, candidate 1 is 0.5"),
        ({"labels": "10"}, "column labels is str"),
        ({"responses": [], "labels": []}, "column responses is empty"),
        ({"responses": ["a", None]}, "column responses, candidate 2 is NoneType"),
        ({"responses": "ab"}, "column responses is str"),
        ({"answers": ["a"]}, "column answers must be a list of 2"),
        ({"answers": ["a", ["b"]]}, "column answers, candidate 2"),
        ({"prompt": []}, "column prompt"),
        ({"prompt": 3}, "column prompt is int"),
    ],
)
def test_rows_that_do_not_fit_are_named(
    tasks: Tasks, write_rows: Write, changes: dict[str, Any], message: str
) -> None:
    folder = write_rows([question([1, 2], [1, 0]), question([1, 2], [1, 0]) | changes], "bon")
    with pytest.raises(HarnessError, match=rf"bon.jsonl, row 2.*{message}") as error:
        run(tasks(data_dir=folder), "bon")
    assert "\n" not in str(error.value)


def test_unknown_columns_an_empty_file_and_no_file_are_errors(
    tasks: Tasks, write_rows: Write
) -> None:
    folder = write_rows([{"prompt": "a", "chosen": "b", "rejected": "c"}], "bon_mbpp")
    with pytest.raises(HarnessError, match="no column responses, labels"):
        run(tasks(data_dir=folder), "bon_mbpp")
    with pytest.raises(HarnessError, match=r"has no bon_gsm8k.jsonl"):
        run(tasks(data_dir=folder), "bon_gsm8k")
    (folder / "bon.jsonl").write_text("\n")
    with pytest.raises(HarnessError, match="holds no rows"):
        run(tasks(data_dir=folder), "bon")
    with pytest.raises(HarnessError, match=r"no data for bon_humaneval: put bon_humaneval.jsonl"):
        run(tasks(), "bon_humaneval")


def test_a_yaml_of_five_lines_takes_any_file(tmp_path: Path) -> None:
    from lm_eval.tasks import TaskManager

    rows = [question([2, 1], [1, 0]), question([2, 1], [0, 1])]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "my_bon.yaml").write_text(
        "task: my_bon\n"
        "class: !function harness.tasks.bon.task.BestOfN\n"
        "test_split: test\n"
        "dataset_kwargs: {benchmark: my_bon, packaged: mine.jsonl}\n"
    )
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    assert values(run(manager, "my_bon"), "my_bon")["best_of_n@2"] == 1 / 2


def test_a_yaml_can_take_one_subset(tmp_path: Path) -> None:
    """N and the vote are then those of the subset's questions."""
    from lm_eval.tasks import TaskManager

    rows = [
        question([2, 1], [1, 0], subset="algebra", answers=["1", "2"]),
        question([4, 3, 2, 1], [0, 0, 0, 1], subset="geometry"),
    ]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "algebra.yaml").write_text(
        "task: my_bon-algebra\n"
        "dataset_name: algebra\n"
        "class: !function harness.tasks.bon.task.BestOfN\n"
        "test_split: test\n"
        "dataset_kwargs: {benchmark: my_bon, packaged: mine.jsonl}\n"
    )
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    found = values(run(manager, "my_bon-algebra"), "my_bon-algebra")
    assert found["best_of_n@2"] == 1 and "best_of_n@4" not in found
    assert found["majority@2"] == 1 / 2


def test_the_glob_selects_the_benchmarks(tasks: Tasks) -> None:
    assert tasks().match_tasks(["bon_*"]) == ["bon_gsm8k", "bon_humaneval", "bon_mbpp"]


REAL = Path(__file__).parents[4] / "shared" / "data" / "eval"


@pytest.mark.skipif(not (REAL / "bon_gsm8k.jsonl").is_file(), reason="no ../shared/data/eval")
def test_the_real_candidates_give_their_known_figures(
    tasks: Tasks, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        manager = tasks(data_dir=REAL)
        gsm8k = run(manager, "bon_gsm8k", model=LengthModel(), bootstrap_iters=0)
        humaneval = run(manager, "bon_humaneval", model=LengthModel(), bootstrap_iters=0)
    assert "official set" not in caplog.text  # 1,319 and 164 questions
    found = values(gsm8k, "bon_gsm8k")
    assert found["random"] == pytest.approx(0.379, abs=5e-4)
    assert found["oracle@4"] == pytest.approx(0.672, abs=1e-3)
    assert found["random"] < found["majority@4"] < found["oracle@4"]
    assert found["majority@2"] == pytest.approx(found["random"], abs=1e-12)
    found = values(humaneval, "bon_humaneval")
    assert found["random"] == pytest.approx(0.217, abs=1e-3)
    assert found["oracle@16"] == pytest.approx(0.555, abs=1e-3)


@pytest.mark.skipif(not (REAL / "bon_gsm8k.jsonl").is_file(), reason="no ../shared/data/eval")
def test_real_candidates_with_one_answer_have_one_label() -> None:
    """So the rule finds the numbers that the labels were given for."""
    groups: Counter[tuple[int, str | None]] = Counter()
    right: Counter[tuple[int, str | None]] = Counter()
    for number, line in enumerate((REAL / "bon_gsm8k.jsonl").read_text("utf-8").splitlines()):
        row = json.loads(line)
        for response, label in zip(row["responses"], row["labels"], strict=True):
            groups[number, gsm8k_answer(response)] += 1
            right[number, gsm8k_answer(response)] += label
    assert len(groups) > 3000
    assert all(right[group] in (0, count) for group, count in groups.items())
