"""Real runs of `dogerm train reward --domains`: an adapter for each domain, and who chooses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from harness.commands.train import train
from tests.harness.models.test_reward import requests, reward, rewards, some_pairs
from tests.harness.training.test_router import COLUMNS, WORDS, rows

Write = Callable[[str, list[dict[str, Any]]], Path]
SMALL = {"batch_size": 8, "learning_rate": 1e-2, "evaluations": 1, "checkpoints": 1}


def run(*arguments: str | Path) -> Any:
    argv = ["reward", "--domains", *map(str, arguments)]
    return CliRunner().invoke(train, argv, catch_exceptions=False)


def test_adapters_and_their_router(
    tmp_path: Path,
    language_model: Path,
    reward_model: Path,
    write_config: Callable[..., Path],
    write_jsonl: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run that is cut off after one adapter goes on with the next."""
    from harness.models.adapters import RewardAdapters
    from harness.training import domains

    write_jsonl("prefs.jsonl", rows(24))
    config = write_config(
        model="some/base",
        data=[{"file": "prefs.jsonl", "columns": COLUMNS}],
        lora={"rank": 2},
        training=SMALL,
        validation={"share": 0.3},
    )
    out = tmp_path / "out"
    trained: list[str] = []
    train_reward = domains.train_reward

    def cut(settings: Any, *rest: Any) -> Any:
        if len(trained) == 1:
            raise RuntimeError("killed")
        trained.append(settings.domain)
        return train_reward(settings, *rest)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(domains, "train_reward", cut)
        run(config, "-o", out, "--model", language_model)
    before = (out / "math" / "adapter_model.safetensors").stat().st_mtime_ns
    result = run(config, "-o", out, "--model", language_model)
    assert result.exit_code == 0, result.output
    assert "domain math: finished already" in result.output
    assert (out / "math" / "adapter_model.safetensors").stat().st_mtime_ns == before
    for name in WORDS:
        figures = json.loads((out / name / "figures.json").read_text())
        assert figures["training_rows"] == {"prefs": figures["training_rows"]["prefs"]}
        assert 10 <= figures["training_rows"]["prefs"] <= 22  # of its own 24 rows alone
    content = yaml.safe_load((out / "router" / "router.yml").read_text())
    assert set(content["experts"]) == set(WORDS) == set(content["calibration"])
    assert (out / "router" / content["base"]).resolve() == language_model.resolve()
    assert all(scale["base"] for scale in content["calibration"].values())
    figures = out / "math" / "figures.json"
    figures.rename(tmp_path / "kept.json")  # as a kill after the adapter would leave it
    monkeypatch.chdir(tmp_path)
    again = run(config, "-o", "out", "--model", language_model)
    assert again.exit_code == 0 and "the router: finished already" in again.output, again.output
    (tmp_path / "kept.json").rename(figures)
    another = shutil.copytree(reward_model, tmp_path / "another")
    refused = run(config, "-o", out, "--model", another)
    assert refused.exit_code == 1 and "model's files" in refused.output, refused.output
    model = RewardAdapters(router=str(out / "router"), device="cpu", batch_size=4)
    answers = model.loglikelihood(requests(some_pairs(4)), True)
    assert model.get_model_info()["calibrated"] and len(answers) == 8
    alone = reward(language_model, peft=str(out / "math"))
    raw = [answer.score for answer in model.score_with("math", requests(some_pairs(4)), True)]
    assert raw == pytest.approx(rewards(alone, some_pairs(4)), abs=1e-5)


