"""The rows that choose and those that prove: loaded by name, never the same, divided by prompt."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.rows.documents import Docs
from harness.sweep import division, rows
from tests.harness.conftest import preference_rows
from tests.harness.sweep.sweeping import TASK, pairs

CHAT, MATH = "alpacaeval-easy", "math-prm"


@pytest.fixture
def task(tmp_path: Path) -> Callable[..., str]:
    """Writes a task of one's own pairs and gives its YAML."""

    def write(name: str, found: list[dict[str, Any]], more: str = "", file: str = "") -> str:
        data = tmp_path / f"{file or name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in found), "utf-8")
        path = tmp_path / f"{file or name}.yaml"
        path.write_text(TASK.format(name=name, data=data) + more, "utf-8")
        return str(path)

    return write


def sides(found: list[rows.Rows]) -> dict[str, list[str]]:
    """The prompts of all documents of each side."""
    return {
        role: [
            str(doc["prompt"])
            for one in found
            if one.role == role
            for task in one.leaves.values()
            for doc in task.eval_docs
        ]
        for role in (rows.SELECT, rows.REPORT)
    }


def test_names_globs_and_files(write_rows: Callable[..., Path], task: Callable[..., str]) -> None:
    """A task given by its YAML is called as the YAML says; a glob takes what there is data for."""
    data = write_rows([*preference_rows(CHAT, 3), *preference_rows(MATH, 4)])
    mine = task("prefs", pairs("mine", 5), file="another-name")
    found = rows.load([mine], ["rewardbench_[cr]*"], metadata={"data_dir": str(data)})
    assert [(one.name, one.role) for one in found] == [
        ("prefs", "select"),
        ("rewardbench_chat", "report"),
        ("rewardbench_reasoning", "report"),
    ]
    assert set(found[2].leaves) == {f"rewardbench-{MATH}"}
    assert len(found[0].prompts()) == 5


def test_a_task_is_found_in_a_folder(tmp_path: Path, task: Callable[..., str]) -> None:
    """By its name or by its tag, which stands for several."""
    task("one", pairs("one", 2), "tag: ours\n")
    task("two", pairs("two", 2), "tag: ours\n")
    task("three", pairs("three", 2))
    found = rows.load(["ours"], ["three"], include_path=[tmp_path])
    assert [(one.name, list(one.leaves)) for one in found] == [
        ("one", ["one"]),
        ("two", ["two"]),
        ("three", ["three"]),
    ]


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ("rewardbnch", "no task 'rewardbnch' among this project's; did you mean rewardbench, "),
        ("gsm8k", "no task 'gsm8k' among this project's"),
        ("rewardbench_x*", "no task 'rewardbench_x*'"),
        ("nowhere.yaml", "nowhere.yaml: no such file; expected a task's YAML"),
        ("minipref,minipref-math", "minipref-math is there twice, in minipref and in minipref-ma"),
        ("rewardbench-donotanswer", "rewardbench-donotanswer: no row in the data at hand"),
    ],
)
def test_a_wrong_name_is_refused(
    select: str, message: str, write_rows: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOGERM_DATA_DIR", str(write_rows(preference_rows(CHAT, 3))))
    with pytest.raises(HarnessError) as error:
        rows.load(select.split(","), [])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "task: a\ndataset_path: json\ndataset_kwargs: {data_files: DATA, cache_dir: CACHE}\n"
            "test_split: train\noutput_type: multiple_choice\ndoc_to_choice: [a, b]\n"
            "doc_to_text: prompt\ndoc_to_target: 0\n",
            "a is not a task of scored candidates, which a reward model needs",
        ),
        ("task: a\ndataset_path: json\ndataset_kwargs: {data_files: no}\n", "can't be loaded"),
        ("task: [", "can't be loaded as a task"),
        ("a: 1\n", "can't be loaded as a task"),
        ("task: a\nclass: !function harness.nowhere.Nothing\n", "can't be loaded as a task"),
        (
            "task: a/b\nclass: !function harness.own_data.OwnPreferences\ndataset_path: DATA\n",
            "a task can't be called 'a/b'",
        ),
    ],
)
def test_a_yaml_that_is_no_task_is_told_in_one_error(
    text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "data.jsonl").write_text(json.dumps(pairs("a", 1)[0]), "utf-8")
    path = tmp_path / "task.yaml"
    text = text.replace("DATA", str(tmp_path / "data.jsonl"))
    path.write_text(text.replace("CACHE", str(tmp_path / "cache")), "utf-8")
    with pytest.raises(HarnessError, match=message):
        rows.load([str(path)], [])


