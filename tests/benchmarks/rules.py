# SPDX-License-Identifier: Apache-2.0
"""Every merge rule on the demo's models: the table and the picture of merge_recipes/RULES.md.

    python tests/benchmarks/rules.py dogerm-demo OUT [--pairs 600] > merge_recipes/RULES.md

New pairs of sums, none that the models were trained on: each rule's numbers are chosen on one half
of them, and what was chosen is measured on the other half, beside the reward model and linear's
choice. What is measured is kept, so a killed run goes on; ``--rules a,b`` measures these alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from harness.compare.statistics import Comparison, compare

PREFIX = "reward_preserving_"
# Rule -> what is tried of it; numbers of one model each are those of the domain model.
RULES: dict[str, dict[str, list[float]]] = {
    "linear": {"weight": [0.2, 0.4, 0.6, 0.8]},
    "task_arithmetic": {"weight": [0.4, 0.7, 1.0, 1.5]},
    "ties": {"weight": [0.5, 1.0, 1.5]},
    "dare_linear": {"weight": [0.7, 1.0]},
    "dare_ties": {"weight": [0.7, 1.0]},
    "della_linear": {"weight": [1.0]},
    "della": {"weight": [1.0]},
    "breadcrumbs": {"weight": [1.0]},
    "breadcrumbs_ties": {"weight": [1.0]},
    "slerp": {"t": [0.3]},
    "nuslerp": {"weight": [0.5]},
    "multislerp": {"weight": [0.5]},
    "nearswap": {"t": [0.001]},
    "sce": {"select_topk": [0.5]},
    "ram": {},
    "ramplus_tl": {"r": [0.1]},
    "model_stock": {},
    "karcher": {},
    "arcee_fusion": {},
}
# Of the rules that drop parts of a task vector: in both models.
DENSITY = 0.6
LEARNED = 1700  # rows of seed 1, by harness/training/configs/maths.yml
SEED = 2026
UNMERGED = "the reward model"
Pair = dict[str, str]


def new_pairs(count: int) -> list[Pair]:
    """So many pairs of a right and a wrong worked sum, of none that the maths model learned."""
    from harness.training.generated import sums

    learned = {row["prompt"] for row in sums.rows(LEARNED, seed=1)}
    new = (pair for pair in sums.pairs(2 * count, SEED) if pair["prompt"] not in learned)
    return list(islice(new, count))


def recipe(rule: str, demo: Path) -> dict[str, Any]:
    """The recipe of a rule for the demo's models."""
    from dogerm_plugin.methods import registry
    from dogerm_plugin.methods.declaration import Role

    method = registry.of(PREFIX + rule)
    base, reward, domain = (demo / name for name in ("base", "reward-model", "maths-model"))
    own: dict[str, Any] = {"weight": 1.0} if "weight" in method.by_name else {}
    if "density" in method.by_name and rule != "task_arithmetic":
        own["density"] = DENSITY
    content: dict[str, Any] = {"merge_method": method.name}
    if method.base is Role.REWARD_MODEL or method.base is None:
        content["base_model"] = str(reward)
        content["models"] = [{"model": str(domain)}]
        if "t" in method.by_name:
            content["parameters"] = {"t": 0.5}
        return content
    content["base_model"] = str(base)
    entries = [(reward, own | {"reward": True}), (domain, dict(own))]
    content["models"] = [{"model": str(one), "parameters": p} for one, p in entries]
    return content


