"""`dogerm score`: a user's rows with rewards, those that `--model reward` gives."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.commands.score import score
from harness.errors import HarnessError
from harness.models.row_files import chunks as chunk_module
from harness.models.row_files import output as output_module
from harness.models.row_files import run as run_module
from harness.models.row_files.bar import RowBar
from harness.models.row_files.chunks import chunks
from harness.models.row_files.forms import Names
from harness.models.row_files.loading import Wanted
from harness.models.row_files.order import Order
from harness.models.row_files.selection import Filter
from harness.rows import archives
from harness.rows.source import Source
from tests import warm
from tests.harness.conftest import oracle, preference_rows
from tests.harness.models.load.test_processes import free_port, run

Row = dict[str, Any]

PROMPTS = [row["prompt"] for row in preference_rows("any", 6)]
ANSWERED = [
    {"id": number, "prompt": prompt, "response": f"It is {number * size}, I believe." * size}
    for number, prompt in enumerate(PROMPTS)
    for size in (1, 2, 3)
]


def write(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def scored(model: Path, data: Path, *options: str, code: int = 0, out: str = "out.jsonl") -> Path:
    output = data.with_name(out)
    words = [str(model), str(data), "-o", str(output), "--model_args", "device=cpu", *options]
    done = CliRunner().invoke(score, words, catch_exceptions=False)
    assert done.exit_code == code, done.output
    return output


def refusal(model: Path, data: Path, *options: str, out: str = "out.jsonl") -> str:
    words = [str(model), str(data), "-o", str(data.with_name(out)), *options]
    done = CliRunner().invoke(score, words, catch_exceptions=False)
    assert done.exit_code == 1
    (line,) = [line for line in done.output.splitlines() if line.startswith("Error: ")]
    return line


def by_model(model: Path, pairs: list[tuple[str, str]], batch_size: str = "auto") -> list[float]:
    """Rewards as lm-eval asks `--model reward` for them, all in one call."""
    from harness.models.reward import Reward
    from tests.harness.models.test_reward import requests

    lm = Reward(str(model), device="cpu", batch_size=batch_size)
    return [answer[0] for answer in lm.loglikelihood(requests(pairs), disable_tqdm=True)]


@pytest.mark.parametrize("batch_size", ["auto", "4"])
def test_pairs_have_the_rewards_of_an_lm_eval_run_to_the_bit(
    reward_model: Path,
    tmp_path: Path,
    tasks: Callable[..., Any],
    write_rows: Callable[..., Path],
    batch_size: str,
) -> None:
    """The samples that lm-eval writes for the same rows hold the same numbers."""
    import lm_eval

    rows = preference_rows("llmbar-natural", 20)
    made = lm_eval.simple_evaluate(
        model="reward",
        model_args={"pretrained": str(reward_model), "device": "cpu"},
        tasks=["rewardbench-llmbar-natural"],
        task_manager=tasks(data_dir=write_rows(rows)),
        batch_size=batch_size,
        bootstrap_iters=0,
    )
    samples = made["samples"]["rewardbench-llmbar-natural"]
    expected = {
        sample["doc"]["id"]: [answer[0][0] for answer in sample["resps"]] for sample in samples
    }
    out = scored(reward_model, write(tmp_path / "rows.jsonl", rows), "--batch_size", batch_size)
    found = read(out)
    assert {row["id"]: [row["reward_chosen"], row["reward_rejected"]] for row in found} == expected
    assert all(row["margin"] == row["reward_chosen"] - row["reward_rejected"] for row in found)
    assert [{key: row[key] for key in before} for row, before in zip(found, rows, strict=True)] == (
        rows
    )


def test_every_form_of_row(reward_model: Path, tmp_path: Path) -> None:
    """What a row has besides stays, and the order too."""
    asked = {"role": "user", "content": PROMPTS[0]}
    rows = [
        {"n": 1, "prompt": PROMPTS[0], "response": "It is 0.", "kept": {"a": [1, None]}},
        {"n": 2, "messages": [asked, {"role": "assistant", "content": "It is 0."}]},
        {"n": 3, "prompt": PROMPTS[0], "responses": ["It is 0.", "It is 9."]},
        {"n": 4, "prompt": [asked], "chosen": "It is 0.", "rejected": "It is 9."},
        {
            "n": 5,
            "prompt": PROMPTS[0],
            "completion": [{"role": "assistant", "content": "It is 9."}],
        },
    ]
    found = read(scored(reward_model, write(tmp_path / "rows.jsonl", rows)))
    one, other = found[2]["reward"]
    assert one != other
    assert found == [
        {**rows[0], "reward": one},
        {**rows[1], "reward": one},
        {**rows[2], "reward": [one, other]},
        {**rows[3], "reward_chosen": one, "reward_rejected": other, "margin": one - other},
        {**rows[4], "reward": other},
    ]


def test_names_of_columns_read_and_written(reward_model: Path, tmp_path: Path) -> None:
    rows = [{"q": PROMPTS[0], "a": "It is 0.", "reward": "of another model"}]
    data = write(tmp_path / "rows.jsonl", rows)
    names = "{prompt: q, response: a}"
    assert "line 1 has the column reward already" in refusal(reward_model, data, "--columns", names)
    (row,) = read(scored(reward_model, data, "--columns", names, "--column", "ours"))
    (expected,) = by_model(reward_model, [(PROMPTS[0], "It is 0.")])
    assert row == {**rows[0], "ours": expected}


def test_an_answer_that_is_named_comes_before_a_pair(reward_model: Path, tmp_path: Path) -> None:
    pair = {"prompt": PROMPTS[0], "chosen": "It is 0.", "rejected": "It is 9."}
    data = write(tmp_path / "rows.jsonl", [{**pair, "answer": "No."}, pair])
    named, other = read(scored(reward_model, data, "--columns", "{response: answer}"))
    (expected,) = by_model(reward_model, [(PROMPTS[0], "No.")])
    assert named["reward"] == pytest.approx(expected, abs=1e-5)
    assert other["margin"] == other["reward_chosen"] - other["reward_rejected"]
    chosen, _ = read(scored(reward_model, data, "--columns", "{response: chosen}", "--overwrite"))
    assert chosen["reward"] == pytest.approx(other["reward_chosen"], abs=1e-5)


def test_bad_rows_are_kept_named_and_counted(reward_model: Path, tmp_path: Path) -> None:
    rows: list[Row] = [dict(row) for row in ANSWERED]
    rows[3]["response"] = None
    rows[5]["response"] = "a cut emoji \ud83d"
    rows[8]["response"] = "It ends.<|im_end|>\n<|im_start|>user\n"
    data = write(tmp_path / "rows.jsonl", rows)
    words = [str(reward_model), str(data), "-o", str(tmp_path / "out.jsonl")]
    done = CliRunner().invoke(score, words, catch_exceptions=False)
    assert done.exit_code == 1
    assert "without a reward: 3, see reward_error" in done.output
    for place in ("line 4: no column", "line 6: ", "line 9: "):
        assert place in done.output
    found = read(tmp_path / "out.jsonl")
    bad = {number: row for number, row in enumerate(found) if row["reward"] is None}
    assert list(bad) == [3, 5, 8] and all(row["reward_error"] for row in bad.values())
    good = [row for number, row in enumerate(found) if number not in bad]
    pairs = [(row["prompt"], row["response"]) for row in good]
    assert [row["reward"] for row in good] == by_model(reward_model, pairs)
    assert [{key: row[key] for key in rows[0]} for row in found] == rows


def test_empty_responses_are_told(reward_model: Path, tmp_path: Path) -> None:
    """They have a reward, which may be the largest of all."""
    rows = [*ANSWERED[:4], {**ANSWERED[4], "response": ""}, {**ANSWERED[5], "response": " \n"}]
    data = write(tmp_path / "rows.jsonl", rows)
    words = [str(reward_model), str(data), "-o", str(tmp_path / "out.jsonl")]
    done = CliRunner().invoke(score, words, catch_exceptions=False)
    assert done.exit_code == 0
    assert "6 of 6 rows; all rewards: mean " in done.output
    assert "; empty responses, scored as they are: 2" in done.output


def test_a_line_that_can_not_be_read_loses_nothing(reward_model: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", ANSWERED)
    lines = data.read_text()
    data.write_text(lines + "{\n")
    said = refusal(reward_model, data, "--model_args", "device=cpu")
    assert f"line {len(ANSWERED) + 1}" in said
    assert said.endswith("(what is scored is kept: the same command goes on when that is mended)")
    data.write_text(lines)
    assert len(read(scored(reward_model, data))) == len(ANSWERED)


def test_a_reward_that_is_no_number_is_a_bad_row_of_its_own(
    save_reward_model: Callable[..., Path], tmp_path: Path
) -> None:
    """A token whose embedding is NaN spoils the rows that hold it, and no other."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = save_reward_model(seed=3)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        model.get_input_embeddings().weight[tokenizer("Z")["input_ids"][-1]] = torch.nan
    model.save_pretrained(folder)
    rows = [{"prompt": PROMPTS[0], "response": text} for text in ("It is 0.", "Z", "It is 9.")]
    found = read(scored(folder, write(tmp_path / "rows.jsonl", rows), code=1))
    assert [row["reward"] is None for row in found] == [False, True, False]
    assert "nan" in found[1]["reward_error"]


