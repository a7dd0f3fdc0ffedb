# SPDX-License-Identifier: Apache-2.0
"""Real runs of `dogerm train customized`: three stages, alone and together, killed and gone on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.commands.train import train
from harness.errors import HarnessError
from harness.training.config import Columns, Config, Source, Validation
from harness.training.domains import of_domain
from harness.training.read_config import read_stages
from harness.training.reward import gather_pairs
from harness.training.sft import SftTraining
from harness.training.stage_rows import GENERAL_PAIRS, gather_stages
from harness.training.stage_scores import _by_reward
from tests.harness.training.conftest import pairs

Write = Callable[[str, list[dict[str, Any]]], Path]
SMALL = {"batch_size": 8, "learning_rate": 1e-2, "evaluations": 1, "checkpoints": 1}
DOMAINS = ("law", "art", "normal")


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(train, ["customized", *map(str, arguments)], catch_exceptions=False)


def dsp_rows(count: int) -> list[dict[str, Any]]:
    """Rows as DSP has them."""
    return [
        {
            "query": f"Please tell me of the number {n}!",
            "responses": {name: f"The {name} of {n} is {n * 7}." for name in DOMAINS},
        }
        for n in range(count)
    ]


@pytest.fixture
def content(write_jsonl: Write, tmp_path: Path) -> dict[str, Any]:
    """Three stages on small files: sums, pairs in general, DSP's form."""
    write_jsonl("general.jsonl", pairs(60))
    (tmp_path / "dsp.json").write_text(json.dumps(dsp_rows(40)), "utf-8")
    return {
        "model": "some/base",
        "lora": {"rank": 2},
        "training": SMALL,
        "validation": {"share": 0.3},
        "language_model": {"data": [{"generator": "sums", "rows": 40}]},
        "general": {"data": [{"file": "general.jsonl"}], "training": {"learning_rate": 5e-3}},
        "customized": {
            "data": [{"file": "dsp.json"}],
            "domains": ["law", "art"],
            "imitation": {"weight": 0.1, "threshold": 0.85},
        },
    }


def times(folder: Path) -> dict[str, int]:
    """When each finished file of the stages was written."""
    return {str(f): f.stat().st_mtime_ns for f in folder.rglob("*.safetensors")}


