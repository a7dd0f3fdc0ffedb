"""--use_cache keeps JSON, reads nothing else, and sets a damaged file aside."""

from __future__ import annotations

import json
import logging
import os
import pickle
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.models.score.answer_store import AnswerStore
from harness.rows.conversation import Conversation
from tests.harness.conftest import preference_rows
from tests.harness.models.test_response_cache import cached
from tests.harness.models.test_reward import requests, reward, rewards, some_pairs

TASK = "rewardbench-hep-go"


@pytest.fixture
def run(
    reward_model: Path,
    tasks: Callable[..., Any],
    write_rows: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
) -> Callable[..., Any]:
    """lm-eval on six pairs; the rewards, how many were in the cache, and the warnings."""
    import lm_eval

    manager = tasks(data_dir=write_rows(preference_rows("hep-go", 6)))
    arguments = {"pretrained": str(reward_model)}

    def evaluate(cache: Path | None, model: str = "reward", **more: Any) -> Any:
        caplog.clear()
        with caplog.at_level(logging.INFO):
            results = lm_eval.simple_evaluate(
                model,
                model_args={**arguments, **more},
                device="cpu",
                batch_size=4,
                tasks=[TASK],
                task_manager=manager,
                bootstrap_iters=0,
                use_cache=None if cache is None else str(cache),
            )
        samples = results["samples"][TASK]
        counted = [line for line in caplog.messages if line.startswith("Cached requests: ")]
        told = [line for line in caplog.messages if line.startswith("--use_cache")]
        return [sample["filtered_resps"] for sample in samples], counted, told

    return evaluate


@pytest.fixture
def plain(run: Callable[..., Any]) -> Any:
    """The answers without a cache."""
    return run(None)[0]


ALL_KEPT = ["Cached requests: 12, Requests remaining: 0"]
NONE_KEPT = ["Cached requests: 0, Requests remaining: 12"]


def filled(run: Callable[..., Any], tmp_path: Path) -> tuple[Path, Path]:
    """What --use_cache names, and the file that it makes."""
    cache = tmp_path / "kept" / "cache"
    run(cache)
    return cache, tmp_path / "kept" / "cache_rank0.db"


def test_answers_are_json_and_come_back_as_they_were(
    run: Callable[..., Any], plain: Any, tmp_path: Path
) -> None:
    cache, file = filled(run, tmp_path)
    assert run(cache) == (plain, ALL_KEPT, [])
    with sqlite3.connect(file) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master")]
        values = [json.loads(v) for (v,) in connection.execute("SELECT value FROM answers")]
    assert "answers" in tables and "unnamed" not in tables
    assert sum(isinstance(value, list) for value in values) == 12


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def cut_to_a_few_bytes(file: Path) -> None:
    os.truncate(file, 50)


def overwritten_with_text(file: Path) -> None:
    file.write_text("these are my notes\n" * 1000)


