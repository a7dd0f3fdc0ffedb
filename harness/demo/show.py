"""The demo's table and curve."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from harness.demo.run import SECTIONS
from harness.show import picture
from harness.show.numbers import score
from harness.show.text_table import aligned

# λ -> section -> {"accuracy", "stderr", "pairs"}
Scores = dict[float, dict[str, Any]]


def length_baseline(limit: int | None) -> dict[str, float]:
    """What always preferring the longer answer scores, per section; a tie is half a point."""
    from harness.tasks.minipref.baselines import RULES, score

    text = (files("harness.tasks.minipref") / "data.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    rule = RULES["longer (characters)"]
    return {
        section: score([row for row in rows if row["subset"] == section][:limit], rule)
        for section in SECTIONS
    }


def table(scores: Scores, baseline: dict[str, float]) -> str:
    """Accuracy per section for the reward model, every λ and the length baseline."""
    heads = ["section", "pairs", "RM (λ=0)", *(f"λ={w}" for w in scores if w), "longer"]
    lines = [heads]
    for section in SECTIONS:
        row = [section, str(scores[0.0][section]["pairs"])]
        for result in scores.values():
            row.append(score(result[section]["accuracy"], result[section]["stderr"]))
        lines.append([*row, f"{baseline[section]:.3f}"])
    means = [score(_mean(result), _mean_error(result)) for result in scores.values()]
    mean_baseline = sum(baseline.values()) / len(baseline)
    lines.append(["mean", str(_pairs(scores)), *means, f"{mean_baseline:.3f}"])
    text = aligned(lines)
    text.append(
        "\nAccuracy on minipref ± standard error. 'longer' always prefers the longer answer. A "
        "difference\nof less than about two standard errors is noise."
    )
    return "\n".join(text)


def _pairs(scores: Scores) -> int:
    return sum(int(scores[0.0][section]["pairs"]) for section in SECTIONS)


def _mean(result: dict[str, Any]) -> float:
    return float(sum(result[s]["accuracy"] for s in SECTIONS) / len(SECTIONS))


def _mean_error(result: dict[str, Any]) -> float:
    """Standard error of the unweighted mean of the sections."""
    return float(sum(result[s]["stderr"] ** 2 for s in SECTIONS) ** 0.5 / len(SECTIONS))


def plot(scores: Scores, path: Path) -> Path:
    """Draw accuracy against λ, a line per section with its standard error, as in the paper."""
    from matplotlib.figure import Figure

    weights = sorted(scores)
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for index, section in enumerate(SECTIONS):
        values = [scores[w][section]["accuracy"] for w in weights]
        errors = [scores[w][section]["stderr"] for w in weights]
        picture.band(axes, weights, values, errors, marker="o", color=f"C{index}", label=section)
    axes.axhline(0.5, color="grey", linestyle=":", linewidth=1, label="chance")
    axes.set(xlabel="λ, weight of the domain model", ylabel="accuracy on minipref (± s.e.)")
    axes.set_xticks(weights)
    axes.set_title("SmolLM2-135M reward model merged with a maths model")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    picture.write(figure, path)
    return path
