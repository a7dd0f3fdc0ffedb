"""Names of tasks that overlap: each leaf scored once, every group as if it were asked for alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.tasks.base.task_index import task_manager
from tests.harness.conftest import oracle
from tests.harness.tasks.test_preference_test_sets import pairs

ASKED = [
    ["rewardbench", "rewardbench_chat"],
    ["rewardbench_chat", "rewardbench"],
    ["rewardbench", "rewardbench1_with_prior_sets"],
    ["rewardbench-hep-go", "rewardbench_reasoning", "rewardbench"],
    ["rewardbench_safety", "rewardbench-donotanswer"],
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two subsets of a section, one of each other section, and the prior sets."""
    import json

    folder = tmp_path_factory.mktemp("data")
    rows = pairs(3, 4, "alpacaeval-easy") + pairs(1, 4, "hep-go") + pairs(2, 3, "hep-js")
    rows += pairs(2, 4, "llmbar-natural") + pairs(0, 2, "donotanswer")
    (folder / "preference_test_sets").mkdir()
    sets = {"anthropic_helpful": 3, "anthropic_hhh": 1, "shp": 0, "summarize": 2}
    files = {f"preference_test_sets/{name}": pairs(right, 4) for name, right in sets.items()}
    for name, content in {"rewardbench": rows, **files}.items():
        text = "".join(json.dumps(row) + "\n" for row in content)
        (folder / f"{name}.jsonl").write_text(text)
    return folder


class Counting:
    """The oracle, and how many responses it was asked for."""

    def __init__(self) -> None:
        self.model, self.asked = oracle(), 0
        answer = self.model.loglikelihood

        def loglikelihood(requests: Any) -> Any:
            self.asked += len(requests)
            return answer(requests)

        self.model.loglikelihood = loglikelihood


def run(data: Path, names: list[str]) -> tuple[dict[str, Any], int]:
    import lm_eval

    counting = Counting()
    manager = task_manager(metadata={"data_dir": str(data)})
    found = lm_eval.simple_evaluate(
        counting.model, tasks=names, task_manager=manager, bootstrap_iters=0
    )
    assert found is not None
    return found, counting.asked


@pytest.mark.parametrize("names", ASKED, ids=",".join)
def test_each_leaf_is_scored_once_and_every_group_counts_it(data: Path, names: list[str]) -> None:
    """The table is the union of the tables of each name alone."""
    alone = [run(data, [name])[0] for name in names]
    together, asked = run(data, names)
    leaves = {leaf for one in alone for leaf in one["configs"]}
    rows = {leaf: one["n-samples"][leaf]["effective"] for one in alone for leaf in one["configs"]}
    assert asked == 2 * sum(rows.values())
    assert set(together["configs"]) == leaves
    expected = {name: value for one in alone for name, value in one["results"].items()}
    assert together["results"] == expected


def test_a_kind_of_score_is_told_of_every_group(data: Path) -> None:
    """The groups share the leaves, and so what the leaves were told by the model."""
    import lm_eval

    manager = task_manager(metadata={"data_dir": str(data)})
    found = lm_eval.simple_evaluate(
        oracle("likelihood"), tasks=ASKED[0], task_manager=manager, bootstrap_iters=0
    )
    assert found is not None
    aliases = [found["results"][name]["alias"] for name in ASKED[0]]
    assert all("[likelihood]" in alias for alias in aliases), aliases


def test_the_same_leaf_with_other_settings_is_refused(data: Path, tmp_path: Path) -> None:
    """A group of the user's own may set a leaf's keys: then the two are not one task."""
    (tmp_path / "mine.yaml").write_text(
        "group: mine\ntask:\n  - task: rewardbench-hep-go\n    repeats: 2\n"
    )
    manager = task_manager([tmp_path], metadata={"data_dir": str(data)})
    with pytest.raises(HarnessError, match="names rewardbench-hep-go twice, in mine and in rew"):
        manager.load(["mine", "rewardbench_reasoning"])


def test_lm_evals_own_duplicates_are_its_to_refuse(
    tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    """Tasks that are not ours end as they did."""
    write_rows([{"question": "1 + 1", "answer": "2"}], "sums")
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(f"group: {name}\ntask:\n  - theirs\n")
    (tmp_path / "theirs.yaml").write_text(
        "task: theirs\ndataset_path: json\noutput_type: generate_until\ntest_split: train\n"
        f"dataset_kwargs: {{data_files: {tmp_path}/data/sums.jsonl}}\n"
        "doc_to_text: '{{question}}'\ndoc_to_target: '{{answer}}'\n"
    )
    manager = task_manager([tmp_path])
    with pytest.raises(ValueError, match=r"^Duplicate task 'theirs': found in both 'one' and"):
        manager.load(["one", "two"])
