# SPDX-License-Identifier: Apache-2.0
"""Every merge rule on the demo's models: the table and the picture of merge_recipes/RULES.md.

    python tests/benchmarks/rules.py dogerm-demo OUT [--pairs 480] > merge_recipes/RULES.md

Makes new pairs of sums (other seeds than any that the models were trained or chosen on), sweeps
each rule on one half of them, and measures what it chose on the other half, beside the reward model
and linear's choice. A killed run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import yaml

from harness.show.naming import lambda_is

PREFIX = "reward_preserving_"
# Rule -> what is tried of it; numbers of one model each are those of the domain model.
RULES: dict[str, dict[str, str]] = {
    "linear": {"weight": "0.2:0.8:0.2"},
    "task_arithmetic": {"weight": "0.4,0.7,1,1.5"},
    "ties": {"weight": "0.5,1,1.5"},
    "dare_linear": {"weight": "0.7,1"},
    "dare_ties": {"weight": "0.7,1"},
    "della_linear": {"weight": "0.7,1"},
    "della": {"weight": "0.7,1"},
    "breadcrumbs": {"weight": "0.7,1"},
    "breadcrumbs_ties": {"weight": "0.7,1"},
    "slerp": {"t": "0.3,0.5"},
    "nuslerp": {"weight": "0.5,1"},
    "multislerp": {"weight": "0.5,1"},
    "nearswap": {"t": "0.001,0.003"},
    "sce": {"select_topk": "0.5,1"},
    "ram": {},
    "ramplus_tl": {"r": "0.1"},
    "model_stock": {},
    "karcher": {},
    "arcee_fusion": {},
}
# Of the rules that drop parts of a task vector: in both models.
DENSITY = 0.6
TASK = """task: sums
class: !function harness.own_data.OwnPreferences
dataset_path: {path}
"""


def write_pairs(path: Path, count: int) -> None:
    """So many pairs of a right and a wrong worked sum, as many of every kind."""
    from harness.tasks.minipref.arithmetic import make
    from harness.tasks.minipref.generate import kinds, table

    names = {entry["name"] for entry in table("sums")["kind"]}
    sums = [kind for kind in kinds() if kind.name in names]
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            kind = sums[number % len(sums)]
            pair = make(kind, number // len(sums) % 2, Random(f"rules {number}"))
            row = {"prompt": pair.prompt, "chosen": pair.chosen, "rejected": pair.rejected}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def recipe(rule: str, demo: Path) -> dict[str, Any]:
    """The recipe of a rule for the demo's models."""
    from dogerm_plugin.methods import registry
    from dogerm_plugin.methods.declaration import Role

    method = registry.of(PREFIX + rule)
    base, reward, domain = (demo / name for name in ("base", "reward-model", "maths-model"))
    own: dict[str, Any] = {"weight": 1.0} if "weight" in method.by_name else {}
    if "density" in method.by_name:
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


def sweep(rule: str, demo: Path, out: Path) -> dict[str, Any]:
    """What ``dogerm sweep`` found for a rule; run if it has not been."""
    folder = out / rule
    if not (folder / "sweep.json").exists():
        path = out / f"{rule}.yml"
        path.write_text(yaml.safe_dump(recipe(rule, demo), sort_keys=False))
        grids = [part for n, v in RULES[rule].items() for part in ("--grid", f"{n}={v}")]
        task = str(out / "sums.yaml")
        given = ["--select", task, "--split-select", "0.5"]
        more = ["--model_args", "dtype=float32", "-o", str(folder)]
        command = ["dogerm", "sweep", str(path), *grids, *given, *more]
        subprocess.run(command, check=True, stdout=sys.stderr)
    found: dict[str, Any] = json.loads((folder / "sweep.json").read_text("utf-8"))
    return found


