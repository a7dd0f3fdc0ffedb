"""`dogerm score recipe.yml`: the rewards of what mergekit-yaml would write."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness.models.routing.test_merged import linear, models, written
from tests.harness.models.row_files.test_score import ANSWERED, read, refusal, scored, write

__all__ = ["models"]  # a fixture


@pytest.mark.parametrize("more", [{}, {"chat_template": "chatml"}, {"out_dtype": "bfloat16"}])
def test_a_recipe_is_scored_as_its_merge(
    models: Path,
    tmp_path: Path,
    more: dict[str, Any],
) -> None:
    """In memory, or by way of a folder where it has a template of its own."""
    content = linear(models, "math-lm", **more)
    (tmp_path / "recipe.yml").write_text(yaml.safe_dump(content))
    data = write(tmp_path / "rows.jsonl", ANSWERED)
    by_recipe = read(scored(tmp_path / "recipe.yml", data, out="by-recipe.jsonl"))
    merge = Path(written(tmp_path / "merge", content))
    assert by_recipe == read(scored(merge, data, out="by-merge.jsonl"))
    assert by_recipe != read(scored(models / "rm", data, out="unmerged.jsonl"))


def test_what_a_recipe_depends_on_is_known(models: Path, tmp_path: Path) -> None:
    from harness.models.row_files.loading import Wanted

    recipe = tmp_path / "recipe.yml"
    recipe.write_text(yaml.safe_dump(linear(models, "math-lm")))
    before = Wanted(str(recipe))
    assert {str(models / "rm"), str(models / "math-lm")} <= set(before.files)
    identity = before.identity
    recipe.write_text(yaml.safe_dump(linear(models, "code-lm")))
    changed = Wanted(str(recipe)).identity
    assert identity[f"file {recipe}"] != changed[f"file {recipe}"]
    assert f"files of {models / 'code-lm'}" in changed


def test_a_rule_of_the_users_own_is_known_by_its_source(models: Path, tmp_path: Path) -> None:
    """This file is that of the formula here."""
    from mergekit.merge_methods import registry as host

    from dogerm_plugin.methods import registry
    from dogerm_plugin.methods.reward_preserving_linear import METHOD
    from harness.models.row_files.loading import Wanted

    name = "reward_preserving_of_a_user"
    recipe = tmp_path / "recipe.yml"
    recipe.write_text(yaml.safe_dump(linear(models, "math-lm") | {"merge_method": name}))
    registry.register(replace(METHOD, name=name, formula=lambda tensors, values: tensors.reward))
    try:
        assert registry.files(name) == [Path(__file__)]
        assert f"code of merge method {name}" in Wanted(str(recipe)).identity
    finally:
        del host._METHODS[name]


def test_what_a_router_file_depends_on_is_known(models: Path, tmp_path: Path) -> None:
    """Its experts, their recipes and the router, wherever it is named; so a run that goes on is
    by the models that it began with."""
    from harness.models.row_files.loading import Wanted

    for name in ("lora", "router"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text("{}")
    (tmp_path / "merge.yml").write_text(yaml.safe_dump(linear(models, "math-lm")))
    experts = {"a": "lora", "b": "merge.yml", "c": linear(models, "code-lm")}
    router = tmp_path / "router" / "router.yml"
    router.write_text(
        yaml.safe_dump({"experts": {**experts, "a": "../lora", "b": "../merge.yml"}, "router": "."})
    )
    by_file = tmp_path / "router.yml"
    by_file.write_text(yaml.safe_dump({"experts": experts, "router": "router"}))
    for given in (by_file, router.parent):
        wanted = Wanted(str(models / "rm"), "reward-adapters", {"router": str(given)})
        for file, text in (
            (tmp_path / "lora" / "adapter_config.json", '{"r": 8}'),
            (tmp_path / "router" / "adapter_config.json", '{"r": 8}'),
            (tmp_path / "merge.yml", yaml.safe_dump(linear(models, "code-lm"))),
            (router, router.read_text() + "threshold: 0.5\nfallback: a\n"),
        ):
            before, kept = wanted.identity, file.read_text()
            file.write_text(text)
            assert wanted.identity != before, file
            file.write_text(kept)
        assert {str(models / "math-lm"), str(models / "code-lm")} <= set(wanted.files)
    named = Wanted(f"a={models / 'rm'};b={tmp_path / 'merge.yml'}", "reward-router")
    assert {str(tmp_path / "merge.yml"), str(models / "math-lm")} <= set(named.files)


def test_a_model_of_the_hub_is_known_by_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`main` may lead to other weights when a killed run goes on."""
    from huggingface_hub import constants

    from harness.models.row_files.loading import Wanted

    folder = tmp_path / "models--maker--rm"
    for commit in ("a" * 40, "b" * 40):
        (folder / "snapshots" / commit).mkdir(parents=True)
        (folder / "snapshots" / commit / "config.json").write_text("{}")
    (folder / "refs").mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    found = []
    for commit in ("a" * 40, "b" * 40):
        (folder / "refs" / "main").write_text(commit)
        found.append(Wanted("maker/rm").identity["commit of maker/rm"])
    assert found == ["a" * 40, "b" * 40]
    assert "commit of maker/none" not in Wanted("maker/none").identity


def test_a_recipe_that_can_not_be_followed(models: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", ANSWERED)
    recipe = tmp_path / "recipe.yml"
    assert "no such recipe file" in refusal(recipe, data)
    recipe.write_text(yaml.safe_dump({**linear(models, "math-lm"), "merge_method": "linear"}))
    assert "merge_method linear is mergekit's own" in refusal(recipe, data)
    recipe.write_text(yaml.safe_dump(linear(models, "nobody")))
    assert "nobody" in refusal(recipe, data)
    recipe.write_text(yaml.safe_dump(linear(models, "math-lm")))
    assert "merge it with mergekit-yaml for --model reward-ensemble" in refusal(
        recipe, data, "--model", "reward-ensemble"
    )
    assert "MODEL@REVISION" in refusal(recipe, data, "--model_args", "revision=main")
    assert not list(tmp_path.glob("out*"))
