"""`--model reward-http`: a server's rewards are those that the same weights have here."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.commands.score import score
from harness.errors import HarnessError
from harness.models.remote import client as client_module
from harness.models.remote.client import OutOfReach
from harness.rows.conversation import Conversation
from tests.harness.conftest import CHATML, preference_rows
from tests.harness.models.remote.servers import (
    Answer,
    Model,
    Running,
    openrlhf,
    running,
    sglang,
    sigmoid,
    vllm,
)
from tests.harness.models.test_reward import TALK, requests, reward, rewards, some_pairs

SERVERS: dict[str, Callable[..., Any]] = {"vllm": vllm, "sglang": sglang, "openrlhf": openrlhf}
PAIRS = [*some_pairs(8), (Conversation("shown", TALK), "It is 4."), ("Say 'é'.", "Ünïcödé 😀")]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FIRST_WAIT", 0.001)


@pytest.fixture(scope="module")
def model(reward_model: Path) -> Model:
    return Model(reward_model)


def remote(folder: Path, server: Running | str, api: str = "vllm", **arguments: Any) -> Any:
    from harness.models.http import RewardHttp

    url = server if isinstance(server, str) else server.url
    return RewardHttp(str(folder), base_url=url, api=api, **arguments)


def spoilt(answer: Callable[[str, Any], Answer], after: int, by: Any) -> Callable[..., Answer]:
    """The answers of a server, of which `by` makes others after so many."""
    asked = [0]
    lock = threading.Lock()

    def other(path: str, content: Any) -> Answer:
        with lock:
            asked[0] += 1
            number = asked[0]
        made = answer(path, content)
        return by(made, content) if number > after else made

    return other


@pytest.mark.parametrize("api", sorted(SERVERS))
def test_the_rewards_are_those_of_the_local_model(
    reward_model: Path, model: Model, api: str
) -> None:
    expected = rewards(reward(reward_model), PAIRS)
    with running(SERVERS[api](model)) as server:
        lm = remote(reward_model, server, api, batch_size=3)
        assert rewards(lm, PAIRS) == pytest.approx(expected, abs=1e-5)
    assert lm.scored_rows == len(PAIRS) and lm.get_model_info()["model_api"] == api


@pytest.mark.parametrize("api", sorted(SERVERS))
def test_long_conversations_lose_their_beginning_as_here(
    reward_model: Path, model: Model, api: str
) -> None:
    long = [("What is two plus two? " * 20, "It is four, I believe.")]
    local = reward(reward_model, max_length=64)
    with running(SERVERS[api](model)) as server:
        lm = remote(reward_model, server, api, max_length=64)
        assert rewards(lm, long) == pytest.approx(rewards(local, long), abs=1e-5)
        assert lm.truncated_rows == 1


@pytest.mark.parametrize("api", ["vllm", "sglang"])
def test_a_template_may_end_with_padding(
    save_reward_model: Callable[..., Path], tokenizer: Any, tmp_path: Path, api: str
) -> None:
    """transformers reads the reward before it, servers at the last token that they get."""
    folder = save_reward_model(pad_token_id=tokenizer.eos_token_id)
    template = tmp_path / "template.jinja"
    template.write_text(CHATML + "{{ eos_token }}")
    arguments = {"chat_template": str(template)}
    with running(SERVERS[api](Model(folder))) as server:
        got = rewards(remote(folder, server, api, **arguments), PAIRS)
    assert got == pytest.approx(rewards(reward(folder, **arguments), PAIRS), abs=1e-5)


def test_a_trainers_head_is_read_at_the_padding_token_itself(
    save_reward_model: Callable[..., Path], tokenizer: Any, tmp_path: Path
) -> None:
    """OpenRLHF's class ends a chat in EOS, which may pad, and has its reward there."""
    folder = save_reward_model(pad_token_id=tokenizer.eos_token_id)
    served = Model(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["RewardModel"]}))
    template = tmp_path / "template.jinja"
    template.write_text(CHATML + "{{ eos_token }}")
    arguments = {"chat_template": str(template)}
    with running(openrlhf(served)) as server:
        got = rewards(remote(folder, server, "openrlhf", **arguments), PAIRS)
        assert got == pytest.approx(rewards(reward(folder, **arguments), PAIRS), abs=1e-5)
        for file in folder.glob("*.safetensors"):  # its weights are with the server alone
            file.unlink()
        assert rewards(remote(folder, server, "openrlhf", **arguments), PAIRS) == got