def overwritten_in_the_middle(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size // 2)
        opened.write(b"\0" * 3000)


def one_digit(file: Path) -> None:
    """As valid as before to SQLite and to JSON: another reward."""
    content = file.read_bytes()
    place = content.rindex(b', false, {"kind"')
    changed = b"1" if content[place - 1 : place] != b"1" else b"2"
    file.write_bytes(content[: place - 1] + changed + content[place:])


def bytes_that_are_no_text(file: Path) -> None:
    content = file.read_bytes()
    place = content.rindex(b', false, {"kind"')
    file.write_bytes(content[: place - 1] + b"\xff" + content[place:])


DAMAGES = (
    cut,
    cut_to_a_few_bytes,
    overwritten_with_text,
    overwritten_in_the_middle,
    one_digit,
    bytes_that_are_no_text,
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_set_aside(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "cache.db"
    answers = {f"key {i}": [i + 0.25, False, {"kind": "reward"}] for i in range(200)}
    for number in (1, 2):
        store = AnswerStore(file)
        store.update_at_once(answers.items())
        assert dict(store) == answers
        store.close()
        damage(file)
        content = file.read_bytes()
        caplog.clear()
        assert len(AnswerStore(file)) == 0
        kept = tmp_path / f"cache.db.damaged-{number}"
        assert kept.read_bytes() == content
        (told,) = caplog.messages
        assert f"set aside as {kept}, a new one is begun" in told and "damaged" in told


def test_a_run_with_a_damaged_file_goes_on(
    run: Callable[..., Any], plain: Any, tmp_path: Path
) -> None:
    cache, file = filled(run, tmp_path)
    cut(file)
    answers, counted, (told,) = run(cache)
    assert (answers, counted) == (plain, NONE_KEPT)
    assert f"{file}.damaged-1, a new one is begun" in told
    assert run(cache) == (plain, ALL_KEPT, [])


def test_an_empty_file_is_a_new_cache(run: Callable[..., Any], plain: Any, tmp_path: Path) -> None:
    cache, file = filled(run, tmp_path)
    os.truncate(file, 0)
    assert run(cache) == (plain, NONE_KEPT, [])


class Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def test_pickles_are_never_read(run: Callable[..., Any], plain: Any, tmp_path: Path) -> None:
    """Under every key that lm-eval or this project would ask for."""
    from lm_eval.api.model import hash_args
    from sqlitedict import SqliteDict

    from harness.models.response_cache import OWNER_KEY

    cache, file = filled(run, tmp_path)
    keys = [*AnswerStore(file), OWNER_KEY, hash_args("loglikelihood", ("a", "b"))]
    file.unlink()
    with SqliteDict(str(file), autocommit=True) as hostile:
        for key in keys:
            hostile[key] = Hostile(tmp_path / "code ran")
    answers, counted, (told,) = run(cache)
    assert (answers, counted) == (plain, NONE_KEPT)
    assert not (tmp_path / "code ran").exists()
    assert f"set aside as {file}.pickled-1" in told
    assert run(cache) == (plain, ALL_KEPT, [])


def test_a_pickle_in_our_own_table_is_no_answer(
    run: Callable[..., Any], plain: Any, tmp_path: Path
) -> None:
    cache, file = filled(run, tmp_path)
    with sqlite3.connect(file) as connection:
        hostile = pickle.dumps(Hostile(tmp_path / "code ran"))
        connection.execute("UPDATE answers SET value = ?", (hostile,))
    assert run(cache)[0] == plain
    assert not (tmp_path / "code ran").exists()


def test_other_models_caches_stay_lm_evals(tmp_path: Path) -> None:
    from lm_eval.api.model import CachingLM
    from sqlitedict import SqliteDict

    from tests.harness.conftest import oracle

    wrapped = CachingLM(oracle(), str(tmp_path / "cache.db"))
    assert type(wrapped) is CachingLM and isinstance(wrapped.dbdict, SqliteDict)
    pairs = requests([("a", "1")])
    assert wrapped.loglikelihood(pairs) == wrapped.loglikelihood(pairs)


def test_the_models_that_answer_in_part_are_asked_for_the_rest(
    reward_model: Path, tmp_path: Path
) -> None:
    """As after a run that was killed."""
    path = tmp_path / "cache.db"
    asked = requests(some_pairs(6))
    expected = rewards(reward(reward_model), some_pairs(6))
    cached(reward(reward_model), path).loglikelihood(asked[3:8])
    model = reward(reward_model)
    got = [answer[0] for answer in cached(model, path).loglikelihood(asked)]
    assert got == pytest.approx(expected)
    assert model.scored_rows == 7


def test_what_was_scored_before_an_error_is_kept(reward_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    asked = requests(some_pairs(6))
    model = reward(reward_model, batch_size=2, share_prefix=False)
    scores, calls = model.scores, []

    def failing(rows: Any) -> Any:
        calls.append(rows)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return scores(rows)

    model.scores = failing
    with pytest.raises(KeyboardInterrupt):
        cached(model, path).loglikelihood(asked)
    again = reward(reward_model)
    got = [answer[0] for answer in cached(again, path).loglikelihood(asked)]
    # scored apart before the error, in packs after it
    assert got == pytest.approx(rewards(reward(reward_model), some_pairs(6)), abs=1e-5)
    assert again.scored_rows == 6


def test_conversations_that_look_alike_as_text_are_two(reward_model: Path, tmp_path: Path) -> None:
    one = Conversation("shown", [{"role": "user", "content": "What is 1 + 1?"}])
    two = Conversation("shown", [{"role": "user", "content": "What is 2 + 2?"}])
    path = tmp_path / "cache.db"
    model = cached(reward(reward_model), path)
    expected = [reward(reward_model).loglikelihood(requests([(c, "4")]))[0] for c in (one, two)]
    assert expected[0][0] != expected[1][0]
    for conversation, answer in zip((one, two), expected, strict=True):
        asked = requests([(conversation, "4")])
        assert model.loglikelihood(asked)[0][0] == pytest.approx(answer[0])


def test_a_task_of_lm_evals_own_gets_pairs(reward_model: Path, tmp_path: Path) -> None:
    """It unpacks two values, also of an answer that another task's request has left."""
    path = tmp_path / "cache.db"
    ours = Conversation("What?", [{"role": "user", "content": "What?"}])
    (answer,) = cached(reward(reward_model), path).loglikelihood(requests([(ours, "4")]))
    (pair,) = cached(reward(reward_model), path).loglikelihood(requests([("What?", "4")]))
    assert len(answer) == 3 and pair == answer[:2]


def test_what_can_be_no_cache(tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(HarnessError, match=r"folder\.db is no file; give another path"):
        AnswerStore(tmp_path / "folder.db")
    with pytest.raises(HarnessError, match="can't be written"):
        AnswerStore("/proc/no/such/place/cache.db")


def test_a_cache_in_use_is_not_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cache.db"
    AnswerStore(path).close()
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **{**k, "timeout": 0}))
    with pytest.raises(HarnessError, match="another process writes to"):
        AnswerStore(path)
    writer.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cache.db"]
