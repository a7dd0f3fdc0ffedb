"""PPE Correctness: five sets of 32 responses a prompt, by pairs and as best-of-K."""

from __future__ import annotations

import itertools
import json
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.bon.curves import read_curves
from harness.errors import HarnessError
from tests.harness.conftest import oracle

Write = Callable[..., Path]

SETS = ("MMLU-Pro", "MATH", "GPQA", "MBPP-Plus", "IFEval")
K = 32


def row(number: int, name: str, pairs: int = 5, equal: bool = False) -> dict[str, Any]:
    """A row of the Hub's schema; `equal`: all responses end with one reward."""
    draw = random.Random(f"{name} {number}")
    scores = [draw.randint(0, 1) for _ in range(K - 2)] + [0, 1]
    mixed = [[i, j] for i, j in itertools.permutations(range(K), 2) if scores[i] != scores[j]]
    chosen = draw.sample(mixed, pairs)
    return {
        "question_id": number,
        "prompt": f"What is {number} + {number} ({name})?",
        **{f"response_{at + 1}": f"Way {at}: {1 if equal else draw.random()}" for at in range(K)},
        "scores": [bool(score) for score in scores],  # as the Hub has them
        "sampled_conflict_pairs": [*chosen[:-1], chosen[0]] if pairs > 1 else chosen,  # a repeat
    }


def write_sets(write_rows: Write, sets: tuple[str, ...] = SETS) -> Path:
    for name in sets:
        folder = write_rows([row(n, name) for n in range(2)], f"ppe_correctness-{name}")
    return folder


def official(rows: list[dict[str, Any]], reward: Callable[..., float]) -> float:
    """Of all pairs of a set, those whose response with the greater score has the greater reward."""
    right = total = 0
    for one in rows:
        given = [reward(one["prompt"], one[f"response_{at + 1}"]) for at in range(K)]
        for i, j in one["sampled_conflict_pairs"]:
            more, less = (i, j) if one["scores"][i] > one["scores"][j] else (j, i)
            right += given[more] > given[less]
            total += 1
    return right / total


def test_the_mean_of_five_accuracies(
    evaluated: Callable[..., Any],
    rewards: Callable[..., float],
    write_rows: Write,
    tmp_path: Path,
) -> None:
    """Both forms in one run ask for the same 32 conversations a prompt, scored once."""
    results, scored = evaluated(write_sets(write_rows), "ppe_correctness", "ppe_best_of_k")
    assert scored == len(SETS) * 2 * K
    found, accuracies = results["results"], []
    for name in SETS:
        rows = [row(n, name) for n in range(2)]
        accuracies.append(official(rows, rewards))
        assert found[f"ppe_correctness-{name}"]["accuracy,none"] == pytest.approx(accuracies[-1])
        best = []
        for one in rows:
            given = [rewards(one["prompt"], one[f"response_{at + 1}"]) for at in range(K)]
            best.append(one["scores"][given.index(max(given))])
        leaf = found[f"ppe_best_of_k-{name}"]
        assert leaf["best_of_n@32,none"] == sum(best) / 2
        assert leaf["random,none"] == leaf["best_of_n@1,none"]
        assert leaf["oracle@32,none"] == 1
    assert found["ppe_correctness"]["accuracy,none"] == pytest.approx(sum(accuracies) / 5)
    at_32 = [found[f"ppe_best_of_k-{name}"]["best_of_n@32,none"] for name in SETS]
    assert found["ppe_best_of_k"]["best_of_n@32,none"] == pytest.approx(sum(at_32) / 5)
    assert len(set(accuracies)) > 1
    file = tmp_path / "results_now.json"
    file.write_text(json.dumps({k: results[k] for k in ("results", "groups", "n-samples")}))
    curves = read_curves([f"tiny={file}"])  # of the sets, not of their group
    assert sorted(curves) == sorted(f"ppe_best_of_k-{name}" for name in SETS)
    assert [curves[f"ppe_best_of_k-{s}"].models["tiny"][32].value for s in SETS] == at_32


def test_a_tie_is_wrong_and_shares_the_choice(tasks: Any, write_rows: Write) -> None:
    import lm_eval

    one = row(1, "MATH", equal=True)
    manager = tasks(data_dir=write_rows([one], "ppe_correctness-MATH"))
    names = ["ppe_correctness-MATH", "ppe_best_of_k-MATH"]
    found = lm_eval.simple_evaluate(oracle(), tasks=names, task_manager=manager)["results"]
    assert found[names[0]]["accuracy,none"] == 0 and found[names[0]]["ties,none"] == 1
    assert found[names[1]]["best_of_n@32,none"] == pytest.approx(sum(one["scores"]) / K)


def test_sets_without_a_file_are_absent(tasks: Any, write_rows: Write) -> None:
    import lm_eval

    manager = tasks(data_dir=write_sets(write_rows, ("GPQA", "IFEval")))
    results = lm_eval.simple_evaluate(
        oracle(), tasks=["ppe_correctness"], task_manager=manager, bootstrap_iters=0
    )["results"]
    assert results["ppe_correctness"]["alias"].endswith("(partial: 2 of 5 subsets)")
    mean = sum(results[f"ppe_correctness-{name}"]["accuracy,none"] for name in ("GPQA", "IFEval"))
    assert results["ppe_correctness"]["accuracy,none"] == pytest.approx(mean / 2)


def test_unlike_numbers_of_pairs_are_told(
    tasks: Any, write_rows: Write, caplog: pytest.LogCaptureFixture
) -> None:
    """A prompt without a pair is left out of the accuracy, not of best-of-K."""
    rows = [row(0, "MATH"), row(1, "MATH", pairs=1), row(2, "MATH", pairs=0)]
    manager = tasks(data_dir=write_rows(rows, "ppe_correctness-MATH"))
    with caplog.at_level(logging.WARNING):
        loaded = manager.load(["ppe_correctness-MATH", "ppe_best_of_k-MATH"])["tasks"]
    assert "the rows have 0 to 5 pairs each" in caplog.text
    assert caplog.text.count("3 rows in ") == caplog.text.count("official set has 512") == 1
    assert len(loaded["ppe_correctness-MATH"].eval_docs) == 2
    assert len(loaded["ppe_best_of_k-MATH"].eval_docs) == 3


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"scores": [0, 1]}, "column scores is 2 values [0, 1], expected 0 or 1 for each of 32"),
        ({"scores": [0.5] * K}, "column scores is 32 values [0.5,"),
        ({"sampled_conflict_pairs": [[1, 32]]}, "holds [1, 32], expected two places"),
        ({"sampled_conflict_pairs": [3]}, "column sampled_conflict_pairs holds 3, expected two"),
        ({"scores": [1] * K}, "but column scores has 1 for both; expected one right and one wrong"),
        ({"response_32": None}, "column response_32 is NoneType"),
    ],
)
def test_a_row_that_does_not_fit_is_named(
    tasks: Any, write_rows: Write, changes: dict[str, Any], expected: str
) -> None:
    rows = [row(0, "MATH"), {**row(1, "MATH"), **changes}]
    folder = write_rows(rows, "ppe_correctness-MATH")
    with pytest.raises(HarnessError, match=r"ppe_correctness-MATH\.jsonl, row 2") as error:
        tasks(data_dir=folder).load(["ppe_correctness-MATH"])
    assert expected in str(error.value) and "\n" not in str(error.value)