def test_rows_that_choose_are_not_reported(task: Callable[..., str]) -> None:
    """By the prompt's text, whatever the task, the responses and the blanks around it."""
    shared = {**pairs("one", 1)[0], "chosen": "other", "rejected": "others"}
    shared["prompt"] = [{"role": "user", "content": f" {shared['prompt']}\n"}]
    select, report = task("one", pairs("one", 3)), task("two", [*pairs("two", 3), shared])
    with pytest.raises(HarnessError) as error:
        rows.load([select], [report])
    assert str(error.value) == (
        "1 prompts of two are also in one, which chooses λ ('user: What is 0 and 1? (one)'): a "
        "gain on them would prove nothing; report other tasks, or divide one by its prompts with "
        "--split-select 0.2"
    )
    with pytest.raises(HarnessError, match=r"leave one out of --report, which has the rest"):
        rows.load([select], [select], split=0.5)


def test_a_prompt_of_ties_is_known_in_another_task(
    write_rows: Callable[..., Path], task: Callable[..., str]
) -> None:
    """Its documents belong together by number, but a prompt is a prompt."""
    prompt = "Name a colour. (ref 0)"
    data = write_rows(ties(2), benchmark="rewardbench2")
    select = task("one", [{"prompt": prompt, "chosen": "red", "rejected": "two"}])
    with pytest.raises(HarnessError, match="1 prompts of rewardbench2-Ties are also in one"):
        rows.load([select], ["rewardbench2-Ties"], metadata={"data_dir": str(data)})


def ties(count: int, prompt: str = "Name a colour. ({kind} {n})") -> list[dict[str, Any]]:
    """RewardBench 2's Ties: as many pairs of prompts."""
    correct = {"ref": ["red"], "tied": ["red", "blue"]}
    return [
        {
            "id": f"{kind}:{n}",
            "prompt": prompt.format(kind=kind, n=n),
            "chosen": chosen,
            "rejected": ["a dog"],
            "num_correct": len(chosen),
            "subset": "Ties",
        }
        for kind, chosen in correct.items()
        for n in range(count)
    ]


def test_both_prompts_of_a_tie_stay_together(write_rows: Callable[..., Path]) -> None:
    data = write_rows(ties(30), benchmark="rewardbench2")
    found = rows.load(["rewardbench2-Ties"], [], split=0.3, metadata={"data_dir": str(data)})
    for one in found:
        ids = [doc["id"] for task in one.leaves.values() for doc in task.eval_docs]
        kinds = {kind: {i.partition(":")[2] for i in ids if i.startswith(kind)} for kind in
                 ("ref", "tied")}  # fmt: skip
        assert kinds["ref"] == kinds["tied"] != set()
    assert sum(len(prompts) for prompts in sides(found).values()) == 60


def test_a_split_divides_every_task_by_its_prompts(task: Callable[..., str]) -> None:
    """About the share that is asked for; other tasks are reported as they are."""
    mine, other = task("mine", pairs("mine", 200)), task("other", pairs("other", 7))
    found = rows.load([mine], [other], split=0.2)
    assert [(one.name, one.role) for one in found] == [
        ("mine", "select"),
        ("mine", "report"),
        ("other", "report"),
    ]
    chosen, rest, whole = (len(one.prompts()) for one in found)
    assert (chosen + rest, whole) == (200, 7)
    assert 20 < chosen < 60
    larger = rows.load([mine], [], split=0.4)
    assert found[0].prompts() < larger[0].prompts()


def test_two_tasks_with_a_prompt_in_common_have_it_on_one_side(task: Callable[..., str]) -> None:
    one, two = task("one", pairs("both", 60)), task("two", pairs("both", 60, start=30))
    found = sides(rows.load([one, two], [], split=0.5))
    assert not set(found["select"]) & set(found["report"])
    assert sum(map(len, found.values())) == 120


class Paired:
    """A task as `division` sees it, whose documents are prompt and unit."""

    class config:
        test_split = "test"

    def __init__(self, found: list[tuple[str, str]]) -> None:
        self.dataset = {"test": Docs({"prompt": prompt, "unit": unit} for prompt, unit in found)}

    def unit(self, doc: dict[str, Any]) -> str:
        return str(doc["unit"])


PROMPTS = st.sampled_from(["a", "b", "c", "d", "e", "f"])
DOCS = st.lists(st.tuples(PROMPTS, st.sampled_from(["1", "2", "3", "4"])), min_size=1, max_size=9)