@pytest.mark.parametrize("routed", [True, False])
def test_calibrated_on_nothing_that_an_adapter_has_learned(
    routed: bool,
    tmp_path: Path,
    language_model: Path,
    write_config: Callable[..., Path],
    write_jsonl: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Prompts held out in one domain, and those too long to be validated on, are others' rows."""
    from harness.training import domains, router

    topic, learned = COLUMNS["domain"], rows(16)
    if not routed:  # every prompt in two domains
        learned = [{**row, topic: name} for row in rows(16) for name in ("math", "code")]
    names = list(dict.fromkeys(row[topic] for row in learned))
    another = {names[0]: names[1], names[1]: names[0]}
    strange = [{**row, topic: another[row[topic]]} for row in learned if row[topic] in another]
    long = [{**row, "good": row["good"] + " so" * 80} for row in learned[-12:]]
    fresh = [{**row, "question": row["question"] + " Again!"} for row in learned[-9:]]
    write_jsonl("prefs.jsonl", learned)
    write_jsonl("other.jsonl", [*strange[:8:2], *long, *fresh])
    config = write_config(
        model="some/base",
        data=[{"file": "prefs.jsonl", "columns": COLUMNS}],
        lora={"rank": 2},
        max_length=100,
        training=SMALL,
        validation={"data": [{"file": "other.jsonl", "columns": COLUMNS}]},
    )
    asked: list[dict[str, Any]] = []

    def calibrate(
        experts: Any, pairs: list[dict[str, Any]], count: int, kept: Path, *_: Any
    ) -> dict[str, Any]:
        kept.mkdir(parents=True, exist_ok=True)
        asked.extend(pairs)
        return {}

    for module in (domains, router):
        monkeypatch.setattr(module, "calibrate", calibrate)
    result = run(config, "-o", tmp_path / "out", "--model", language_model)
    assert result.exit_code == 0, result.output
    assert ("no router" in result.output) is not routed
    assert {row["prompt"] for row in asked} == {row["question"] for row in fresh}
    assert "have prompts that an adapter is trained on: left out" in result.output


def test_a_change_in_one_domain_leaves_the_others(
    tmp_path: Path,
    language_model: Path,
    write_config: Callable[..., Path],
    write_jsonl: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A finished adapter is kept where only another domain's entry of `data` is corrected."""
    from harness.training import domains

    monkeypatch.setattr(domains, "_router", lambda *_: {"validation": {}})
    prepared = rows(16)
    for name in WORDS:
        write_jsonl(f"{name}.jsonl", [row for row in prepared if row[COLUMNS["domain"]] == name])
    names = {key: value for key, value in COLUMNS.items() if key != "domain"}

    def train_all(count: int) -> Any:
        sources = [{"file": f"{name}.jsonl", "columns": names, "domain": name} for name in WORDS]
        sources[-1]["rows"] = count
        config = write_config(
            model="some/base",
            data=sources,
            lora={"rank": 2},
            training=SMALL,
            validation={"share": 0.3},
        )
        return run(config, "-o", tmp_path / "out", "--model", language_model)

    assert train_all(8).exit_code == 0
    changed = train_all(6)
    assert "`data` differs" in changed.output and f"domain {list(WORDS)[-1]}: " in changed.output
    for name in list(WORDS)[:-1]:
        assert f"domain {name}: finished already" in changed.output


def test_answers_by_domain_as_dsp_has_them(
    tmp_path: Path, language_model: Path, write_config: Callable[..., Path]
) -> None:
    """Each domain's own answer against the others'; no prompt tells whose it is."""
    from harness.training.config import Source
    from harness.training.rows import PAIR, read_rows

    table = [
        {"query": f"What is {n}?", "responses": {"law": f"Law {n}", "art": f"Art {n}", "": ""}}
        for n in range(16)
    ]
    (tmp_path / "dsp.json").write_text(json.dumps(table))
    read = read_rows(Source(file="dsp.json"), PAIR, tmp_path)
    assert len(read) == 32
    assert read[0] == {
        "prompt": "What is 0?",
        "chosen": "Law 0",
        "rejected": "Art 0",
        "domain": "law",
    }
    config = write_config(
        model="some/base",
        data=[{"file": "dsp.json"}],
        lora={"rank": 2},
        training=SMALL,
        validation={"share": 0.4},
    )
    out = tmp_path / "out"
    result = run(config, "-o", out, "--model", language_model)
    assert result.exit_code == 0, result.output
    assert "no router: every prompt stands in several domains" in result.output
    content = yaml.safe_load((out / "router" / "router.yml").read_text())
    assert (content["router"], content["domain"]) == ("oracle", "subset")
    assert set(content["experts"]) == {"law", "art"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": [{"generator": "sums", "rows": 20}]}, "sums: its rows say no domain"),
        ({"data": [{"generator": "sums", "rows": 20, "domain": "a"}]}, "of 1 domain (a): for one"),
        (
            {
                "data": [
                    {"generator": "sums", "rows": 20, "domain": "router"},
                    {"generator": "basics", "rows": 20, "domain": "b"},
                ]
            },
            "the domain 'router' becomes a folder's and an expert's name",
        ),
        (
            {
                "data": [
                    {"generator": "sums", "rows": 20, "domain": "oracle"},
                    {"generator": "basics", "rows": 20, "domain": "b"},
                ]
            },
            "and none of 'router', 'oracle', 'routed'",
        ),
        ({"router": {"experts": {"a": "b"}}}, "as the adapters are the experts"),
        ({"domain": "a"}, "`domain` has no effect here"),
    ],
)
def test_mistakes_are_one_line(
    change: dict[str, Any],
    words: str,
    tmp_path: Path,
    language_model: Path,
    write_config: Callable[..., Path],
) -> None:
    content = {"model": "some/base", "data": [{"generator": "sums", "rows": 20}], **change}
    result = run(write_config(**content), "-o", tmp_path / "out", "--model", language_model)
    assert result.exit_code != 0 and words in result.output, result.output
    assert "Traceback" not in result.output


def test_a_folder_of_other_things(
    tmp_path: Path, language_model: Path, write_config: Callable[..., Path]
) -> None:
    data = [
        {"generator": "sums", "rows": 20, "domain": "a"},
        {"generator": "basics", "rows": 20, "domain": "b"},
    ]
    (tmp_path / "out" / "c").mkdir(parents=True)
    config = write_config(model="some/base", data=data)
    result = run(config, "-o", tmp_path / "out", "--model", language_model)
    assert result.exit_code == 1 and "holds c, which is none of the domains (a, b)" in result.output