def test_three_stages(
    tmp_path: Path, language_model: Path, write_config: Callable[..., Path], content: dict[str, Any]
) -> None:
    """Adapters, each on the whole model before it, whose head and language head are kept."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    out = tmp_path / "out"
    config = write_config(**content)
    result = run(config, "-o", out, "--model", language_model)
    assert result.exit_code == 0, result.output

    found = json.loads((out / "stages.json").read_text())
    assert [(one["name"], one["since"]) for one in found["stages"]] == [
        ("language model", None),
        ("general", "language model"),
        ("law", "general"),
        ("art", "general"),
    ]
    for one in found["stages"]:
        assert list(one["accuracy"]) == [*DOMAINS, GENERAL_PAIRS]
        for name, figure in one["accuracy"].items():
            per_prompt = 1 if name == GENERAL_PAIRS else 2
            assert figure["pairs"] == per_prompt * figure["prompts"] > 0
        by_domain = [one["accuracy"][name]["accuracy"] for name in DOMAINS]
        assert sum(by_domain) / 3 == pytest.approx(0.5)  # each pair stands there twice; no ties
    assert "pairs stand in another domain from the other side" in found["notes"][0]
    law = found["stages"][2]
    change = law["change"]["law"]
    general = found["stages"][1]["accuracy"]["law"]["accuracy"]
    assert change["a"] == pytest.approx(general)
    assert change["b"] == pytest.approx(law["accuracy"]["law"]["accuracy"])
    assert change["low"] <= change["difference"] <= change["high"]
    assert (out / "stages.png").stat().st_size > 5000
    assert "customized for law: accuracy on held-out pairs" in result.output

    general_model = AutoModelForSequenceClassification.from_pretrained(out / "general" / "model")
    causal = AutoModelForCausalLM.from_pretrained(out / "general" / "model")
    first = AutoModelForCausalLM.from_pretrained(out / "language_model" / "model")
    assert torch.equal(causal.lm_head.weight, first.lm_head.weight)
    settings = json.loads((out / "customized" / "law" / "adapter_config.json").read_text())
    base = out / "customized" / "law" / settings["base_model_name_or_path"]
    assert base.resolve() == (out / "general" / "model").resolve()
    assert torch.isfinite(general_model.score.weight).all()
    rows = json.loads((out / "customized" / "law" / "figures.json").read_text())["training_rows"]
    assert rows[GENERAL_PAIRS] / sum(rows.values()) == pytest.approx(0.2, abs=0.01)

    before = times(out)
    again = run(config, "-o", out, "--model", language_model)
    assert again.exit_code == 0 and again.output.count(": finished already") == 4
    assert times(out) == before
    assert json.loads((out / "stages.json").read_text()) == found

    content["customized"]["imitation"] = {"weight": 0.2}
    changed = write_config("changed.yml", **content)
    refused = run(changed, "-o", out, "--model", language_model)
    assert refused.exit_code == 1 and times(out) == before
    assert refused.output.count(": finished already") == 2
    assert json.loads((out / "stages.json").read_text()) == found
    assert "customized/law: " in refused.output and "`imitation.threshold` was" in refused.output


def test_step_0_is_the_general_model(
    tmp_path: Path, reward_model: Path, content: dict[str, Any], write_config: Callable[..., Path]
) -> None:
    """The rewards that a customised model starts with are the general model's, adapter and all."""
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForSequenceClassification

    from harness.training.rewards import score
    from harness.training.stage_reward import StageReward
    from harness.training.trainer import load_tokenizer, lora_settings

    content = {key: content[key] for key in ("training", "lora", "validation", "customized")}
    content["customized"] = {**content["customized"], "general_share": 0, "imitation": {}}
    content["general"] = {"model": str(reward_model)}
    stages = read_stages(write_config(**content))
    config = of_domain(stages.config("customized", "m"), "law")
    tokenizer = load_tokenizer(str(reward_model), may_pad_with_end=False)
    rows = gather_stages(
        None, None, {"law": config}, ["law"], 0.0, tokenizer, "m", tmp_path
    ).domains["law"]
    training = StageReward(config, tmp_path, str(reward_model), "float32", start="", rows=rows)
    training.gather()
    model = training.load()
    model = get_peft_model(model, lora_settings(config.lora, model, "SEQ_CLS"))
    plain = AutoModelForSequenceClassification.from_pretrained(reward_model, dtype=torch.float32)
    sequences = [ids["chosen_ids"] for part in rows[0] for ids in part.ids][:8]
    found = score(model, sequences, tokenizer.pad_token_id, 4)
    with torch.no_grad():
        expected = [plain(torch.tensor([ids])).logits.item() for ids in sequences]
    assert found == pytest.approx(expected, abs=1e-5)
    assert len(set(expected)) == 4  # each answer stands against two others