@dataclass(frozen=True)
class Row:
    """What a rule chose, and its paired differences on the rows that did not choose.

    `gain` is over the reward model, `ahead` over linear's choice: difference, low, high, p; None
    where both are the same.
    """

    rule: str
    chosen: str
    select: float
    reward: float
    report: float
    items: int
    gain: tuple[float, ...] | None
    ahead: tuple[float, ...] | None


def row(rule: str, found: dict[str, Any], linear: dict[str, Any], out: Path) -> Row:
    """The line of a rule in the table."""
    chosen = found["points"][found["chosen"]]
    by_label = {one["label"]: one["sections"][0] for one in found["reported"]}
    proof = found["proof"]
    same = rule == "linear"
    return Row(
        rule=rule,
        chosen=lambda_is(chosen["label"]),
        select=chosen["score"],
        reward=by_label[found["points"][0]["label"]]["score"],
        report=by_label[chosen["label"]]["score"],
        items=by_label[chosen["label"]]["items"],
        gain=None if proof is None else _figures(proof["sections"][0]),
        ahead=None if same else _figures(_against(rule, found, linear, out)),
    )


def _against(rule: str, found: dict[str, Any], linear: dict[str, Any], out: Path) -> dict[str, Any]:
    """The paired difference of a rule's choice to linear's, by ``dogerm compare``."""
    runs = [
        out / name / "results" / one["points"][one["chosen"]]["label"] / "report"
        for name, one in (("linear", linear), (rule, found))
    ]
    kept = out / rule / "against-linear.json"
    command = ["dogerm", "compare", *map(str, runs), "-o", str(kept)]
    subprocess.run(command, check=True, stdout=sys.stderr)
    sections: list[dict[str, Any]] = json.loads(kept.read_text("utf-8"))["sections"]
    return sections[0]


def _figures(section: dict[str, Any]) -> tuple[float, ...]:
    return tuple(section[key] for key in ("difference", "low", "high", "p"))


def table(rows: list[Row]) -> Iterator[str]:
    """The rows in Markdown, the best on the report rows first."""
    yield "| rule | chosen | selection | report | over the reward model | over linear's choice |"
    yield "|---|---|--:|--:|---|---|"
    for one in sorted(rows, key=lambda row: -row.report):
        parts = [one.rule, one.chosen, f"{one.select:.3f}", f"{one.report:.3f}"]
        yield f"| {' | '.join([*parts, _told(one.gain), _told(one.ahead)])} |"


def _told(figures: tuple[float, ...] | None) -> str:
    if figures is None:
        return ""
    difference, low, high, p = figures
    return f"{difference:+.3f} ({low:+.3f} to {high:+.3f}), p {p:.3f}"


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
                if (figures := getattr(one, name)) is not None:
                    middle, low, high, _ = figures
                    axes.plot([low, high], [place, place], color=color, linewidth=1.5)
                    axes.plot([middle], [place], marker, color=color, markersize=5)
            axes.axvline(0, color="black", linewidth=1)
            axes.set(xlabel=f"accuracy {title}, 95%", yticks=range(len(rows)))
            axes.set_yticklabels([one.rule for one in rows])
        picture.write(figure, path)


def main() -> None:
    """Run what is missing, and print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pairs", type=int, default=480)
    parser.add_argument("--rules", default=",".join(RULES))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    data = given.out / "sums.jsonl"
    if not data.exists():
        write_pairs(data, given.pairs)
        (given.out / "sums.yaml").write_text(TASK.format(path=data.resolve()))
    found = {rule: sweep(rule, given.demo, given.out) for rule in given.rules.split(",")}
    rows = [row(rule, one, found["linear"], given.out) for rule, one in found.items()]
    draw(rows, given.out / "rules.png")
    made = found["linear"]["made"]
    versions = ", ".join(f"{name} {number}" for name, number in made["versions"].items())
    print(f"{made['date'][:10]}; {made['machine']}; {versions}; seed {made['seed']}.")
    print(f"The reward model: {rows[0].reward:.3f} on {rows[0].items} report rows.\n")
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
