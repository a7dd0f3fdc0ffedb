"""Real runs of `dogerm train router`: what it learns, what it keeps, and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from harness.commands.train import train

Write = Callable[[str, list[dict[str, Any]]], Path]
WORDS = {
    "math": "What is {0} + {0} or {0} times two",
    "code": "def add(a, b): return a + {0}",
    "chat": "please be kind and brief {0} Paris",
}


def rows(count: int, **more: Any) -> list[dict[str, Any]]:
    """Prompts of three domains, told apart by their words."""
    return [
        {
            "question": words.format(number),
            "good": f"It is {number}.",
            "bad": f"I cannot, {number}!",
            "topic": domain,
            **more,
        }
        for number in range(count)
        for domain, words in WORDS.items()
    ]


UNTOLD = {"prompt": "question", "chosen": "good", "rejected": "bad"}
COLUMNS = {**UNTOLD, "domain": "topic"}


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(train, ["router", *map(str, arguments)], catch_exceptions=False)


@pytest.mark.parametrize("kind", ["probe", "centroid"])
def test_a_router_from_rows_to_rewards(
    kind: str,
    tmp_path: Path,
    save_reward_model: Callable[..., Path],
    language_model: Path,
    write_config: Callable[..., Path],
    write_jsonl: Write,
) -> None:
    """Fit, calibrate, and score with the folder that comes out."""
    from harness.models.reward import Reward
    from harness.models.router import RewardRouter
    from tests.harness.models.test_reward import requests
    from tests.harness.models.test_router import talks

    write_jsonl("prefs.jsonl", rows(40))
    experts = {name: save_reward_model(seed=seed) for seed, name in enumerate(WORDS, 41)}
    config = write_config(
        model=str(language_model),
        data=[{"file": "prefs.jsonl", "columns": COLUMNS}],
        router={
            "kind": kind,
            "experts": {name: str(place) for name, place in experts.items()},
            "calibration_rows": 12,
        },
        validation={"share": 0.3},
    )
    out = tmp_path / "router"
    result = run(config, "-o", out)
    assert result.exit_code == 0, result.output
    figures = json.loads((out / "figures.json").read_text())
    told = figures["validation"]["held out"]
    assert told["accuracy"] > 0.9 > told["largest_domain"]
    assert (
        sum(map(sum, (d.values() for d in figures["confusion"]["held out"].values())))
        == told["prompts"]
    )
    assert (out / "confusion.png").stat().st_size > 2000
    assert not (out / "checkpoints").exists()

    model = RewardRouter(router=str(out), device="cpu", batch_size=4)
    asked = [(row["question"], row[key]) for row in rows(6) for key in ("good", "bad")]
    answers = model.loglikelihood(requests(talks(asked)), True)
    went = [answer[2]["expert"] for answer in answers[::2]]
    of = [row["topic"] for row in rows(6)]
    assert sum(one == other for one, other in zip(went, of, strict=True)) > 12
    assert model.kind == f"routed reward ({kind})"

    content = yaml.safe_load((out / "router.yml").read_text())
    assert content["experts"].keys() == WORDS.keys()
    held_out = [row for row in rows(40)]
    scale = content["calibration"]["math"]
    assert scale["std"] > 0 and scale["files"]
    alone = Reward(str(experts["math"]), device="cpu", batch_size=4)
    every = [
        answer[0]
        for answer in alone.loglikelihood(
            requests([(row["question"], row[k]) for row in held_out for k in ("good", "bad")]), True
        )
    ]
    # twelve pairs of the held-out ones: within what a sample's mean may be off
    assert scale["mean"] == pytest.approx(np.mean(every), abs=4 * np.std(every) / 24**0.5)

    again = run(config, "-o", out)
    assert again.exit_code == 0 and f"{out}: finished already" in again.output
    assert result.stdout.endswith(again.stdout) and again.stdout


def test_figures_of_sets_that_nothing_was_fitted_on(
    tmp_path: Path, language_model: Path, write_config: Callable[..., Path], write_jsonl: Write
) -> None:
    """Validation by data of its own; a domain of an entry, a set of answers, a sentence encoder's
    plain form."""
    for domain, words in WORDS.items():
        table = [{"prompt": words.format(n), "response": "Yes."} for n in range(20)]
        write_jsonl(f"{domain}.jsonl", table)
    write_jsonl(
        "unseen.jsonl", [{"prompt": f"Is it {n} or {n}?", "response": "No."} for n in "123"]
    )
    write_jsonl("law.jsonl", [{"prompt": "Is it the law?", "response": "Yes."}])
    config = write_config(
        model="some/encoder",
        data=[{"file": f"{domain}.jsonl", "domain": domain} for domain in WORDS],
        router={"template": "plain"},
        validation={
            "data": [
                {"file": "unseen.jsonl", "domain": "math"},
                {"file": "law.jsonl", "domain": "maths"},
            ]
        },
    )
    out = tmp_path / "router"
    result = run(config, "-o", out, "--model", language_model)
    assert result.exit_code == 0, result.output
    figures = json.loads((out / "figures.json").read_text())
    assert list(figures["validation"]) == ["unseen", "law"]
    assert "law: 1 of 1 prompts are of maths, which the router has no label for" in result.output
    assert figures["validation"]["unseen"]["prompts"] == 3
    assert figures["training_prompts"] == {"math": 20, "code": 20, "chat": 20}
    assert not (out / "router.yml").exists()
    assert "User: " in json.loads((out / "router.json").read_text())["template"]


def test_a_killed_run_goes_on(
    tmp_path: Path,
    language_model: Path,
    write_config: Callable[..., Path],
    write_jsonl: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from harness.models.routing.embedder import Embedder
    from harness.training import router

    write_jsonl("prefs.jsonl", rows(20))
    columns = {**COLUMNS}
    config = write_config(
        model=str(language_model), data=[{"file": "prefs.jsonl", "columns": columns}]
    )
    out = tmp_path / "router"
    with monkeypatch.context() as patch:
        patch.setattr(router, "fit", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
        with pytest.raises(RuntimeError, match="killed"):
            run(config, "-o", out)
    assert not (out / "router.json").exists()
    embedded: list[int] = []
    embed = Embedder.embed

    def counted(self: Any, prompts: Any, shown: bool = False) -> Any:
        embedded.append(len(prompts))
        return embed(self, prompts, shown)

    monkeypatch.setattr(Embedder, "embed", counted)
    assert run(config, "-o", out).exit_code == 0
    assert len(embedded) == 1  # what is held out; the training prompts were kept


def test_what_a_killed_run_left_is_of_the_same_answers_and_template(
    tmp_path: Path,
    reward_model: Path,
    language_model: Path,
    write_config: Callable[..., Path],
    write_jsonl: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its scales are of held-out answers, which no router is fitted on."""
    from harness.models.routing import fitted
    from tests.harness.conftest import CHATML

    write_jsonl("prefs.jsonl", rows(20))
    (tmp_path / "own.jinja").write_text(CHATML)
    config = write_config(
        model=str(language_model),
        data=[{"file": "prefs.jsonl", "columns": COLUMNS}],
        router={"experts": dict.fromkeys(WORDS, str(reward_model)), "template": "own.jinja"},
    )
    out = tmp_path / "router"
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(fitted, "save", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
        run(config, "-o", out)
    write_jsonl("prefs.jsonl", [{**row, "bad": f"{row['bad']} No."} for row in rows(20)])
    result = run(config, "-o", out)
    assert result.exit_code != 0 and "other data" in result.output, result.output
    write_jsonl("prefs.jsonl", rows(20))
    (tmp_path / "own.jinja").write_text(f"Hi. {CHATML}")
    result = run(config, "-o", out)
    assert result.exit_code != 0 and "template: " in result.output, result.output
    (tmp_path / "own.jinja").write_text(CHATML)
    result = run(config, "-o", out)
    assert result.exit_code == 0 and "calibrating" not in result.output, result.output


def test_scales_are_kept_for_the_same_pairs_and_base(
    tmp_path: Path, reward_model: Path, language_model: Path
) -> None:
    import shutil

    from harness.training.calibrate import calibrate
    from tests.harness.models.load.test_adapters import trained

    pairs = [
        {"prompt": f"Is it {n}?", "chosen": f"It is {n}.", "rejected": "No.", "domain": "a"}
        for n in range(8)
    ]
    experts = {"a": str(reward_model)}
    first = calibrate(experts, pairs[:4], 4, tmp_path / "kept")
    assert calibrate(experts, pairs[:4], 4, tmp_path / "kept") == first
    others = calibrate(experts, pairs[4:], 4, tmp_path / "kept")
    assert others == calibrate(experts, pairs[4:], 4, tmp_path / "afresh") != first
    base = Path(shutil.copytree(language_model, tmp_path / "base"))
    trained(base, tmp_path / "adapter")
    experts = {"a": str(tmp_path / "adapter")}
    on_it = calibrate(experts, pairs, 8, tmp_path / "kept", str(base))
    shutil.copytree(reward_model, base, dirs_exist_ok=True)
    on_another = calibrate(experts, pairs, 8, tmp_path / "kept", str(base))
    assert on_another["a"].mean != on_it["a"].mean
    assert on_another["a"].base != on_it["a"].base


def test_the_encoder_is_the_one_that_the_router_was_fitted_on(
    tmp_path: Path,
    save_reward_model: Callable[..., Path],
    language_model: Path,
    write_config: Callable[..., Path],
    write_jsonl: Write,
) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    from harness.errors import HarnessError
    from harness.models.router import RewardRouter

    encoder = Path(shutil.copytree(language_model, tmp_path / "encoder"))
    write_jsonl("prefs.jsonl", rows(12))
    data = [{"file": "prefs.jsonl", "columns": COLUMNS}]
    config = write_config(model=str(encoder), data=data)
    out = tmp_path / "router"
    assert run(config, "-o", out).exit_code == 0
    experts = {name: str(save_reward_model(seed=1)) for name in WORDS}
    RewardRouter(experts, router=str(out), device="cpu")
    shutil.copytree(next(iter(experts.values())), encoder, dirs_exist_ok=True)
    with pytest.raises(HarnessError, match=r"its encoder .* has other files than when the router"):
        RewardRouter(experts, router=str(out), device="cpu")
    file = encoder / "model.safetensors"
    save_file({n: t for n, t in load_file(file).items() if "layers.1.mlp" not in n}, file)
    result = run(config, "-o", tmp_path / "another")
    assert result.exit_code != 0 and "it has no layers.1.mlp.down_proj.weight" in result.output
    assert "Traceback" not in result.output


def test_the_probabilities_mean_something() -> None:
    """A probe of points whose domains overlap is right as often as it says, and shrinks noise."""
    from harness.training.router_fit import fit

    draw = np.random.default_rng(0)
    middle = draw.normal(size=(3, 16))
    wanted = draw.integers(0, 3, 1500)
    points = (middle[wanted] + 2.0 * draw.normal(size=(1500, 16))).astype(np.float32)
    names = [("math", "code", "chat")[number] for number in wanted]
    for kind in ("probe", "centroid"):
        router = fit(kind, points[:600], names[:600], 0)
        shares = router.probabilities(points[600:])
        assert shares.sum(1) == pytest.approx(np.ones(900))
        chosen = shares.argmax(1)
        right = np.array(
            [router.labels[c] == name for c, name in zip(chosen, names[600:], strict=True)]
        )
        said, standard_error = shares.max(1).mean(), (right.std() / 900**0.5)
        assert abs(right.mean() - said) < 4 * standard_error
        assert right.mean() > 0.6


def test_experts_that_are_made_by_merging(
    tmp_path: Path,
    reward_model: Path,
    language_model: Path,
    write_config: Callable[..., Path],
    write_jsonl: Write,
) -> None:
    """Calibrated in memory, and held against their recipes where the router's folder is used."""
    from harness.errors import HarnessError
    from harness.models.router import RewardRouter

    write_jsonl("prefs.jsonl", rows(20))

    def recipe(weight: float) -> dict[str, Any]:
        entry = {"model": str(language_model), "parameters": {"weight": weight}}
        return {
            "merge_method": "reward_preserving_linear",
            "base_model": str(reward_model),
            "models": [entry],
        }

    config = write_config(
        model=str(language_model),
        data=[{"file": "prefs.jsonl", "columns": COLUMNS}],
        router={
            "experts": {
                "chat": str(reward_model),
                "math": "math-merge.yml",
                "code": recipe(0.2),
                "all": recipe(0.4),
            },
            "beside": ["all"],
            "calibration_rows": 9,
        },
        validation={"share": 0.3},
    )
    file = config.parent / "math-merge.yml"
    file.write_text(yaml.safe_dump(recipe(0.3)))
    out = tmp_path / "router"
    result = run(config, "-o", out)
    assert result.exit_code == 0, result.output
    content = yaml.safe_load((out / "router.yml").read_text())
    assert content["beside"] == ["all"]
    assert (out / content["experts"]["math"]).samefile(file)
    assert (out / content["experts"]["code"]["base_model"]).samefile(reward_model)
    scales = content["calibration"]
    assert len({scale["mean"] for scale in scales.values()}) == 4
    assert all(scale["files"] for scale in scales.values())

    model = RewardRouter(router=str(out), device="cpu", batch_size=4, all_experts=True)
    assert (model.scaled, model.pool.loads) == (True, 1)
    file.write_text(yaml.safe_dump(recipe(0.5)))
    with pytest.raises(HarnessError, match=r"the expert math: its calibration .* of other files"):
        RewardRouter(router=str(out), device="cpu")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": [{"file": "prefs.jsonl", "columns": UNTOLD}]}, "say no dom"),
        (
            {"data": [{"file": "prefs.jsonl", "columns": {**COLUMNS, "domain": "tpic"}}]},
            "prefs.jsonl, row 1: no column `tpic` for a domain's name (found: ",
        ),
        (
            {"data": [{"file": "prefs.jsonl", "columns": COLUMNS, "domain": "math"}]},
            "are two answers to one question",
        ),
        (
            {"data": [{"file": "prefs.jsonl", "columns": UNTOLD, "domain": "a"}]},
            "a router chooses between domains, and the rows are of 1 (a)",
        ),
        (
            {"router": {"experts": {"math": "x", "codes": "y"}}},
            "`experts` has 'codes' (did you mean code?), and no row is of that domain",
        ),
        ({"router": {"experts": {"math": "x", "code": "y"}}}, "has none for the domain chat"),
        ({"router": {"fallback": "chat"}}, "`fallback` names the expert 'chat'; there are none"),
        (
            {"router": {"experts": {n: "x" for n in WORDS}, "beside": ["law"]}},
            "`beside` names law, which is none of `experts`",
        ),
        (
            {"router": {"experts": {n: "x" for n in WORDS}, "beside": ["math"]}},
            "`beside` names math, which is an expert that prompts are for",
        ),
        (
            {"router": {"experts": {**{n: "x" for n in WORDS}, "math": "nowhere.yml"}}},
            "`experts`: the expert math: nowhere.yml: there is no such recipe file",
        ),
        ({"router": {"kind": "knn"}}, "`kind` is probe or centroid"),
        (
            {"router": {"experts": {**{n: "x" for n in WORDS}, "math": "nowhere/"}}},
            "`experts`: math=nowhere/: there is no such folder",
        ),
        ({"lora": {"rank": 4}}, "`lora` has no effect here"),
        ({"model": "./nowhere"}, "model=./nowhere: there is no such folder"),
    ],
)
def test_mistakes_are_one_line(
    change: dict[str, Any],
    words: str,
    tmp_path: Path,
    language_model: Path,
    write_config: Callable[..., Path],
    write_jsonl: Write,
) -> None:
    write_jsonl("prefs.jsonl", rows(10))
    content = {
        "model": str(language_model),
        "data": [{"file": "prefs.jsonl", "columns": COLUMNS}],
        **change,
    }
    result = run(write_config(**content), "-o", tmp_path / "router")
    assert result.exit_code != 0
    assert re.search(re.escape(words), result.output), result.output
    assert "Traceback" not in result.output