def test_a_killed_run_goes_on(
    tmp_path: Path,
    language_model: Path,
    write_config: Callable[..., Path],
    content: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the stage and the checkpoint where it was; and at an export that was cut off."""
    from harness.training import customized
    from harness.training.stage_reward import StageReward

    del content["language_model"]
    content["customized"]["domains"] = ["art"]
    config, out = write_config(**content), tmp_path / "out"

    def killed(*_: Any, **__: Any) -> Any:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(StageReward, "save", killed)
        run(config, "-o", out, "--model", language_model)
    assert not (out / "general" / "adapter_model.safetensors").exists()
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(customized, "export_checkpoint", killed)
        run(config, "-o", out, "--model", language_model)
    assert (out / "general" / "adapter_model.safetensors").exists()
    result = run(config, "-o", out, "--model", language_model)
    assert result.exit_code == 0, result.output
    assert "general: finished already" in result.output
    assert (out / "customized" / "art" / "model" / "config.json").exists()
    (out / "general" / "adapter_model.safetensors").unlink()
    result = run(config, "-o", out, "--model", language_model)
    assert result.exit_code == 0 and "customized/art: finished already" in result.output


def test_a_reward_model_trained_further_is_no_language_model(
    tmp_path: Path, reward_model: Path, write_config: Callable[..., Path], content: dict[str, Any]
) -> None:
    """Its head for tokens would be random, so the first stage has no accuracy of one."""
    for key in ("language_model", "customized"):
        del content[key]
    out = tmp_path / "out"
    result = run(write_config(**content), "-o", out, "--model", reward_model)
    assert result.exit_code == 0, result.output
    assert "the language model is not scored: " in result.output
    found = json.loads((out / "stages.json").read_text())["stages"]
    assert [one["name"] for one in found] == ["general"]
    assert list(found[0]["accuracy"]) == [GENERAL_PAIRS]


@pytest.mark.slow
def test_whole_models_and_a_domain_column(
    tmp_path: Path, language_model: Path, write_config: Callable[..., Path], write_jsonl: Write
) -> None:
    """Without adapters; then the last stage alone, from the reward model of the run before."""
    from transformers import AutoModelForCausalLM

    rows = [
        {"q": row["prompt"], "good": row["chosen"], "bad": row["rejected"], "topic": topic}
        for topic in ("even", "odd")
        for row in pairs(60)[topic == "odd" :: 2]
    ]
    write_jsonl("prefs.jsonl", rows)
    columns = {"prompt": "q", "chosen": "good", "rejected": "bad", "domain": "topic"}
    shared = {"training": {**SMALL, "learning_rate": 1e-3}, "validation": {"share": 0.3}}
    source = {"file": "prefs.jsonl", "columns": columns}
    last = {"data": [source], "imitation": {"weight": 0.1, "tokens": "all"}}
    write_jsonl("general.jsonl", pairs(60))
    general = {"data": [{"file": "general.jsonl"}]}
    config = write_config(
        "a.yml", model="some/base", lora=None, general=general, customized=last, **shared
    )
    out = tmp_path / "a"
    result = run(config, "-o", out, "--model", language_model)
    assert result.exit_code == 0, result.output
    assert not (out / "general" / "model").exists()
    kept = AutoModelForCausalLM.from_pretrained(out / "general")
    plain = AutoModelForCausalLM.from_pretrained(language_model)
    assert kept.lm_head.weight.equal(plain.lm_head.weight)
    again = run(config, "-o", out, "--model", language_model)
    assert again.output.count(": finished already") == 3, again.output

    config = write_config(
        "b.yml",
        lora={"rank": 2},
        general={"model": str(out / "general")},
        customized={**last, "general_share": 0},
        **shared,
    )
    result = run(config, "-o", tmp_path / "b")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "b" / "stages.json").read_text())["stages"]
    assert [one["name"] for one in found] == ["general", "even", "odd"]
    first = json.loads((out / "stages.json").read_text())["stages"][1]
    assert found[0]["accuracy"]["even"] == first["accuracy"]["even"]  # of the same model and rows
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [
        "customized",
        "held_out",
        "stages.json",
        "stages.png",
    ]


def test_a_first_stage_alone_and_transcripts(
    tmp_path: Path, language_model: Path, write_config: Callable[..., Path], write_jsonl: Write
) -> None:
    """hh-rlhf's transcripts, a file for each domain; and stages that need no later one."""
    for name, word in (("helpful", "Sure"), ("harmless", "No")):
        rows = [
            {
                side: f"\n\nHuman: What of {n}?\n\nAssistant: {answer} {n}."
                for side, answer in (("chosen", word), ("rejected", "Hm"))
            }
            for n in range(40)
        ]
        write_jsonl(f"{name}.jsonl", rows)
    shared = {"model": "some/base", "lora": {"rank": 2}, "training": SMALL}
    shared["validation"] = {"share": 0.3}
    sft = write_config(
        "sft.yml", **shared, language_model={"data": [{"generator": "sums", "rows": 30}]}
    )
    result = run(sft, "-o", tmp_path / "sft", "--model", language_model)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "sft" / "language_model" / "model" / "config.json").exists()
    assert not (tmp_path / "sft" / "stages.json").exists()  # there is nothing to judge by

    data = [{"file": f"{name}.jsonl", "domain": name} for name in ("helpful", "harmless")]
    config = write_config(
        "hh.yml",
        **shared,
        general={"data": data},
        customized={"data": data, "domains": ["harmless"]},
    )
    result = run(config, "-o", tmp_path / "hh", "--model", tmp_path / "sft/language_model/model")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "hh" / "stages.json").read_text())["stages"]
    assert [one["name"] for one in found] == ["language model", "general", "harmless"]
    assert list(found[2]["accuracy"]) == ["helpful", "harmless", GENERAL_PAIRS]


def test_no_held_out_prompt_is_learned(tmp_path: Path, tokenizer: Any, write_jsonl: Write) -> None:
    """Neither a domain's nor the general pairs'; and what came before is not changed for it."""
    rows = pairs(80)
    write_jsonl("general.jsonl", rows)
    write_jsonl("a.jsonl", rows[:50])
    write_jsonl("b.jsonl", [{**row, "extra": 0.5} for row in rows[30:]])
    data = [
        Source(file="a.jsonl", domain="a"),
        Source(file="b.jsonl", domain="b", columns=Columns(margin="extra")),
    ]
    general = Config(
        model="m", data=[Source(file="general.jsonl")], validation=Validation(share=0.2)
    )
    wider = Config(model="m", data=data, validation=Validation(share=0.4))
    domains = {name: wider.model_copy(update={"domain": name}) for name in "ab"}
    made = gather_stages(None, general, domains, ["a", "b"], 0.25, tokenizer, "m", tmp_path)
    assert made.general is not None
    held = {row["prompt"] for part in made.held_out.values() for row in part.rows}
    before = {row["prompt"] for part in made.general[0] for row in part.rows}
    assert not held & before and len(held) > 5
    for name in "ab":
        own, drawn = made.domains[name][0]
        learned = {row["prompt"] for part in (own, drawn) for row in part.rows}
        assert not held & learned
        assert drawn.name == GENERAL_PAIRS and len(drawn.rows) == round(len(own.rows) / 3)
        assert {"margin" in ids for ids in (*own.ids, *drawn.ids)} == {True}
    assert {"margin" in ids for part in made.general[0] for ids in part.ids} == {False}
    twice = gather_stages(None, general, domains, ["a", "b"], 0.25, tokenizer, "m", tmp_path)
    assert twice.domains["a"][0][1].rows == made.domains["a"][0][1].rows