@dataclass
class Measured:
    """What was right, 1 or 0 a pair, of one merge on one half; kept in a file."""

    out: Path
    pairs: Mapping[str, list[Pair]]

    def of(self, rule: str, label: str, half: str, model: Any) -> list[float]:
        """Measure, or read what was measured.

        Args:
            rule: its folder.
            label: of the point.
            half: ``select`` or ``report``.
            model: gives the loaded model, set to the point; called only if need be.
        """
        file = self.out / rule / f"{label}-{half}.json"
        if not file.exists():
            began = time.monotonic()
            right = self._right(model(), self.pairs[half])
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = file.with_suffix(".partial")
            partial.write_text(json.dumps(right))
            partial.rename(file)
            told = f"{rule} {label} {half}: {sum(right) / len(right):.3f}"
            print(f"{told} ({time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
        values: list[float] = json.loads(file.read_text())
        return values

    def _right(self, model: Any, pairs: list[Pair]) -> list[float]:
        from lm_eval.api.instance import Instance

        from harness.rows.conversation import Conversation

        asked = []
        for number, pair in enumerate(pairs):
            turns = [{"role": "user", "content": pair["prompt"]}]
            context = Conversation(pair["prompt"], turns)
            for side, key in enumerate(("chosen", "rejected")):
                about = ("sums", number, 1)
                asked.append(Instance("loglikelihood", {}, (context, pair[key]), side, about))
        rewards = [answer[0] for answer in model.loglikelihood(asked)]
        halves = zip(rewards[::2], rewards[1::2], strict=True)
        return [float(chosen > rejected) for chosen, rejected in halves]


class Live:
    """The demo's models in one loaded model, merged by a rule; loaded when it is needed."""

    def __init__(self, rule: str, demo: Path, out: Path) -> None:
        self._path = out / f"{rule}.yml"
        out.mkdir(parents=True, exist_ok=True)
        self._path.write_text(yaml.safe_dump(recipe(rule, demo), sort_keys=False))

    @cached_property
    def study(self) -> Any:
        """The recipe."""
        from harness.study.recipe_file import read

        return read(self._path)

    @cached_property
    def _model(self) -> Any:
        from harness.study.merged_model import MergedModel
        from harness.study.spec import Settings

        return MergedModel(self.study, Settings({"dtype": "float32"}))

    def points(self, tried: Mapping[str, list[float]]) -> list[Any]:
        """The points to try; the recipe as it is where there is nothing to vary."""
        from harness.study.recipe import each

        if not tried:
            return [self.study.point({"unmerged": False})]
        (name, values), by_name = next(iter(tried.items())), self.study.method.by_name
        return [self.study.point({name: [v] if each(by_name[name]) else v}) for v in values]

    def at(self, point: Any) -> Any:
        """The loaded model, as the point merges it."""
        self._model.set(point)
        return self._model.loaded


@dataclass(frozen=True)
class Row:
    """What a rule chose, and its paired differences on the pairs that did not choose.

    Attributes:
        gain: over the reward model.
        ahead: over linear's choice; None for linear.
    """

    rule: str
    chosen: str
    tried: int
    report: float
    gain: Comparison
    ahead: Comparison | None


def measure(rule: str, demo: Path, out: Path, measured: Measured) -> tuple[str, int, list[float]]:
    """The label that a rule chose, among how many, and what it gets right of the other half."""
    live = Live(rule, demo, out)
    points = live.points(RULES[rule])
    best = points[0]
    if len(points) > 1:
        scores = [
            sum(measured.of(rule, one.label, "select", lambda one=one: live.at(one)))
            for one in points
        ]
        best = points[scores.index(max(scores))]
    return best.label, len(points), measured.of(rule, best.label, "report", lambda: live.at(best))


def reward_model(demo: Path, out: Path, measured: Measured) -> list[float]:
    """What the reward model itself gets right of the half that is reported."""
    live = Live("linear", demo, out)
    return measured.of("unmerged", "0", "report", lambda: live.at(live.study.rest))


def table(rows: list[Row]) -> Iterator[str]:
    """The rows in Markdown, the best first."""
    yield "| rule | chosen, of how many | accuracy | over the reward model | over linear's choice |"
    yield "|---|---|--:|---|---|"
    for one in sorted(rows, key=lambda row: -row.report):
        chosen = f"{one.chosen}, {one.tried}"
        cells = [one.rule, chosen, f"{one.report:.3f}", _told(one.gain), _told(one.ahead)]
        yield f"| {' | '.join(cells)} |"


def _told(one: Comparison | None) -> str:
    if one is None:
        return ""
    return f"{one.difference:+.3f} ({one.low:+.3f} to {one.high:+.3f}), p {one.p:.3f}"


def draw(rows: list[Row], path: Path) -> None:
    """Each rule's difference to the reward model, and to linear, with its interval."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from harness.show import picture
    from harness.show.panels import look

    rows = sorted(rows, key=lambda row: row.report)
    with rc_context(picture.STYLE):
        figure = Figure(figsize=(8, 1.2 + 0.34 * len(rows)), layout="constrained")
        both = figure.subplots(1, 2, sharey=True)
        titles = ("over the reward model", "over linear at its best λ")
        for axes, title, name in zip(both, titles, ("gain", "ahead"), strict=True):
            color, marker, _ = look(0)
            for place, one in enumerate(rows):
                figures: Comparison | None = getattr(one, name)
                if figures is not None:
                    ends = [figures.low, figures.high]
                    axes.plot(ends, [place, place], color=color, linewidth=1.5)
                    axes.plot([figures.difference], [place], marker, color=color, markersize=5)
            axes.axvline(0, color="black", linewidth=1)
            axes.set(xlabel=f"accuracy {title}, 95%", yticks=range(len(rows)))
            axes.set_yticklabels([one.rule for one in rows])
        picture.write(figure, path)


def main() -> None:
    """Measure what is missing, and print the page."""
    from importlib.metadata import version

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pairs", type=int, default=600)
    parser.add_argument("--rules", default=",".join(RULES))
    given = parser.parse_args()
    pairs = new_pairs(given.pairs)
    half = len(pairs) // 2
    measured = Measured(given.out, {"select": pairs[:half], "report": pairs[half:]})
    own = reward_model(given.demo, given.out, measured)
    found = {
        rule: measure(rule, given.demo, given.out, measured) for rule in given.rules.split(",")
    }
    rows = [
        Row(
            rule,
            label,
            tried,
            sum(right) / len(right),
            compare({"sums": (own, right)}),
            compare({"sums": (found["linear"][2], right)})
            if rule != "linear" and "linear" in found
            else None,
        )
        for rule, (label, tried, right) in found.items()
    ]
    draw(rows, given.out / "rules.png")
    versions = ", ".join(f"{n} {version(n)}" for n in ("dogerm", "torch", "mergekit"))
    share = sum(own) / len(own)
    error = (share * (1 - share) / len(own)) ** 0.5
    print(f"{versions}; float32 on a CPU; seed {SEED}; {half} pairs choose, {len(own)} report.")
    print(f"The reward model itself: {share:.3f} ± {error:.3f}.\n")
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