def test_requests_are_made_together_and_equal_rows_once(reward_model: Path, model: Model) -> None:
    meet = threading.Barrier(3)

    def together(path: str, asked: Any) -> Answer:
        if len(asked["input"]) == 1:
            meet.wait(30)  # fails unless three are under way
        return vllm(model)(path, asked)

    pairs = some_pairs(3)
    with running(together) as server:
        lm = remote(reward_model, server, batch_size=1, num_concurrent=3)
        tried = len(server.asked)
        got = rewards(lm, [*pairs, *pairs])
    assert server.most == 3 and len(server.asked) == tried + len(set(pairs))
    assert got[: len(pairs)] == got[len(pairs) :]


def test_a_busy_server_is_asked_again(reward_model: Path, model: Model) -> None:
    failures = iter([(503, {"detail": "loading"}), (429, b"slow down"), (500, b"")])

    def moody(path: str, asked: Any) -> Answer:
        return next(failures, None) or vllm(model)(path, asked)

    with running(moody) as server:
        lm = remote(reward_model, server, num_concurrent=1)
        assert rewards(lm, PAIRS) == pytest.approx(rewards(reward(reward_model), PAIRS), abs=1e-5)


def test_a_server_that_is_not_there_is_one_line(reward_model: Path) -> None:
    with running(lambda path, asked: (200, {})) as server:
        gone = server.url
    with pytest.raises(OutOfReach, match=f"{gone}/classify can't be reached: .*asked 3 times"):
        remote(reward_model, gone, max_retries=2)


@pytest.mark.parametrize(
    "status, content, told",
    [
        (401, {"error": "Unauthorized"}, "answers 401 .*Unauthorized; is DOGERM_API_KEY set"),
        (404, {"detail": "Not Found"}, "answers 404 .*Not Found; is api= the right one"),
        (400, {"error": {"message": "no\npooler"}}, "answers 400 .*: no pooler"),
        (200, b"<html>", "answers with no JSON: '<html>'"),
        (200, {"data": []}, "0 rewards came back for 1 conversations"),
        (200, {"data": [{"index": 0, "probs": [0.2, 0.8]}]}, "2 numbers came back"),
        (200, {"object": "error"}, "no list of rewards"),
    ],
)
def test_what_is_no_reward_server_is_told_in_one_line(
    reward_model: Path, status: int, content: Any, told: str
) -> None:
    with (
        running(lambda path, asked: (status, content)) as server,
        pytest.raises(OutOfReach, match=told) as error,
    ):
        remote(reward_model, server, max_retries=0)
    assert "\n" not in str(error.value)


def _of_one_row(
    change: Callable[[dict[str, Any]], Any], length: int
) -> Callable[[Answer, Any], Answer]:
    """Spoils what vLLM answers to the row of so many tokens."""

    def by(made: Answer, asked: Any) -> Answer:
        status, answer = made
        data = [
            change(one) if len(ids) == length else one
            for one, ids in zip(answer["data"], asked["input"], strict=True)
        ]
        return status, {**answer, "data": [one for one in data if one is not None]}

    return by


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda one: {**one, "probs": [float("nan")]}, "the reward 'nan', no finite number"),
        (lambda one: {**one, "probs": ["high"]}, "the reward 'high', no finite number"),
        (lambda one: {**one, "probs": [None]}, "gives no reward"),
        (lambda one: {**one, "probs": []}, "the reward '\\[\\]', no finite number"),
        (lambda one: None, "0 rewards came back for 1 conversations"),
    ],
)
def test_a_score_that_is_none_names_its_row(
    reward_model: Path, model: Model, change: Any, told: str, tmp_path: Path
) -> None:
    pairs = [*some_pairs(4), ("Which?", "this one " * 30)]
    local = reward(reward_model)
    length = len(local.encode(requests(pairs)[-1]).ids)
    rows = [{"prompt": prompt, "response": response} for prompt, response in pairs]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with running(spoilt(vllm(model), 0, _of_one_row(change, length))) as server:
        with pytest.raises(HarnessError, match=f"document 4, response 0 .*'Which.'.*{told}"):
            rewards(remote(reward_model, server), pairs)
        arguments = f"base_url={server.url},api=vllm"
        words = [str(reward_model), str(data), "-o", str(tmp_path / "out.jsonl")]
        words += ["--model", "reward-http", "--model_args", arguments]
        done = CliRunner().invoke(score, words, catch_exceptions=False)
    assert done.exit_code == 1 and "without a reward: 1" in done.output
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["reward"] is None for row in found] == [False] * 8 + [True]
    assert [row["reward"] for row in found[:8]] == pytest.approx(
        rewards(local, pairs[:8]), abs=1e-5
    )