def test_what_the_language_model_has_learned_is_known_by_its_lengths(
    tmp_path: Path, tokenizer: Any, language_model: Path, write_jsonl: Write
) -> None:
    """Which rows a source's `rows` draws depends on how many `max_length` leaves out."""
    rows = pairs(120)
    write_jsonl("pairs.jsonl", rows)
    answered = [
        {"prompt": row["prompt"], "response": row["chosen"] + " So it is." * (40 * (n % 2))}
        for n, row in enumerate(rows)
    ]
    write_jsonl("answered.jsonl", answered)
    share = Validation(share=0.05)
    source = Source(file="answered.jsonl", rows=20)
    first = Config(model="m", data=[source], max_length=150, validation=share)
    own = Config(
        model="m",
        data=[Source(file="pairs.jsonl", domain="a")],
        domain="a",
        validation=Validation(share=0.5),
    )
    made = gather_stages(first, None, {"a": own}, ["a"], 0.0, tokenizer, "m", tmp_path)
    parts, _ = SftTraining(first, tmp_path, str(language_model), "float32").gather()
    learned = {row["prompt"] for part in parts for row in part.rows}
    held = {row["prompt"] for row in made.held_out["a"].rows}
    assert len(learned) == 20 and len(held) > 20 and not learned & held


def test_the_tokenizer_says_what_pads(
    tmp_path: Path, tokenizer: Any, reward_model: Path, write_jsonl: Write
) -> None:
    """In the scores of a model whose config says nothing, or a token that stands in the rows."""
    write_jsonl("pairs.jsonl", pairs(40))
    own = Config(model="m", data=[Source(file="pairs.jsonl")], validation=Validation(share=0.4))
    held = gather_pairs(own, tokenizer, "m", tmp_path)[1][0]
    last = held.ids[0]["chosen_ids"][-1]
    found = []
    for number, pad in enumerate((tokenizer.pad_token_id, None, last)):
        model = shutil.copytree(reward_model, tmp_path / f"model-{number}")
        settings = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps({**settings, "pad_token_id": pad}))
        found.append(_by_reward(str(model), [held], tokenizer, "float32", 4))
    assert found[0] == found[1] == found[2]


def test_the_first_stage_has_no_rewards(
    tmp_path: Path, write_config: Callable[..., Path], language_model: Path
) -> None:
    """What is shared and for rewards is left out of it; what is its own is refused."""
    more: dict[str, Any] = {"model": "m", "training": {**SMALL, "center_rewards": 0.1}}
    first: dict[str, Any] = {"data": [{"generator": "sums", "rows": 20}]}
    stages = read_stages(write_config(**more, language_model=first, general={"data": DATA}))
    assert stages.config("general", "m").training.center_rewards == 0.1
    assert stages.config("language_model", "m").training.center_rewards is None
    assert stages.config("language_model", "m").training.batch_size == SMALL["batch_size"]
    first["training"] = {"head": "zero"}
    config = write_config(**more, language_model=first)
    result = run(config, "-o", tmp_path / "out", "--model", language_model)
    assert result.exit_code == 1 and "`training.head` has no effect here" in result.output


def test_rows_that_were_all_learned_before(
    tmp_path: Path, tokenizer: Any, write_jsonl: Write
) -> None:
    write_jsonl("general.jsonl", pairs(40))
    write_jsonl("held.jsonl", pairs(8))
    general = Config(
        model="m",
        data=[Source(file="general.jsonl")],
        validation=Validation(data=[Source(generator="basics", rows=5)]),
    )
    own = Config(
        model="m",
        data=[Source(file="general.jsonl", domain="a")],
        domain="a",
        validation=Validation(data=[Source(file="held.jsonl", domain="a")]),
    )
    with pytest.raises(HarnessError, match="a: the general reward model is trained on the prompts"):
        gather_stages(None, general, {"a": own}, ["a"], 0.0, tokenizer, "m", tmp_path)


