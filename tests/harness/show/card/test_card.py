"""The card of a real merge, from what a sweep or search found."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import EvalResult, ModelCard

from tests.harness.show.card.conftest import best_recipe, card, refused

Sweep = Callable[..., Path]


def text_of(out: Path) -> str:
    return (out / "README.md").read_text("utf-8")


def section_of(out: Path) -> str:
    """What `dogerm card` wrote below the metadata."""
    (found,) = re.findall(r"(?s)<!-- dogerm card: begin.*<!-- dogerm card: end -->\n", text_of(out))
    return str(found)


def made(out: Path, *results: Path) -> ModelCard:
    """Make the card, insist on success, and read it as huggingface_hub does."""
    result = card(out, *(arg for path in results for arg in ("--results", path)))
    assert result.exit_code == 0, result.output
    return ModelCard.load(out / "README.md")


def test_figures_are_the_hubs_metadata(out: Path, sweep: Sweep) -> None:
    """The report rows at the chosen weight, with the data sets' own ids, and no selection score."""
    loaded = made(out, sweep())
    results = loaded.data.eval_results
    assert loaded.data.model_name == "merged"
    assert results[1] == EvalResult(
        task_type="text-classification",
        task_name="Preference evaluation (dogerm card)",
        dataset_type="allenai/reward-bench",
        dataset_name="reward-bench",
        dataset_split="filtered",
        metric_type="accuracy",
        metric_name="rewardbench-alpacaeval-easy: accuracy (100 items, standard error 0.024)",
        metric_value=pytest.approx(0.61),
    )
    assert [round(result.metric_value, 4) for result in results] == [0.5223, 0.61, 0.41, 0.45]
    assert results[3].dataset_type == "minipref"
    assert "(60 of 95 items, standard error 0.024)" in results[2].metric_name
    block = yaml.safe_dump(loaded.data.to_dict())
    assert "minipref-chat" not in block and "0.48" not in block
    assert ModelCard(str(loaded)).data.eval_results == results


def test_section_tells_all(
    out: Path, sweep: Sweep, reward_model: Path, domain_model: Path, licensed: Callable[..., None]
) -> None:
    """Models, λ, the choice and its rule, scores beside the ends, noise, what made it."""
    licensed("apache-2.0", None)
    made(out, sweep())
    section = section_of(out)
    for expected in (
        f"| {reward_model} | reward model | 0.65 | apache-2.0 |",
        f"| {domain_model} | domain model | 0.35 | unknown (its README.md names none) |",
        "chosen on minipref-chat and are reported on rewardbench_chat, minipref-math",
        "tried 3 values of λ (0; 0.35; 0.7) and took λ = 0.35",
        "within one standard error of the best (0.490 ±0.029 at λ = 0.7)",
        "on these 68 rows is 0.481 ±0.029, the reward model's alone 0.467 ±0.029",
        "it is no test result",
        "| section | items | reward model (λ = 0) | λ = 1 | this model (λ = 0.35) |",
        "| rewardbench_chat | 358 | 0.512 ±0.024 | 0.541 ±0.024 | 0.522 ±0.024 |",
        "| 60 of 95 | 0.400 ±0.024 |",
        "N were measured, and the benchmark has M",
        "- three rows were truncated",
        "inside the noise, neither a gain nor a loss",
        "| minipref-math | noise | 84 | 0.440 |",
        "dogerm 0.1.0, torch 2.13.0",
        "must decide under which licence",
    ):
        assert expected in section, expected
    assert text_of(out).count("weight: 0.35\n") == 1  # mergekit's own text has the recipe


def test_recipe_is_said_where_the_card_lacks_it(out: Path, sweep: Sweep) -> None:
    """A card that was written anew by hand, or none at all."""
    for start in ("# Mine\n", None):
        (out / "README.md").unlink()
        if start:
            (out / "README.md").write_text(start, "utf-8")
        loaded = made(out, sweep())
        recipe = (out / "mergekit_config.yml").read_text("utf-8").strip()
        assert f"```\n{recipe}\n```" in section_of(out)
        assert loaded.text.startswith(start or "# merged\n")
        assert len(loaded.data.eval_results) == 4