def test_a_row_too_long_for_the_server_is_named_with_its_words(
    reward_model: Path, model: Model
) -> None:
    pairs = [*some_pairs(2), ("Which?", "this one " * 60)]
    with (
        running(vllm(model, most=100)) as server,
        pytest.raises(HarnessError, match=r"document 2, .*maximum context length is 100 tokens"),
    ):
        rewards(remote(reward_model, server), pairs)


@pytest.mark.parametrize("api, add", [("vllm", 1), ("sglang", 1), ("vllm", -1)])
def test_a_server_that_reads_other_tokens_is_refused(
    reward_model: Path, model: Model, api: str, add: int
) -> None:
    def other(path: str, asked: Any) -> Answer:
        status, answer = SERVERS[api](model)(path, asked)
        counts = answer["usage"] if api == "vllm" else answer[0]["meta_info"]
        counts["prompt_tokens"] += add
        return status, answer

    with running(other) as server, pytest.raises(OutOfReach, match=r"tokens of the .* sent"):
        remote(reward_model, server, api)


class TestSquashed:
    def test_an_old_or_new_key_is_both_understood(self, reward_model: Path, model: Model) -> None:
        expected = rewards(reward(reward_model), PAIRS)
        for server in (vllm(model, key="activation"), vllm(model, key="?", regression=True)):
            with running(server) as found:
                got = rewards(remote(reward_model, found), PAIRS)
            assert got == pytest.approx(expected, abs=1e-5)

    @pytest.mark.parametrize("api", sorted(SERVERS))
    def test_a_sigmoid_is_refused_by_a_known_pair(
        self, reward_model: Path, model: Model, api: str
    ) -> None:
        with (
            running(_squashing(api, model, sigmoid)) as server,
            pytest.raises(OutOfReach, match=r"it puts a sigmoid on them; .*raw=True") as error,
        ):
            remote(reward_model, server, api)
        assert "of the first two pretrained= gives" in str(error.value)
        assert "\n" not in str(error.value)

    def test_and_without_weights(self, model: Model, tokenizer: Any, tmp_path: Path) -> None:
        tokenizer.save_pretrained(tmp_path / "tokenizer")
        with running(_squashing("sglang", model, sigmoid)) as server:
            with pytest.raises(OutOfReach, match=r"are in 0\.\.1 .*: it puts a sigmoid"):
                remote(tmp_path / "tokenizer", server, "sglang")
            lm = remote(tmp_path / "tokenizer", server, "sglang", raw=True)
            assert all(0 < one < 1 for one in rewards(lm, PAIRS))

    def test_a_softmax_of_one_label(self, reward_model: Path, model: Model) -> None:
        with (
            running(_squashing("sglang", model, lambda one: 1.0)) as server,
            pytest.raises(OutOfReach, match="all alike, as a softmax of a single label"),
        ):
            remote(reward_model, server, "sglang")

    def test_another_model(self, reward_model: Path, model: Model) -> None:
        with (
            running(_squashing("sglang", model, lambda one: sigmoid(7 * one - 1))) as server,
            pytest.raises(OutOfReach, match="another model than pretrained="),
        ):
            remote(reward_model, server, "sglang")

    def test_true_rewards_between_0_and_1_pass(
        self, save_reward_model: Callable[..., Path], tokenizer: Any, tmp_path: Path
    ) -> None:
        """vLLM shows by its switch that they are none of a sigmoid; else the weights here do."""
        import torch

        folder = save_reward_model(seed=2)
        small = Model(folder)
        with torch.no_grad():
            small.model.score.weight *= 0.01
        bias = 0.3  # a head has none here: the trial's rewards are moved by the server
        tokenizer.save_pretrained(tmp_path / "tokenizer")
        real = small.reward
        small.reward = lambda ids: real(ids) + bias  # type: ignore[method-assign]
        with running(vllm(small)) as server:
            got = rewards(remote(tmp_path / "tokenizer", server), PAIRS)
        assert all(0 < one < 1 for one in got)


def _squashing(api: str, model: Model, by: Callable[[float], float]) -> Callable[..., Answer]:
    squashed = Model.__new__(Model)
    squashed.tokenizer = model.tokenizer
    squashed.reward = lambda ids: by(model.reward(ids))  # type: ignore[method-assign]
    return SERVERS[api](squashed, **({"regression": True} if api == "vllm" else {}))