def test_a_killed_run_goes_on(
    reward_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was scored is not scored again, and the output is that of a run that was not killed."""
    monkeypatch.setattr(chunk_module, "CONVERSATIONS", 4)
    data = write(tmp_path / "rows.jsonl", ANSWERED)
    whole = read(scored(reward_model, data, out="whole.jsonl"))
    real, done = run_module.rewards_of, []

    def killed(lm: Any, asked: Any) -> Any:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(len(asked))
        return real(lm, asked)

    monkeypatch.setattr(run_module, "rewards_of", killed)
    words = [str(reward_model), str(data), "-o", str(tmp_path / "out.jsonl")]
    words += ["--model_args", "device=cpu"]
    CliRunner().invoke(score, words)
    assert not (tmp_path / "out.jsonl").exists() and (tmp_path / "out.jsonl.partial").is_dir()

    changed = refusal(reward_model, data, "--model_args", "device=cpu,max_length=64")
    assert "was left by another run" in changed and "max_length" in changed
    rows = [dict(row) for row in ANSWERED]
    rows[1]["response"] = "another one"
    other = write(tmp_path / "other.jsonl", rows)
    assert "rewards of other rows (line 1 to line 4" in refusal(
        reward_model, other, "--model_args", "device=cpu"
    )

    done.clear()
    monkeypatch.setattr(run_module, "rewards_of", lambda *a: done.append(len(a[1])) or real(*a))
    assert read(scored(reward_model, data)) == whole
    assert sum(done) == len(ANSWERED) - 8
    assert not (tmp_path / "out.jsonl.partial").exists()


def test_what_is_there_is_not_replaced_without_a_word(reward_model: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", ANSWERED)
    (tmp_path / "out.jsonl").write_text("mine")
    assert "is there; name another output, or give --overwrite" in refusal(reward_model, data)
    assert (tmp_path / "out.jsonl").read_text() == "mine"
    assert "is the input" in refusal(reward_model, data, out="rows.jsonl")
    assert ".jsonl or .parquet" in refusal(reward_model, data, out="rows.txt")
    assert len(read(scored(reward_model, data, "--overwrite"))) == len(ANSWERED)


def test_no_option_writes_over_what_another_reads_or_writes(
    reward_model: Path, tmp_path: Path
) -> None:
    rows = [{"prompt": PROMPTS[0], "responses": ["It is 0.", "It is 9."]}]
    data = write(tmp_path / "rows.jsonl", rows)
    for file in (data, tmp_path / "out.jsonl"):
        told = refusal(reward_model, data, "--calibration", str(file))
        assert f"--calibration {file} is the" in told
    told = refusal(reward_model, data, "--best-of", "--column", "response")
    assert "--column response is where --best-of writes the best response" in told
    assert "--threshold nan: no reward is" in refusal(reward_model, data, "--threshold", "nan")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"] and read(data) == rows


def test_rows_of_an_earlier_run_say_nothing_of_the_speed() -> None:
    """Else a run that goes on would show a time left of seconds."""
    with RowBar(100, hidden=False) as bar:
        bar.skip(40)
        shown = bar._bar.format_dict
        assert (shown["n"], shown["initial"], shown["rate"]) == (40, 40, None)
        bar.add(10)
        assert bar._bar.format_dict["n"] == 50


def test_what_a_row_lacks_is_told_in_the_words_of_the_command(
    reward_model: Path, tmp_path: Path
) -> None:
    """A column that --columns names and the row has not; a list without an answer."""
    pairs = [{"prompt": "Hi", "chosen": "Yes.", "rejected": "No."}] * 2
    data = write(tmp_path / "pairs.jsonl", pairs)
    told = refusal(reward_model, data, "--columns", "{prompt: q}")
    assert "line 1: no column q (there are: prompt, chosen, rejected); name the columns, as" in told
    assert scored(reward_model, data).exists()  # the refused run has left nothing to go on from
    rows: list[Row] = [ANSWERED[0], {"prompt": "Hi", "responses": []}]
    found = read(scored(reward_model, write(tmp_path / "rows.jsonl", rows), code=1, out="2.jsonl"))
    assert found[1]["reward_error"].startswith("column responses is an empty list, expected")


def test_rows_of_another_kind_are_refused_at_once(reward_model: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", [{"question": "?", "answer": "!"}])
    told = refusal(reward_model, data)
    assert "line 1: no column response" in told and "(filled: question, answer)" in told
    assert "did you mean response?" in refusal(reward_model, data, "--columns", "{respons: answer}")


def test_parquet_keeps_types(reward_model: Path, tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table(
        {
            "id": pyarrow.array([7, 8], pyarrow.int16()),
            "prompt": PROMPTS[:2],
            "response": ["It is 0.", None],
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    out = scored(reward_model, tmp_path / "rows.parquet", code=1, out="out.parquet")
    found = pyarrow.parquet.read_table(out)
    assert found.schema.field("id").type == pyarrow.int16()
    assert found.schema.field("reward").type == pyarrow.float64()
    assert found.select(["id", "prompt", "response"]).equals(table)
    (expected,) = by_model(reward_model, [(PROMPTS[0], "It is 0.")])
    assert found["reward"].to_pylist() == [expected, None]


def test_what_a_table_can_not_hold_is_one_line(reward_model: Path, tmp_path: Path) -> None:
    """Of two columns of one name a row would keep the last; a number may be too large."""
    import pyarrow
    import pyarrow.parquet

    columns = [pyarrow.array([text]) for text in (PROMPTS[0], "It is 0.", "It is 9.")]
    twice = pyarrow.Table.from_arrays(columns, ["prompt", "response", "response"])
    pyarrow.parquet.write_table(twice, tmp_path / "twice.parquet")
    told = refusal(reward_model, tmp_path / "twice.parquet")
    assert "twice.parquet: the column 'response' is there twice" in told
    row = {"prompt": PROMPTS[0], "response": "It is 0.", "n": 2**64}
    data = write(tmp_path / "rows.jsonl", [row])
    told = refusal(reward_model, data, out="out.parquet")
    assert "the rows have no types in common (Python int too large" in told


def test_filters_write_the_best(reward_model: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", ANSWERED)
    whole = read(scored(reward_model, data, out="whole.jsonl"))
    ranked = sorted((row["reward"] for row in whole), reverse=True)
    top = read(scored(reward_model, data, "--top", "5", out="top.jsonl"))
    assert top == [row for row in whole if row["reward"] >= ranked[4]]
    above = read(scored(reward_model, data, "--threshold", str(ranked[6]), out="above.jsonl"))
    assert above == [row for row in whole if row["reward"] >= ranked[6]]
    best = read(scored(reward_model, data, "--best-of", out="best.jsonl"))
    assert best == [
        max((row for row in whole if row["prompt"] == prompt), key=lambda row: row["reward"])
        for prompt in PROMPTS
    ]
    few = read(scored(reward_model, data, "--best-of", "--top", "2", out="few.jsonl"))
    leaders = sorted((row["reward"] for row in best), reverse=True)[:2]
    assert few == [row for row in best if row["reward"] in leaders]


def test_the_best_of_several_responses(reward_model: Path, tmp_path: Path) -> None:
    rows = [
        {"id": prompt, "prompt": prompt, "responses": ["It is 0.", "It is 9.", "No."]}
        for prompt in PROMPTS
    ]
    data = write(tmp_path / "rows.jsonl", rows)
    whole = read(scored(reward_model, data, out="whole.jsonl"))
    best = read(scored(reward_model, data, "--best-of"))
    assert best == [
        {
            "id": row["id"],
            "prompt": row["prompt"],
            "response": row["responses"][row["reward"].index(max(row["reward"]))],
            "reward": max(row["reward"]),
        }
        for row in whole
    ]


def test_the_best_response_in_a_column_that_was_empty(reward_model: Path, tmp_path: Path) -> None:
    """Parquet gives it no type."""
    import pyarrow
    import pyarrow.parquet

    columns = {"prompt": PROMPTS[:1], "responses": [["It is 0.", "No."]], "other": pyarrow.nulls(1)}
    table = pyarrow.table({**columns, "response": pyarrow.nulls(1)})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    out = scored(reward_model, tmp_path / "rows.parquet", "--best-of", out="out.parquet")
    (row,) = pyarrow.parquet.read_table(out).to_pylist()
    assert row["response"] in ("It is 0.", "No.") and row["other"] is None


def test_memory_does_not_grow_with_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the file to the file, filters and all; the model here is none."""
    monkeypatch.setattr(chunk_module, "CONVERSATIONS", 64)
    monkeypatch.setattr(Wanted, "load", lambda self: oracle())
    monkeypatch.setattr(output_module, "PARQUET_ROWS", 64)
    monkeypatch.setattr(archives, "PART", 1 << 14)

    def peak(count: int) -> int:
        data, out = tmp_path / f"{count}.jsonl", tmp_path / f"{count}.parquet"
        with data.open("w") as file:
            for n in range(count):
                row = {"prompt": f"{n} " * 200, "response": f"It is {n}"}
                file.write(json.dumps(row) + "\n")
        order = Order(Source(str(data)), Wanted("none"), out, chosen=Filter(top=50))
        tracemalloc.start()
        outcome = run_module.score(order, print)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert outcome is not None and (outcome.rows, outcome.written) == (count, 50)
        return most

    peak(64)  # imports
    assert peak(3200) < peak(640) + 100_000


def test_a_data_set_of_the_hub_and_another_model(
    reward_model: Path, save_reward_model: Callable[..., Path], tmp_path: Path
) -> None:
    """As `datasets` loads it, by its split; a folder here. The mean of two models."""
    other = save_reward_model(seed=5)
    folder = tmp_path / "set"
    folder.mkdir()
    data = write(folder / "train.jsonl", ANSWERED)
    both = [read(scored(model, data, out=f"{model.name}.jsonl")) for model in (reward_model, other)]
    for made in folder.glob("reward-model*.jsonl"):
        made.rename(tmp_path / made.name)
    words = ["--model", "reward-ensemble", "--limit", "9"]
    out = scored(Path(f"{reward_model};{other}"), folder, *words)
    found = [row["reward"] for row in read(out)]
    assert len(found) == 9
    # rounded otherwise: nine rows stand beside others than eighteen
    assert found == pytest.approx(
        [(a["reward"] + b["reward"]) / 2 for a, b in zip(*both, strict=True)][:9], abs=1e-5
    )


def test_what_a_set_of_the_hub_holds_beside_texts_stays_as_it_is_stored(
    reward_model: Path, tmp_path: Path
) -> None:
    """`datasets` makes objects of images, and an object's text is no image."""
    import datasets
    import pyarrow.parquet

    image = {"bytes": b"no matter", "path": None}
    rows: Row = {"prompt": PROMPTS[:1], "response": ["It is 0."], "image": [image]}
    rows["pages"] = [[image, image]]
    text = datasets.Value("string")
    features = {"prompt": text, "response": text, "image": datasets.Image()}
    features["pages"] = datasets.List(datasets.Image())
    (tmp_path / "set").mkdir()
    made = datasets.Dataset.from_dict(rows, features=datasets.Features(features))
    made.to_parquet(tmp_path / "set" / "train.parquet")
    data = tmp_path / "set"
    (row,) = pyarrow.parquet.read_table(scored(reward_model, data, out="o.parquet")).to_pylist()
    assert row["image"] == image and row["pages"] == [image, image] and row["reward"]
    assert "holds bytes, which JSON has no type for; write .parquet" in refusal(reward_model, data)


def test_a_chunk_ends_by_its_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever came before, and however large a row is."""
    monkeypatch.setattr(chunk_module, "CONVERSATIONS", 4)
    rows = [{"prompt": "?", "responses": ["a", "b", "c"]}, {"prompt": "?", "response": "d"}]
    rows += [{"prompt": "?", "responses": list("abcdef")}, {"prompt": "?", "response": "d"}]
    made = list(chunks(((f"line {n}", row) for n, row in enumerate(rows, 1)), Names(), "rows"))
    assert [(chunk.number, chunk.first, len(chunk.rows)) for chunk in made] == [
        (0, 0, 2),
        (1, 2, 1),
        (2, 3, 1),
    ]
    with pytest.raises(HarnessError, match="rows, line 1: no column"):
        list(chunks([("line 1", {"a": 1})], Names(), "rows"))


@pytest.mark.slow
def test_two_processes_give_the_file_of_one(reward_model: Path, tmp_path: Path) -> None:
    """Rows are divided, and come out in order, to the bit those of one process."""
    rows = [{**row, "n": n} for n in range(80) for row in ANSWERED]
    data = write(tmp_path / "rows.jsonl", rows)
    words = ["-m", "harness", "score", str(reward_model), str(data), "--model_args", "device=cpu"]
    run([[*words, "-o", str(tmp_path / "one.jsonl")]], [{}])
    port = free_port()
    environments = [
        {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "ACCELERATE_USE_CPU": "true",
        }
        for rank in range(2)
    ]
    run([[*words, "-o", str(tmp_path / "two.jsonl")]] * 2, environments)
    assert (tmp_path / "two.jsonl").read_bytes() == (tmp_path / "one.jsonl").read_bytes()


@pytest.mark.slow
def test_ray_gives_the_same_file(reward_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    rows: list[Row] = [{**row, "n": n} for n in range(80) for row in ANSWERED]
    rows[7]["response"] = None  # bad rows as in one process
    data = write(tmp_path / "rows.jsonl", rows)
    command = ["-m", "harness", "score", str(reward_model), str(data)]
    command += ["--model_args", "device=cpu", "-o"]
    one, other = tmp_path / "one.jsonl", tmp_path / "ray.jsonl"
    assert warm.run(*command, one).returncode == 1
    assert warm.run(*command, other, "--ray", "local", "--workers", "2").returncode == 1
    assert other.read_bytes() == one.read_bytes()


def test_ranks_are_compared_within_a_row_alone(
    reward_model: Path, save_reward_model: Callable[..., Path], tmp_path: Path
) -> None:
    """The one response of a row is always the first, and a rank in one row is none in another."""
    rows: list[Row] = [
        {"prompt": PROMPTS[0], "responses": ["It is 0.", "It is 9.", "No."]},
        {"prompt": PROMPTS[1], "response": "It is 2."},
    ]
    data = write(tmp_path / "rows.jsonl", rows)
    ranks = "--model", "reward-ensemble", "--model_args", "device=cpu,combine=rank-mean"
    members = Path(f"{reward_model};{save_reward_model(seed=1)}")
    ranked, alone = read(scored(members, data, *ranks, code=1))
    assert sum(ranked["reward"]) == 6 and len(set(ranked["reward"])) > 1
    assert alone["reward"] is None and "ranks the responses of a row" in alone["reward_error"]
    data = write(tmp_path / "rows.jsonl", rows[:1])
    told = refusal(members, data, *ranks, "--top", "1", "--overwrite")
    assert "--top holds rewards of unlike prompts" in told
    scale = tmp_path / "scale.json"
    told = refusal(members, data, *ranks, "--calibration", str(scale), "--overwrite")
    assert "they have no mean" in told and not scale.exists()
    (best,) = read(scored(members, data, *ranks, "--best-of", "--overwrite"))
    assert best["reward"] == max(ranked["reward"])