DATA = [{"generator": "sums", "rows": 20, "domain": "a"}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "no stage: give `language_model`, `general` or `customized`"),
        ({"general": {"data": []}}, "`general`: `data` is empty"),
        ({"general": {"data": DATA, "epochs": 1}}, "`general`: unknown key `epochs`"),
        ({"general": {"dat": DATA}}, "unknown key `dat`: did you mean `data`"),
        ({"customised": {}}, "unknown key `customised`: did you mean `customized`"),
        ({"customized": {"data": DATA}}, "starts from a general reward model"),
        ({"general": {"model": "x"}}, "so `customized` is missing"),
        (
            {"general": {"model": "x"}, "customized": {"data": DATA}},
            "leave out its other settings, `language_model` and the `model` at the top",
        ),
        (
            {"model": None, "general": {"model": "x"}, "customized": {"data": DATA}},
            "`general_share` needs general pairs",
        ),
        ({"model": None, "general": {"data": DATA}}, "`model` is missing"),
        (
            {"general": {"data": DATA}, "customized": {"data": DATA, "general_share": 1}},
            "`general_share` must be from 0 to below 1",
        ),
        ({"general": {"data": DATA, "imitation": {"weight": -1}}}, "`weight` must be 0 or above"),
        ({"general": {"data": DATA}, "imitation": {"tokens": "some"}}, "response or all"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(
    change: dict[str, Any], message: str, write_config: Callable[..., Path]
) -> None:
    path = write_config(**{"model": "some/base", **change})
    with pytest.raises(HarnessError) as caught:
        read_stages(path)
    assert message in str(caught.value) and str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"domains": ["lore"]}, "no rows are of the domain 'lore' (found: law, art, normal)"),
        ({"data": [{"file": "general.jsonl"}]}, "its rows say no domain"),
        ({"data": [{"file": "general.jsonl", "domain": "a/b"}], "domains": []}, "a folder's name"),
    ],
)
def test_a_mistake_in_the_domains_is_one_line(
    change: dict[str, Any],
    message: str,
    content: dict[str, Any],
    tmp_path: Path,
    language_model: Path,
    write_config: Callable[..., Path],
) -> None:
    content["customized"] |= change
    out = tmp_path / "out"
    result = run(write_config(**content), "-o", out, "--model", language_model)
    assert result.exit_code == 1 and message in result.output and "Traceback" not in result.output
    assert not out.exists()


def test_stages_are_trained_by_one_process(
    tmp_path: Path,
    write_config: Callable[..., Path],
    content: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = run(write_config(**content), "-o", tmp_path / "out")
    assert result.exit_code == 1 and "stages are trained by one process" in result.output
    assert not (tmp_path / "out").exists()


def test_folders_and_models_that_are_not_meant(
    tmp_path: Path, language_model: Path, write_config: Callable[..., Path], content: dict[str, Any]
) -> None:
    (tmp_path / "out" / "notes").mkdir(parents=True)
    result = run(write_config(**content), "-o", tmp_path / "out", "--model", language_model)
    assert result.exit_code == 1 and "holds notes, which is none of the stages" in result.output
    for key in ("model", "language_model"):
        del content[key]
    content["general"] = {**content["general"], "model": str(language_model)}
    del content["general"]["training"]
    result = run(write_config(**content), "-o", tmp_path / "new")
    assert result.exit_code == 1 and "is no reward model: it holds no score.weight" in result.output


def test_a_domain_of_few_rows_stops_no_other(
    tmp_path: Path, tokenizer: Any, write_jsonl: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has nothing to be judged by: it is not reported, and can't be customised."""
    rows = [{**one, "topic": "law"} for one in pairs(40)]
    rows += [{"prompt": "What now?", "chosen": "This.", "rejected": "That.", "topic": "art"}]
    write_jsonl("rows.jsonl", rows)
    source = Source(file="rows.jsonl", columns=Columns(domain="topic"))
    config = Config(model="m", data=[source], validation=Validation(share=0.3))
    domains = {name: of_domain(config, name) for name in ("law", "art")}
    made = gather_stages(None, None, domains, ["law"], 0, tokenizer, "m", tmp_path)
    assert list(made.held_out) == ["law"] and list(made.domains) == ["law"]
    assert "rows (law): " in (said := capsys.readouterr().err)
    assert "domain art: no validation rows are left" in said and "is not reported" in said
    with pytest.raises(HarnessError, match="domain art: no validation rows are left"):
        gather_stages(None, None, domains, ["art"], 0, tokenizer, "m", tmp_path)