def test_an_openrlhf_that_strips_texts_is_refused(reward_model: Path, model: Model) -> None:
    with (
        running(openrlhf(model, strips=True)) as server,
        pytest.raises(OutOfReach, match="strips the letters of '</s>' from texts"),
    ):
        remote(reward_model, server, "openrlhf")


def test_the_key_goes_with_every_request(
    reward_model: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOGERM_API_KEY", "secret")
    with running(vllm(model)) as server:
        lm = remote(reward_model, server, model="mine")
        rewards(lm, PAIRS)
    assert all(headers["Authorization"] == "Bearer secret" for headers in server.headers)
    assert all(asked["model"] == "mine" for asked in server.asked)
    assert "secret" not in json.dumps(lm.get_model_info())


def test_arguments_that_make_no_sense(reward_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong, told in (
        ({"api": None}, "--model_args lacks api=, which is one of vllm, sglang, openrlhf"),
        ({"api": "tgi"}, "api=tgi is unknown; it is one of vllm, sglang, openrlhf"),
        ({"server": "localhost:8000"}, "no address; write http://HOST:PORT"),
        ({"dtype": "bfloat16"}, "reward-http has no dtype="),
        ({"num_concurent": 3}, "did you mean 'num_concurrent'"),
        ({"num_concurrent": 0}, "num_concurrent=0 is no whole number of 1 or more"),
    ):
        arguments = {"server": "http://127.0.0.1:1", **wrong}
        with pytest.raises(HarnessError, match=told):
            remote(reward_model, **arguments)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(HarnessError, match="takes no launcher"):
        remote(reward_model, "http://127.0.0.1:1")


def test_a_task_of_lm_eval(
    reward_model: Path,
    model: Model,
    tasks: Callable[..., Any],
    write_rows: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """The same table as by --model reward, and answers kept by --use_cache are not asked again."""
    import lm_eval

    manager = tasks(data_dir=write_rows(preference_rows("llmbar-natural", 12)))

    def table(**arguments: Any) -> dict[str, Any]:
        made = lm_eval.simple_evaluate(
            tasks=["rewardbench-llmbar-natural"],
            task_manager=manager,
            bootstrap_iters=0,
            batch_size="auto",
            **arguments,
        )
        return dict(made["results"]["rewardbench-llmbar-natural"])

    local = table(model="reward", model_args={"pretrained": str(reward_model), "device": "cpu"})
    with running(vllm(model)) as server:
        given = {"pretrained": str(reward_model), "base_url": server.url, "api": "vllm"}
        arguments = {"model": "reward-http", "model_args": given, "use_cache": str(tmp_path / "c")}
        first = table(**arguments)
        count = len(server.asked)
        again = table(**arguments)
        assert len(server.asked) == count + 1  # the trial
    assert first["accuracy,none"] == local["accuracy,none"]
    assert first["margin,none"] == pytest.approx(local["margin,none"], abs=1e-5)
    assert again == first


def test_a_server_that_goes_away_leaves_what_is_scored(
    reward_model: Path, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dogerm score` ends with one line, no row is called bad, and it goes on from there."""
    from harness.models.row_files import chunks as chunk_module

    monkeypatch.setattr(chunk_module, "CONVERSATIONS", 4)
    rows = [{"prompt": prompt, "response": response} for prompt, response in some_pairs(6)]
    data, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    well = [True]

    def failing(path: str, asked: Any) -> Answer:
        return vllm(model)(path, asked) if well[0] or len(server.asked) < 5 else (503, b"bye")

    with running(failing) as server:
        arguments = f"base_url={server.url},api=vllm,max_retries=1,num_concurrent=1"
        words = [str(reward_model), str(data), "-o", str(out), "--model", "reward-http"]
        words += ["--model_args", arguments, "--batch_size", "2"]
        well[0] = False
        done = CliRunner().invoke(score, words, catch_exceptions=False)
        assert done.exit_code == 1 and "answers 503" in done.output.splitlines()[-1]
        assert not out.exists() and (tmp_path / "out.jsonl.partial").is_dir()
        before = len(server.asked)
        well[0] = True
        done = CliRunner().invoke(score, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert sum(len(asked["input"]) for asked in server.asked[before:]) < 8 + len(rows)
    found = [json.loads(line)["reward"] for line in out.read_text().splitlines()]
    pairs = [(row["prompt"], row["response"]) for row in rows]
    assert found == pytest.approx(rewards(reward(reward_model), pairs), abs=1e-5)