def test_prompts_of_several_domains_are_left_out(
    tmp_path: Path, language_model: Path, write_config: Callable[..., Path], write_jsonl: Write
) -> None:
    """DSP's sets ask the same of every domain: nothing in such a prompt says whose it is."""
    table = [
        {"prompt": f"Tell me of {n}.", "response": "No.", "domain": domain}
        for n in range(10)
        for domain in ("law", "art")
    ]
    write_jsonl("dsp.jsonl", table)
    source = {"file": "dsp.jsonl"}
    config = write_config(model=str(language_model), data=[source])
    result = run(config, "-o", tmp_path / "router")
    assert result.exit_code != 0
    assert "10 of 10 prompts stand in several domains" in result.output
    assert "no router can tell from a prompt whose it is" in result.output


def test_a_choice_of_rows_makes_no_prompt_one_domains_own(tmp_path: Path) -> None:
    """Whether a prompt stands in several domains is asked of all rows, not of the chosen ones."""
    from harness.training.config import Config, Source
    from harness.training.router_rows import NothingToTellError, gather_prompts

    table = [
        {"prompt": f"{n}?", "chosen": "Yes.", "rejected": "No.", "domain": domain}
        for n in range(40)
        for domain in ("law", "art")
    ]
    text = "".join(json.dumps(row) + "\n" for row in table)
    (tmp_path / "shared.jsonl").write_text(text, "utf-8")
    shared = Source(file="shared.jsonl", rows=20)
    with pytest.raises(NothingToTellError, match="every prompt stands in several domains"):
        gather_prompts(Config(model="m", data=[shared]), tmp_path)
    own = [{**row, "prompt": f"{row['domain']} {row['prompt']}"} for row in table]
    text = "".join(json.dumps(row) + "\n" for row in own)
    (tmp_path / "own.jsonl").write_text(text, "utf-8")
    both = Config(model="m", data=[shared, Source(file="own.jsonl", rows=40)])
    made = gather_prompts(both, tmp_path)
    assert all(row["prompt"].startswith(("law ", "art ")) for row in made.training)
    assert len(made.training) + len(made.held_out) == 40