def test_again_changes_nothing_and_hand_written_text_stays(
    out: Path, sweep: Sweep, search: Sweep
) -> None:
    """Twice is once; other results replace the figures; other keys, entries and text stay."""
    by_hand = {
        "task": {"type": "text-classification"},
        "dataset": {"name": "mine", "type": "allenai/reward-bench", "split": "filtered"},
        "metrics": [{"type": "f1", "value": 0.5}],
    }
    front = {"language": "en", "model-index": [{"name": "Mine", "results": [by_hand]}]}
    path = out / "README.md"
    text = text_of(out).replace("---\n", f"---\n# why\n{yaml.safe_dump(front)}", 1)
    path.write_text(f"{text}\n\n## After\nBye.\n", "utf-8")
    made(out, sweep())
    path.write_text(text_of(out) + "\n## Last\nBye bye.\n", "utf-8")
    first = path.read_bytes()
    made(out, sweep())
    assert path.read_bytes() == first
    found = made(out, search(metric="best_of_n@4"))
    assert found.data.model_name == "Mine"
    assert [one.metric_type for one in found.data.eval_results] == ["f1", *["best_of_n@4"] * 4]
    assert found.data.language == "en" and "# why\n" in text_of(out)
    assert yaml.safe_load(text_of(out).split("---\n")[1])["model-index"][0]["results"][0] == by_hand
    assert re.search(r"(?s)## After\nBye.\n\n<!-- dogerm.*end -->\n\n## Last\nBye bye.", found.text)
    made(out, sweep())
    assert path.read_bytes() == first


def test_line_ends_stay(out: Path, sweep: Sweep) -> None:
    path = out / "README.md"
    path.write_text(text_of(out), "utf-8", newline="\r\n")
    assert len(made(out, sweep()).data.eval_results) == 4
    content = path.read_bytes()
    assert content.count(b"\n") == content.count(b"\r\n")
    made(out, sweep())
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("licences", "expected", "said"),
    [
        (("mit", "mit"), "mit", "the licence of all models that were merged"),
        (("mit", "apache-2.0"), "other", "is not the same for all of them"),
        (("mit", None), "other", "is not known for each of them"),
        (("mit", "unknown"), "other", "is not known for each of them"),
        (("mit", "[mit]"), "other", "is not known for each of them"),
    ],
)
def test_licence_is_never_guessed(
    out: Path,
    sweep: Sweep,
    licensed: Callable[..., None],
    licences: tuple[str | None, ...],
    expected: str,
    said: str,
) -> None:
    licensed(*licences)
    assert made(out, sweep()).data.license == expected
    assert said in section_of(out)


def test_licences_without_cards_and_with_broken_ones(
    out: Path, sweep: Sweep, reward_model: Path, licensed: Callable[..., None]
) -> None:
    """`other` is one licence only if it has one name."""
    assert made(out, sweep()).data.license == "other"
    assert section_of(out).count("unknown (its folder has no README.md)") == 2
    licensed("other", "other", more="license_name: ours-1.0\n")
    made(out, sweep())
    assert "other (ours-1.0)" in section_of(out) and "licence of all models" in section_of(out)
    (reward_model / "README.md").write_text("---\na: [\n---\n", "utf-8")
    made(out, sweep())
    assert "unknown (its card's metadata is broken)" in section_of(out)


def test_the_users_licence_stays(out: Path, sweep: Sweep, licensed: Callable[..., None]) -> None:
    """What an earlier run set follows the models' licences; what a user set does not."""
    licensed("mit", None)
    assert made(out, sweep()).data.license == "other"
    licensed("mit", "mit")
    assert made(out, sweep()).data.license == "mit"
    path = out / "README.md"
    path.write_text(text_of(out).replace("license: mit\n", "license: gpl-3.0\n"), "utf-8")
    for licences, said in ((("mit", "mit"), "is mit; theirs"), ((None, "mit"), "is not known")):
        licensed(*licences)
        assert made(out, sweep()).data.license == "gpl-3.0"
        assert (
            f"gpl-3.0, as set by hand. The licence of the merged models (table above) {said}"
            in (section_of(out))
        )


def test_base_models_on_the_hub(out: Path, sweep: Sweep, reward_model: Path) -> None:
    """Hub ids are listed with their relation; folders are not, for the Hub refuses them."""
    assert "base_model_relation" not in made(out, sweep()).data
    names = best_recipe(Path("me/rm"), Path("me/lm"))
    (out / "mergekit_config.yml").write_text(yaml.safe_dump(names), "utf-8")
    results = sweep(best_recipe=yaml.safe_dump(names))
    assert "me/rm | reward model | 0.65 | unknown (a folder that is not here)" in (
        made(out, results) and section_of(out)
    )
    path = out / "README.md"
    path.write_text(text_of(out).replace("base_model: []\n", ""), "utf-8")
    data = made(out, results).data
    assert (data.base_model, data["base_model_relation"]) == (["me/rm", "me/lm"], "merge")
    assert "unknown (its card on the Hub could not be read)" in section_of(out)
    path.write_text(
        text_of(out).replace("base_model_relation: merge", "base_model_relation: adapter")
    )
    assert made(out, results).data["base_model_relation"] == "adapter"


