"""A user's own preference set, from a YAML of five lines."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from tests.harness.conftest import oracle
from tests.harness.test_command import results, run_lm_eval

Tasks = Callable[..., Any]

COLUMNS = "columns: {prompt: question, chosen: good, rejected: bad}"
SECTIONED = "columns: {prompt: question, chosen: good, rejected: bad, section: topic}"


def row(number: int, good: float, bad: float, topic: Any = "sums") -> dict[str, Any]:
    return {
        "question": f"What is {number}?",
        "good": f"A good {good}",
        "bad": f"A bad {bad}",
        "topic": topic,
    }


ROWS = [row(1, 2, 1), row(2, 1, 1), row(3, 0, 3, "small talk"), row(4, 9, 1)]


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows and a YAML that names them into a folder, and gives the YAML."""

    def write(rows: list[Any], *lines: str, path: str = "my_prefs.jsonl") -> Path:
        folder = tmp_path / "own"
        folder.mkdir(exist_ok=True)
        texts = [json.dumps(value) + "\n" for value in rows]
        (folder / "my_prefs.jsonl").write_text("".join(texts), "utf-8")
        yaml = [
            "task: my_prefs",
            "class: !function harness.own_data.OwnPreferences",
            f"dataset_path: {path}",
            *lines,
        ]
        (folder / "my_prefs.yaml").write_text("\n".join(yaml), "utf-8")
        return folder / "my_prefs.yaml"

    return write


def manager(yaml: Path) -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(yaml.parent), include_defaults=False)


def load(yaml: Path) -> Any:
    return manager(yaml).load(["my_prefs"])


def run(yaml: Path, name: str = "my_prefs") -> Any:
    import lm_eval

    return lm_eval.simple_evaluate(oracle(), tasks=[name], task_manager=manager(yaml))


def test_a_set_without_sections(own: Callable[..., Path]) -> None:
    found = run(own(ROWS, COLUMNS))
    scores = found["results"]["my_prefs"]
    assert scores["accuracy,none"] == 0.5
    assert scores["ties,none"] == 0.25
    assert scores["margin,none"] == (1 + 0 - 3 + 8) / 4
    assert scores["longer,none"] == 1
    assert "groups" not in found
    doc = found["samples"]["my_prefs"][2]["doc"]
    assert (doc["row"], doc["prompt"]) == (3, "What is 3?")


def test_a_set_with_sections_is_a_group(own: Callable[..., Path]) -> None:
    """Weighted by rows: three quarters of the pairs are sums."""
    from lm_eval.utils import make_table

    found = run(own(ROWS, SECTIONED))
    scores = {name: values["accuracy,none"] for name, values in found["results"].items()}
    assert scores == {"my_prefs": 0.5, "my_prefs-sums": 2 / 3, "my_prefs-small-talk": 0.0}
    assert found["results"]["my_prefs"]["truncated,none"] == 0
    assert found["group_subtasks"] == {"my_prefs": ["my_prefs-sums", "my_prefs-small-talk"]}
    assert "my_prefs-small-talk" in make_table(found)
    assert "my_prefs" in make_table(found, "groups")
    assert found["samples"]["my_prefs-small-talk"][0]["doc"]["row"] == 3


def test_an_alias_is_the_groups(own: Callable[..., Path]) -> None:
    found = run(own(ROWS, SECTIONED, "task_alias: My set"))["results"]
    assert found["my_prefs"]["alias"] == "My set"
    assert found["my_prefs-sums"]["alias"].strip(" -") == "my_prefs-sums"


def test_as_a_member_of_a_users_own_group(own: Callable[..., Path]) -> None:
    yaml = own(ROWS, SECTIONED)
    other = (
        "task: others\nclass: !function harness.own_data.OwnPreferences\n"
        f"dataset_path: my_prefs.jsonl\n{COLUMNS}"
    )
    (yaml.parent / "others.yaml").write_text(other)
    (yaml.parent / "all.yaml").write_text("group: all_mine\ntask: [my_prefs, others]")
    found = run(yaml, "all_mine")
    assert set(found["samples"]) == {"my_prefs-sums", "my_prefs-small-talk", "others"}


