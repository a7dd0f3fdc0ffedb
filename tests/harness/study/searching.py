"""The workshop of a sweep's tests, with `dogerm search` run in it."""

from __future__ import annotations

import json
from typing import Any

import yaml
from click.testing import Result

from tests import warm
from tests.harness.study.sweeping import Workshop


class Searching(Workshop):
    """Where a search is made: ``recipe.yml``, the tasks ``chosen`` and ``proof``, and ``out``."""

    def searching(self, *more: str) -> list[str]:
        """The arguments of a search on the two tasks; what `more` says comes last, so it counts."""
        given = {"-o": str(self.out), "--baseline": "0:1:0.5", "--prune": "none"}
        given |= {"--select": str(self.folder / "chosen.yaml")}
        given |= {"--report": str(self.folder / "proof.yaml")}
        left = {option: value for option, value in given.items() if option not in more}
        parts = [part for item in left.items() for part in item]
        return [str(self.folder / "recipe.yml"), *parts, *more]

    def search(self, *more: str) -> Result:
        """Run the command in this process."""
        from harness.commands.search import search

        return self.invoke(search, self.searching(*more))

    def searched(self, *more: str) -> dict[str, Any]:
        """What ``search.json`` holds after a run that must not fail."""
        result = self.search(*more)
        assert result.exit_code == 0, result.output + repr(result.exception)
        return self.found()

    def found(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "search.json").read_text("utf-8"))
        return found

    def evaluated(self, recipe: str, task: str) -> dict[str, Any]:
        """What lm-eval's own evaluation gives for the recipe as mergekit writes it."""
        from lm_eval.evaluator import evaluate
        from mergekit.config import MergeConfiguration
        from mergekit.merge import run_merge
        from mergekit.options import MergeOptions

        from harness.models.reward import Reward
        from harness.study import rows

        merged = self.folder / "merged"
        config = MergeConfiguration.model_validate(yaml.safe_load(recipe))
        run_merge(config, str(merged), MergeOptions(quiet=True))
        (loaded,) = rows.load([str(self.folder / f"{task}.yaml")], [])
        results: Any = evaluate(Reward(str(merged), batch_size="8"), loaded.loaded)
        scores: dict[str, Any] = results["results"][task]
        return scores

    def start_search(self, *more: str) -> warm.Process:
        """Run the command in a process of its own, its progress in a pipe."""
        return warm.Process("dogerm", "search", *self.searching(*more), cwd=self.folder)


def trials(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What must be the same however a search came about."""
    return [(one["params"], one["state"], one["score"], one["stderr"]) for one in found["trials"]]
