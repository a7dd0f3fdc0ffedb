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
    assert identity[f"file pretrained={recipe}"] != changed[f"file pretrained={recipe}"]
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