@pytest.mark.slow
def test_the_real_command(own: Callable[..., Path], reward_model: Path, tmp_path: Path) -> None:
    yaml = own(ROWS, SECTIONED)
    arguments = [
        *("--model", "reward", "--model_args", f"pretrained={reward_model}", "--device", "cpu"),
        *("--include_path", str(yaml.parent), "--tasks", "my_prefs", "--log_samples"),
        *("--output_path", str(tmp_path / "out")),
    ]
    shown = run_lm_eval(arguments)
    assert "my_prefs-small-talk" in shown
    assert set(results(tmp_path / "out")["results"]) == {
        "my_prefs",
        "my_prefs-sums",
        "my_prefs-small-talk",
    }
    assert len(list(tmp_path.glob("out/*/samples_my_prefs-*.jsonl"))) == 2


def test_the_example(tasks: Tasks) -> None:
    loaded = tasks().load(["preference-example"])
    assert set(loaded["tasks"]) == {"preference-example-sums", "preference-example-small-talk"}
    talk = loaded["tasks"]["preference-example-small-talk"]
    assert [len(talk.messages(doc)) for doc in talk.eval_docs] == [3, 1]


def test_default_columns_and_parquet(own: Callable[..., Path], tmp_path: Path) -> None:
    """Conversations as Parquet has them: lists of structs."""
    import pyarrow
    import pyarrow.parquet

    rows = [
        {
            "chosen": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": f"Yes {reward}"},
            ],
            "rejected": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "No 1"},
            ],
        }
        for reward in (2, 0)
    ]
    file = tmp_path / "chats.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    found = run(own([], path=str(file)))
    assert found["results"]["my_prefs"]["accuracy,none"] == 0.5
    assert found["samples"]["my_prefs"][0]["doc"]["prompt"] == "Hi"