def test_chosen_weight_zero(
    sweep: Sweep, merge: Callable[[float], Path], reward_model: Path, domain_model: Path
) -> None:
    """The card of the reward model itself compares nothing."""
    out = merge(0.0)
    recipe = yaml.safe_dump(best_recipe(reward_model, domain_model, 0.0))
    results = sweep(chosen=0, proof=None, best_recipe=recipe)
    assert made(out, results).data.eval_results[3].metric_value == pytest.approx(0.44)
    assert "there is nothing to compare" in section_of(out)
    assert "| section | items | λ = 0.35 | λ = 1 | this model (λ = 0) |" in section_of(out)


def test_search(out: Path, search: Sweep) -> None:
    """Both scores of the best trial and of the best single λ; figures from the comparison."""
    results = made(out, search()).data.eval_results
    assert [round(result.metric_value, 4) for result in results] == [0.5223, 0.61, 0.41, 0.45]
    section = section_of(out)
    for expected in (
        "made 2 trials (1 pruned) with the sampler tpe and took trial 3 (all 0.35)",
        "best accuracy on the selection rows: 0.551 ±0.030 there, 0.410 ±0.012 on the report rows",
        "A plain sweep over one λ took λ = 0.2: 0.540 ±0.030 there",
    ):
        assert expected in section, expected


def test_split(out: Path, sweep: Sweep) -> None:
    """The other prompts of a task are test rows, though the task is also the one that chose."""
    results = sweep(split=0.2, select=["minipref-math"], report=["minipref-math"])
    assert len(made(out, results).data.eval_results) == 4
    assert "20% of the prompts chose the weights, the other 80% are reported" in section_of(out)


def spoil(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        (
            "mergekit_config.yml",
            "weight: 0.35",
            "weight: 0.4",
            "weight is 0.4, expected 0.35, which",
        ),
        ("mergekit_config.yml", "maths", "other", "models.0.model is .*other, expected .*maths"),
        ("README.md", "tags:", "tags: [", "README.md: its metadata is not YAML"),
        ("README.md", "tags:", "model-index: [{name: x}]\ntags:", "its model-index can't be read"),
        ("README.md", "# merged", "<!-- dogerm card: begin -->", "do not enclose one section"),
    ],
)
def test_what_is_wrong_in_the_folder(
    out: Path, sweep: Sweep, name: str, old: str, new: str, said: str
) -> None:
    """One line, with the way out; the card stays as it was."""
    spoil(out / name, old, new)
    before = (out / "README.md").read_bytes()
    line = refused(out, "--results", sweep())
    assert re.search(said, line)
    assert ("mergekit-yaml" in line and "best.yml" in line) == (name != "README.md")
    assert (out / "README.md").read_bytes() == before


@pytest.mark.parametrize("name", ["mergekit_config.yml", "config.json"])
def test_no_merged_model(out: Path, sweep: Sweep, name: str) -> None:
    (out / name).unlink()
    line = refused(out, "--results", sweep())
    assert f"merged has no {name}, expected the folder that mergekit-yaml wrote" in line


def test_a_card_in_another_encoding(out: Path, sweep: Sweep) -> None:
    (out / "README.md").write_bytes(b"caf\xe9")
    assert "README.md is not UTF-8" in refused(out, "--results", sweep())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"chosen": 2}, "at the chosen weights (found: 0, 0.35, 1)"),
        ({"form": 2}, "is of form 2, expected 1"),
        ({"best_recipe": "a: ["}, "best_recipe is not one YAML document"),
        ({"kind": "walk"}, "has no results, expected sweep.json, search.json or lm-eval's"),
    ],
)
def test_what_is_wrong_in_the_results(
    out: Path, sweep: Sweep, changes: dict[str, Any], said: str
) -> None:
    before = (out / "README.md").read_bytes()
    assert said in refused(out, "--results", sweep(**changes))
    assert (out / "README.md").read_bytes() == before


def test_results_without_figures(out: Path, search: Sweep) -> None:
    assert "has no figures of the report tasks" in refused(out, "--results", search(proof=None))
    assert "merged has no results, expected" in refused(out, "--results", out)


def test_one_figure_from_two_files(out: Path, sweep: Sweep, search: Sweep) -> None:
    line = refused(out, "--results", sweep(), "--results", search())
    assert "sweep.json and" in line and "both have accuracy of rewardbench_chat" in line


def test_both_files_in_one_folder(out: Path, sweep: Sweep, search: Sweep) -> None:
    folder = sweep()
    (search() / "search.json").rename(folder / "search.json")
    assert "has sweep.json and search.json: name the file" in refused(out, "--results", folder)
    assert len(made(out, folder / "search.json").data.eval_results) == 4


def test_a_failed_write_leaves_the_card(
    out: Path, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: the old card stays, and nothing beside it."""
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    results = sweep()

    def full(self: Path, *args: Any, **options: Any) -> int:
        self.touch()
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_text", full)
    assert "No space left on device" in refused(out, "--results", results)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
