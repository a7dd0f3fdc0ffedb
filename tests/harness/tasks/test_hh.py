"""hh-rlhf's transcripts as conversations, out of lm-eval's own run."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.rows import transcripts
from tests.harness.conftest import oracle

Tasks = Callable[..., Any]
Write = Callable[..., Path]

COUNTS = {
    "hh-helpful-base": 2354,
    "hh-helpful-online": 1137,
    "hh-helpful-rejection-sampled": 2749,
    "hh-harmless-base": 2312,
}
START = "\n\nHuman: What is 1 + 1?\n\nAssistant: Do you mean it?\n\nHuman: Yes.\n\nAssistant:"


def row(chosen: Any, rejected: Any, start: str = START) -> dict[str, str]:
    """A row of the Hub's schema."""
    return {"chosen": f"{start} It is {chosen}", "rejected": f"{start} It is {rejected}"}


def run(manager: Any, names: list[str], model: Any = None, **options: Any) -> Any:
    import lm_eval

    return lm_eval.simple_evaluate(model or oracle(), tasks=names, task_manager=manager, **options)


def accuracy(results: Any, name: str) -> float:
    return float(results["results"][name]["accuracy,none"])


def test_names_and_official_counts(tasks: Tasks) -> None:
    """8,552 rows, as the whole test split of the data set has."""
    manager = tasks()
    leaves = manager.match_tasks(["hh-*"])
    assert {name: manager.task_index[name].cfg["metadata"]["rows"] for name in leaves} == COUNTS
    assert sum(COUNTS.values()) == 8552
    assert manager.match_tasks(["hh_*"]) == ["hh_harmless", "hh_helpful"]
    for name in leaves:
        options = manager.task_index[name].cfg["dataset_kwargs"]
        assert options["hub_id"] == "Anthropic/hh-rlhf"
        assert options["hub_dir"] == name.removeprefix("hh-") and options["benchmark"] == name


def test_helpful_counts_pairs_and_overall_counts_sections(
    tasks: Tasks, write_rows: Write, caplog: pytest.LogCaptureFixture
) -> None:
    """A tie is wrong."""
    write_rows([row(2, 1), row(2, 1), row(1, 1)], "hh-helpful-base")
    write_rows([row(1, 2)], "hh-helpful-online")
    write_rows([row(2, 1)], "hh-helpful-rejection-sampled")
    folder = write_rows([row(1, 2)], "hh-harmless-base")
    results = run(tasks(data_dir=folder), ["hh"])
    assert accuracy(results, "hh-helpful-base") == pytest.approx(2 / 3)
    assert accuracy(results, "hh_helpful") == pytest.approx(3 / 5)
    assert accuracy(results, "hh_harmless") == 0
    assert accuracy(results, "hh") == pytest.approx(3 / 10)
    base = results["results"]["hh-helpful-base"]
    assert base["ties,none"] == pytest.approx(1 / 3) and base["margin,none"] == pytest.approx(2 / 3)
    assert "hh-helpful-base: 3 rows" in caplog.text and "official set has 2354" in caplog.text


def test_the_shared_turns_are_the_prompt(
    tasks: Tasks, write_rows: Write, reward_model: Path
) -> None:
    """A real reward model gets chat turns, not markup."""
    from lm_eval.models.huggingface import HFLM  # noqa: F401  # registers lm-eval's models

    from harness.models.reward import Reward

    manager = tasks(data_dir=write_rows([row(2, 1)], "hh-harmless-base"))
    model = Reward(str(reward_model), device="cpu")
    results = run(manager, ["hh-harmless-base"], model, bootstrap_iters=0)
    (sample,) = results["samples"]["hh-harmless-base"]
    assert sample["doc"]["prompt"] == [
        {"role": "user", "content": "What is 1 + 1?"},
        {"role": "assistant", "content": "Do you mean it?"},
        {"role": "user", "content": "Yes."},
    ]
    assert [request[1] for request in sample["arguments"]] == ["It is 2", "It is 1"]
    assert "Human" not in sample["arguments"][0][0]
    import torch

    messages = [*sample["doc"]["prompt"], {"role": "assistant", "content": "It is 2"}]
    inputs = model.tokenizer.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_tensors="pt"
    )
    with torch.no_grad():
        expected = float(model.model(**inputs).logits)
    assert sample["filtered_resps"][0][0] == pytest.approx(expected, abs=1e-5)


def test_odd_rows_are_kept_or_left_out_and_told(
    tasks: Tasks, write_rows: Write, caplog: pytest.LogCaptureFixture
) -> None:
    """One bad row of many does not stop a run."""
    rows = [
        row(2, 1),
        {"chosen": "no transcript 2", "rejected": "none either 1"},
        {**row(2, 1), "rejected": "\n\nHuman: Another question?\n\nAssistant: It is 1"},
        row(2, 2),
        {**row(3, 1), "chosen": f"{START} It is 4.\n\nHuman: Sure?\n\nAssistant: Yes, 3"},
        row(2, 1, "\n\nHuman: One\n\nHuman: Two\n\nAssistant:"),
    ]
    with caplog.at_level(logging.WARNING):
        results = run(
            tasks(data_dir=write_rows(rows, "hh-helpful-base")),
            ["hh-helpful-base"],
            bootstrap_iters=0,
        )
    samples = results["samples"]["hh-helpful-base"]
    assert [[answer[0] for answer in s["filtered_resps"]] for s in samples] == [
        [2, 1],
        [2, 2],
        [3, 1],
        [2, 1],
    ]
    assert samples[2]["arguments"][0][1] == "It is 4.\n\nHuman: Sure?\n\nAssistant: Yes, 3"
    assert samples[3]["doc"]["prompt"] == [{"role": "user", "content": "One\n\nTwo"}]
    assert "hh-helpful-base.jsonl: 2 of 6 pairs are left out" in caplog.text
    assert "(the first is row 2)" in caplog.text
    assert "1 of 6 pairs have equal transcripts, which always tie" in caplog.text
    assert "1 of 6 pairs differ before the last turn" in caplog.text


