"""Recipes and their points without files: what a study's parts are tried with."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from harness.study.recipe import Point, StudyRecipe
from harness.study.span import Span


def recipe_of(*models: str, method: str = "reward_preserving_linear") -> StudyRecipe:
    """A recipe of these domain models."""
    content = {
        "merge_method": method,
        "base_model": "rm",
        "models": [{"model": model, "parameters": {"weight": 0.3}} for model in models],
    }
    return StudyRecipe("recipe.yml", "", content, models)


def at(*weights: Any) -> Point:
    """The point of λs, one for each domain model."""
    models = [f"model-{number}" for number in range(len(weights))]
    return recipe_of(*models).point({"weight": list(weights)})


def span(low: str | Decimal = "0", high: str | Decimal = "1") -> Span:
    """What may be tried of λ."""
    return Span(recipe_of("a").strength, Decimal(low), Decimal(high))


def labels(points: Sequence[Point]) -> list[str]:
    return [point.label for point in points]