@given(st.lists(DOCS, min_size=1, max_size=3), st.floats(0.05, 0.95), st.randoms())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_no_prompt_and_no_unit_is_ever_on_both_sides(
    tasks: list[list[tuple[str, str]]], share: float, random: Any
) -> None:
    """Every document is on one side, and on the same one whatever the order of the rows."""

    def divided(given: list[list[tuple[str, str]]]) -> tuple[list[Any], list[Any]] | None:
        pair: Any = [[{str(n): Paired(t) for n, t in enumerate(given)}] for _ in range(2)]
        try:
            division.divide(pair[0], pair[1], share, "--split")
        except HarnessError:
            return None
        return tuple(  # type: ignore[return-value]
            sorted((name, doc["prompt"], doc["unit"]) for name, task in side[0].items()
                   for doc in task.dataset["test"])
            for side in pair
        )  # fmt: skip

    shuffled = [random.sample(docs, len(docs)) for docs in tasks]
    found = divided(tasks)
    assert divided(shuffled) == found
    if found is None:
        return
    left, right = found
    assert sorted([*left, *right]) == sorted(
        (str(n), *doc) for n, docs in enumerate(tasks) for doc in docs
    )
    for column in (1, 2):
        assert not {doc[column] for doc in left} & {doc[column] for doc in right}


def test_a_section_with_too_few_rows_is_refused(write_rows: Callable[..., Path]) -> None:
    data = write_rows([*preference_rows(CHAT, 60), *preference_rows(MATH, 1)])
    with pytest.raises(HarnessError) as error:
        rows.load(["rewardbench"], [], split=0.5, metadata={"data_dir": str(data)})
    assert "--split-select 0.5 leaves none of the 1 rows of rewardbench-math-prm" in str(
        error.value
    )
    assert "choose another share, or name only tasks with more rows" in str(error.value)


def digest(yaml: str, **options: Any) -> str:
    return rows.load([yaml], [], **options)[0].digest()


def test_the_digest_is_of_rows_and_settings_not_of_places(
    task: Callable[..., str], tmp_path: Path
) -> None:
    first = digest(task("mine", pairs("mine", 4)))
    assert digest(task("mine", pairs("mine", 4), file="copy")) == first
    assert digest(task("mine", pairs("mine", 4), "task_alias: my own\n")) == first
    changed = pairs("mine", 4)
    changed[2]["rejected"] += " "
    others = {
        "row": digest(task("mine", changed)),
        "order": digest(task("mine", pairs("mine", 4)[::-1])),
        "name": digest(task("yours", pairs("mine", 4))),
        "weight": digest(task("mine", pairs("mine", 4), "metadata: {weight: 2}\n")),
        "part": rows.load([task("mine", pairs("mine", 4))], [], split=0.5)[0].digest(),
    }
    assert len({first, *others.values()}) == 6


def test_the_digest_is_of_the_groups_rules(tmp_path: Path, task: Callable[..., str]) -> None:
    task("one", pairs("one", 2))
    task("two", pairs("two", 3))
    found = set()
    for rule in ("weight_by_size: true", "weight_by_size: false"):
        (tmp_path / "both.yaml").write_text(
            "group: both\ntask: [one, two]\naggregate_metric_list:\n"
            f"  - metric: accuracy\n    aggregation: mean\n    {rule}\n",
            "utf-8",
        )
        found.add(digest("both", include_path=[tmp_path]))
    assert len(found) == 2


def test_the_digest_is_of_a_users_own_class(tmp_path: Path) -> None:
    """Its code decides what a row is worth, and no version tells of it."""
    (tmp_path / "data.jsonl").write_text(json.dumps(pairs("a", 1)[0]), "utf-8")
    (tmp_path / "mine.yaml").write_text(
        f"task: mine\nclass: !function mine.Mine\ndataset_path: {tmp_path / 'data.jsonl'}\n",
        "utf-8",
    )
    code = (
        "from harness.tasks.base.own_data import OwnPreferences\n\nclass Mine(OwnPreferences):\n"
        "    def score(self, doc, scores):\n        return {**super().score(doc, scores), %s}\n"
    )
    found = []
    for more in ("'margin': 1.0", "'margin': 2.0", "'margin': 1.0"):
        (tmp_path / "mine.py").write_text(code % more, "utf-8")
        found.append(digest(str(tmp_path / "mine.yaml")))
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("acuracy", "minipref has no metric 'acuracy' (it has: accuracy, longer, margin, ties); "),
        ("truncated", "no metric 'truncated'"),
        ("", "no metric ''"),
    ],
)
def test_a_metric_that_a_task_lacks_is_told_at_once(metric: str, message: str) -> None:
    found = rows.load(["minipref"], [])
    rows.check_metric(found, "accuracy")
    rows.check_metric(found, "margin,none")
    with pytest.raises(HarnessError) as error:
        rows.check_metric(found, metric)
    assert message in str(error.value)