def test_a_data_folder_does_not_replace_the_file(
    own: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_prefs.jsonl").write_text(json.dumps({**ROWS[0], "prompt": "other"}))
    monkeypatch.setenv("DOGERM_DATA_DIR", str(tmp_path))
    assert len(load(own(ROWS, COLUMNS))["tasks"]["my_prefs"].eval_docs) == 4


def test_a_changed_file_is_read_again(own: Callable[..., Path]) -> None:
    assert len(load(own(ROWS, COLUMNS))["tasks"]["my_prefs"].eval_docs) == 4
    assert len(load(own(ROWS[:3], COLUMNS))["tasks"]["my_prefs"].eval_docs) == 3


def test_a_folder_as_the_hub_has_it(
    own: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `datasets` loads is the Hub's path, too; its splits are the files' names."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    yaml = own([], COLUMNS, "test_split: validation", path="set")
    (yaml.parent / "set").mkdir()
    for split, rows in (("train", ROWS[:1]), ("validation", ROWS[1:])):
        lines = [json.dumps(value) + "\n" for value in rows]
        (yaml.parent / "set" / f"{split}.jsonl").write_text("".join(lines))
    assert len(load(yaml)["tasks"]["my_prefs"].eval_docs) == 3
    for wrong in ("dev", "tets"):
        yaml = own([], COLUMNS, f"test_split: {wrong}", path="set")
        with pytest.raises(
            HarnessError, match=rf"split {wrong}\): .*{wrong}.*correct dataset_path"
        ):
            load(yaml)


def test_a_hub_id_out_of_reach(own: Callable[..., Path]) -> None:
    yaml = own([], COLUMNS, path="someone/prefs")
    with pytest.raises(HarnessError, match=r"cannot load someone/prefs \(split test\): "):
        load(yaml)


@pytest.mark.parametrize(
    ("rows", "lines", "message"),
    [
        ([], [COLUMNS], "holds no rows"),
        (ROWS, [], r"row 1: no column chosen, rejected \(there are: question, good, bad, topic\)"),
        ([*ROWS, {"question": "?"}], [COLUMNS], "row 5: no column good, bad"),
        (
            [*ROWS, {**ROWS[0], "bad": [{"role": "user", "content": "Hi"}]}],
            [COLUMNS],
            "my_prefs.jsonl, row 5: column bad: the last turn must be the assistant's",
        ),
        (["text"], [COLUMNS], "line 1 is str, expected an object"),
        (ROWS, ["columns: {promt: question}"], r"task my_prefs: .*'promt' \(did you mean prompt"),
        (ROWS, ["colums: {prompt: question}"], r"no key 'colums' \(did you mean columns\?\)"),
        (ROWS, [COLUMNS, "dataset_name: main"], "dataset_name is 'main', but .* is a single file"),
        (ROWS, [COLUMNS, "doc_to_text: question"], "no key 'doc_to_text'; it has"),
        (ROWS, [COLUMNS, "dataset_kwargs: {section: sums}"], "no key 'dataset_kwargs'"),
        (
            [row(1, 1, 0, "a/b"), row(2, 1, 0, "a b")],
            [SECTIONED],
            "sections 'a/b' and 'a b' would both be the task my_prefs-a-b",
        ),
        ([row(1, 1, 0, "?!")], [SECTIONED], "section '\\?!' has no letter or digit"),
    ],
)
def test_what_does_not_fit_is_refused(
    own: Callable[..., Path], rows: list[Any], lines: list[str], message: str
) -> None:
    with pytest.raises(HarnessError, match=message):
        load(own(rows, *lines))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "dataset_path is None, expected a .jsonl"),
        ("3", "dataset_path is 3, expected a .jsonl"),
        ("other.jsonl", "there is no .*own/other.jsonl and no .*/other.jsonl; write an absolute"),
        ("my_prefs.yaml", "my_prefs.yaml is no .jsonl, .json, .parquet, .csv file"),
    ],
)
def test_a_path_that_leads_nowhere(own: Callable[..., Path], path: str, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        load(own(ROWS, COLUMNS, path=path))


def test_a_yaml_given_by_its_path_counts_from_the_current_folder(
    own: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the command reads ``--tasks own/my_prefs.yaml``: the task is not told where that is."""
    from lm_eval.config.evaluate_config import EvaluatorConfig

    config = EvaluatorConfig(tasks=[str(own(ROWS, SECTIONED))])
    monkeypatch.chdir(tmp_path)
    found = config.process_tasks()
    with pytest.raises(HarnessError, match=f"no {tmp_path}/my_prefs.jsonl; .*--include_path"):
        found.load(config.tasks)
    monkeypatch.chdir(tmp_path / "own")
    assert set(found.load(config.tasks)["tasks"]) == {"my_prefs-sums", "my_prefs-small-talk"}


def test_section_names_make_usable_task_names(own: Callable[..., Path]) -> None:
    topics = ["maths/algebra, hard", "C++", " übung_1.2 ", 3]
    loaded = load(own([row(n, 1, 0, topic) for n, topic in enumerate(topics)], SECTIONED))
    assert list(loaded["tasks"]) == [
        "my_prefs-maths-algebra-hard",
        "my_prefs-C",
        "my_prefs-übung_1.2",
        "my_prefs-3",
    ]


def test_an_empty_response_is_scored_and_reported(
    own: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        loaded = load(own([ROWS[0], {**ROWS[1], "bad": ""}], SECTIONED))
    assert caplog.text.count("1 rows hold an empty response, the first is row 2") == 1
    assert len(loaded["tasks"]["my_prefs-sums"].eval_docs) == 2


REAL = Path(__file__).parents[5] / "shared" / "data" / "eval"


@pytest.mark.skipif(not (REAL / "gsm8k_pairs.jsonl").is_file(), reason="no ../shared/data/eval")
def test_a_real_set(own: Callable[..., Path]) -> None:
    """731 pairs of real model answers, with a YAML of four lines."""
    yaml = own([], "columns: {section: subset}", path=str(REAL / "gsm8k_pairs.jsonl"))
    loaded = load(yaml)
    assert sum(len(task.eval_docs) for task in loaded["tasks"].values()) == 731
    for task in loaded["tasks"].values():
        assert all(len(task.messages(doc)) == 1 for doc in task.eval_docs)