def test_an_empty_response_is_scored_and_told(
    tasks: Tasks, write_rows: Write, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_rows([{**row(1, 1), "rejected": START}], "hh-helpful-base")
    loaded = tasks(data_dir=folder).load(["hh-helpful-base"])
    (doc,) = loaded["tasks"]["hh-helpful-base"].eval_docs
    assert doc["rejected"] == ""
    assert "1 of 1 pairs hold an empty response; they are scored as they are" in caplog.text


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"chosen": "Paris", "rejected": "Rome"}],
            "no row is a pair of transcripts; row 1: chosen: a transcript begins with 'Human:', "
            "found 'Paris'",
        ),
        ([{"prompt": "a", "chosen": "b"}], "no column rejected"),
        ([{"chosen": ["a"], "rejected": "b"}], "column chosen is list"),
    ],
)
def test_a_file_that_is_no_transcripts_is_refused(
    tasks: Tasks, write_rows: Write, rows: list[dict[str, Any]], message: str
) -> None:
    manager = tasks(data_dir=write_rows(rows, "hh-helpful-base"))
    with pytest.raises(HarnessError, match=rf"hh-helpful-base\.jsonl.*{message}"):
        run(manager, ["hh-helpful-base"])


def test_a_folder_of_the_hub_gives_its_test_split(tasks: Tasks, tmp_path: Path) -> None:
    """train.jsonl beside it is not evaluated."""
    folder = tmp_path / "hh-harmless-base"
    folder.mkdir()
    (folder / "test.jsonl").write_text(json.dumps(row(2, 1)) + "\n")
    (folder / "train.jsonl").write_text((json.dumps(row(1, 2)) + "\n") * 3)
    results = run(tasks(data_dir=tmp_path), ["hh_harmless"], bootstrap_iters=0)
    assert accuracy(results, "hh_harmless") == 1.0
    assert results["n-samples"]["hh-harmless-base"]["effective"] == 1


def test_a_subset_that_is_not_there_is_absent(
    tasks: Tasks, write_rows: Write, caplog: pytest.LogCaptureFixture
) -> None:
    manager = tasks(data_dir=write_rows([row(2, 1)], "hh-helpful-base"))
    results = run(manager, ["hh"], bootstrap_iters=0)
    assert accuracy(results, "hh") == accuracy(results, "hh_helpful") == 1.0
    assert "accuracy,none" not in results["results"]["hh_harmless"]
    assert "hh_helpful is partial, over 1 of 3 subsets" in caplog.text
    with pytest.raises(HarnessError, match=r"no rows of subset hh-harmless-base .*hh-helpful-base"):
        run(manager, ["hh-harmless-base"])


def test_a_folder_without_any_is_an_error(tasks: Tasks, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"has no hh-helpful-base\.jsonl"):
        run(tasks(data_dir=tmp_path), ["hh_helpful"])


def test_the_hub_is_asked_for_the_subsets_folder(
    tasks: Tasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """datasets' own loader on a folder with the Hub's layout: one part, one split of it."""
    import datasets as hub

    for number, subset in enumerate(("harmless-base", "helpful-base")):
        (tmp_path / "hub" / subset).mkdir(parents=True)
        for split in ("train", "test"):
            with gzip.open(tmp_path / "hub" / subset / f"{split}.jsonl.gz", "wt") as file:
                file.write((json.dumps(row(2 * number, 1)) + "\n") * (2 if split == "test" else 3))
    real = hub.load_dataset

    def load_dataset(path: str, *args: Any, **options: Any) -> Any:
        assert path == "Anthropic/hh-rlhf"
        return real(str(tmp_path / "hub"), *args, cache_dir=str(tmp_path / "cache"), **options)

    monkeypatch.setattr(hub, "load_dataset", load_dataset)
    monkeypatch.setattr("harness.rows.datasets._loaded", {})
    names = ["hh-helpful-base", "hh-harmless-base"]
    results = run(tasks(), names, bootstrap_iters=0)
    assert [accuracy(results, name) for name in names] == [1.0, 0.0]
    assert all(results["n-samples"][name]["effective"] == 2 for name in names)
    source = results["configs"]["hh-helpful-base"]["metadata"]["data_source"]
    assert source == "Anthropic/hh-rlhf/helpful-base (test) on the Hub"


REAL = Path(__file__).parents[4] / "shared" / "data" / "train"


@pytest.mark.skipif(not REAL.is_dir(), reason="no ../shared/data/train")
@pytest.mark.parametrize("name", ["hh_helpful_test", "hh_harmless_test"])
def test_the_real_conversations_alternate(name: str) -> None:
    """All prompts of the copy there, single questions (without markup) aside."""
    lines = (REAL / f"{name}.jsonl").read_text("utf-8").splitlines()
    multi = [row for row in map(json.loads, lines) if transcripts.is_transcript(row["prompt"])]
    assert len(multi) == 1645
    for found in multi:
        prompt = found["prompt"].removesuffix("\n\nAssistant:")
        whole = [f"{prompt}\n\nAssistant: {found[key]}" for key in ("chosen", "rejected")]
        pair = transcripts.pair(*whole)
        assert (pair.chosen, pair.rejected) == tuple(
            found[key].strip() for key in ("chosen", "rejected")
        )
        assert not pair.continues
        roles = [turn["role"] for turn in transcripts.turns(pair.prompt)]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
