"""What `dogerm sweep` and `dogerm search` write, made up: no model is run for it."""

from __future__ import annotations

import itertools
import math
from typing import Any

RECIPE = """\
merge_method: reward_preserving_linear
base_model: rm/
models:
  - model: maths/
    parameters:
      weight: {weight}
"""


def stderr(score: float, items: int) -> float:
    return math.sqrt(score * (1 - score) / items)


def section(
    name: str, score: float, items: int, depth: int = 0, is_group: bool = False
) -> dict[str, Any]:
    return {
        "name": name,
        "depth": depth,
        "is_group": is_group,
        "score": score,
        "stderr": stderr(score, items),
        "items": items,
    }


def point(*weights: float) -> dict[str, Any]:
    """A point on the selection rows: two sections, best near a total of 0.4."""
    total = round(sum(weights), 6)
    rise = 0.12 * math.sin(math.pi * min(total, 0.9) / 0.9) + 0.006 * math.cos(20 * total)
    scores = 0.40 + rise + 0.02 * weights[0], 0.52 - 0.08 * total**2
    score = sum(scores) / 2
    return {
        "label": ",".join(f"{weight:g}" for weight in weights),
        "weights": list(weights),
        "total": total,
        "score": score,
        "stderr": stderr(score, 500),
        "items": 500,
        "seconds": {"merge": 1.25, "score": 61.0},
        "sections": [
            section("gsm8k_pairs", scores[0], 300),
            section("minipref-math", scores[1], 200),
        ],
    }


def reported(chosen: dict[str, Any]) -> dict[str, Any]:
    """A point on the report rows: a group of two sections, one of them with two tasks."""
    shift = 0.05 * math.sin(3 * chosen["total"]) - 0.06 * chosen["total"] ** 3
    return {
        **{key: chosen[key] for key in ("label", "weights", "total")},
        "sections": [
            section("rewardbench", 0.392 + shift / 2, 1539, is_group=True),
            section("rewardbench_chat_hard", 0.444 - shift / 3, 419, 1, is_group=True),
            section("rewardbench-llmbar-natural", 0.47, 100, 2),
            section("rewardbench-llmbar-adver-neighbor", 0.41 - shift / 3, 134, 2),
            section("rewardbench_reasoning", 0.481 + shift, 984, 1, is_group=True),
            section("rewardbench-hep-python", 0.433 + shift, 164, 2),
        ],
    }


def proof(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """B against A: beyond chance where it is reasoning, the same where it is llmbar-natural."""
    sections = []
    for one, other in zip(a["sections"], b["sections"], strict=True):
        difference = other["score"] - one["score"]
        clear, same = (one["name"].endswith(end) for end in ("_reasoning", "-natural"))
        if same:
            difference = 0.0
        half = 0 if same else 0.019 if clear else 0.06
        sections.append(
            {key: one[key] for key in ("name", "depth", "is_group", "items")}
            | {"a": one["score"], "b": one["score"] + difference, "difference": difference}
            | {"low": difference - half, "high": difference + half}
            | {"gained": 0 if same else 163, "lost": 0 if same else 140}
            | {"p": 1.0 if same else 0.0001 if clear else 0.4453}
            | {"p_holm": 0.0006 if clear else 1.0}
            | {"test": "sign-flip" if one["is_group"] else "mcnemar"}
            | {"verdict": "same" if same else "noise"}
        )
        if clear:
            sections[-1]["verdict"] = "better" if difference > 0 else "worse"
    return {
        "a": a["label"],
        "b": b["label"],
        "metric": "accuracy",
        "confidence": 0.95,
        "resamples": 10_000,
        "seed": 0,
        "sections": sections,
        "notes": [],
    }


def margins(labels: list[str]) -> dict[str, Any]:
    """Histograms with 40 bins that move to the right with each label."""
    edges = [-4 + 0.2 * edge for edge in range(41)]
    centres = {label: 0.3 * index - 0.1 for index, label in enumerate(labels)}
    counts = {
        label: [round(80 * math.exp(-((edge + 0.1 - centre) ** 2))) for edge in edges[:-1]]
        for label, centre in centres.items()
    }
    return {
        "tasks": ["rewardbench"],
        "items": 1539,
        "edges": edges,
        "counts": counts,
        "mean": centres,
    }


def made(command: str) -> dict[str, Any]:
    return {
        "date": "2026-11-22T08:00:00+00:00",
        "command": command,
        "seconds": 1234.5,
        "peak_memory": {"resident": 1_630_000_000, "model": 270_000_000},
        "versions": {"dogerm": "0.1.0", "python": "3.11.2", "torch": "2.13.0", "lm_eval": "0.4.13"},
        "machine": {
            "cpu": "Example CPU",
            "cores": 2,
            "threads": 1,
            "memory": 32_000_000_000,
            "gpu": None,
            "system": "Linux 6.1",
        },
        "model_args": {"dtype": "bfloat16"},
        "batch_size": "8",
        "seed": 0,
    }


def sweep_of(points: list[dict[str, Any]], models: list[str]) -> dict[str, Any]:
    """Best and chosen are found here; chosen is the first within one standard error."""
    best = max(points, key=lambda found: found["score"])
    chosen = next(found for found in points if found["score"] >= best["score"] - best["stderr"])
    looked_at = [reported(found) for found in (points[0], chosen, points[-1])]
    return {
        "form": 1,
        "kind": "sweep",
        "made": made("dogerm sweep recipe.yml --weight 0:1:0.05 --select gsm8k_pairs -o out/"),
        "recipe": {"path": "recipe.yml", "text": RECIPE.format(weight=0.5)},
        "best_recipe": RECIPE.format(weight=chosen["weights"][0]),
        "reward_model": "models/rm",
        "domain_models": models,
        "metric": "accuracy",
        "higher_is_better": True,
        "select": ["gsm8k_pairs", "minipref-math"],
        "report": ["rewardbench"],
        "split": None,
        "rule": "one-standard-error",
        "points": points,
        "best": points.index(best),
        "chosen": points.index(chosen),
        "reported": looked_at,
        "proof": proof(looked_at[0], looked_at[1]),
        "margins": margins([found["label"] for found in looked_at]),
        "notes": ["7 rows of rewardbench were truncated"],
    }


def sweep() -> dict[str, Any]:
    """21 values of λ with one domain model."""
    return sweep_of([point(step / 20) for step in range(21)], ["example/maths-model"])


def grid(models: int = 2) -> dict[str, Any]:
    """Several domain models, in steps of 0.2 to a total of 1."""
    weights = itertools.product([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], repeat=models)
    points = [point(*found) for found in weights if sum(found) < 1.001]
    names = ["maths", "code", "law"][:models]
    return sweep_of(sorted(points, key=lambda found: found["total"]), names)


def search() -> dict[str, Any]:
    """Twelve trials of two parameters: one pruned, one failed."""
    plain = sweep()
    trials = []
    for number in range(12):
        state = {4: "pruned", 7: "failed"}.get(number, "complete")
        score = None if state == "failed" else 0.5 + 0.004 * ((number * 7) % 12)
        trials.append(
            {
                "number": number,
                "params": {"attention": 0.05 * number, "mlp": 0.6 - 0.05 * number},
                "score": score,
                "stderr": None if score is None else stderr(score, 500),
                "state": state,
                "seconds": 12.0 + number,
            }
        )
    complete = [trial for trial in trials if trial["state"] == "complete"]
    ranked = sorted(complete, key=lambda trial: -trial["score"])[:10]
    top = [
        {
            **{key: trial[key] for key in ("number", "params")},
            "select": trial["score"],
            "select_stderr": trial["stderr"],
            "report": 0.41 - 0.002 * rank,
            "report_stderr": 0.0125,
        }
        for rank, trial in enumerate(ranked)
    ]
    zero, chosen, _ = plain["reported"]
    best = {**plain["reported"][2], "label": f"trial {top[0]['number']}"}
    dropped = ("points", "best", "chosen", "rule", "margins", "reported")
    return {
        **{key: value for key, value in plain.items() if key not in dropped},
        "kind": "search",
        "made": made("dogerm search recipe.yml --params attention,mlp -o out/"),
        "sampler": "tpe",
        "storage": "sqlite:///out/trials.db",
        "trials": trials,
        "top": top,
        "baseline": {
            "label": chosen["label"],
            "weights": chosen["weights"],
            "select": 0.49,
            "select_stderr": 0.022,
            "report": 0.401,
            "report_stderr": 0.0124,
        },
        "proof": proof(zero, best),
        "proof_baseline": proof(chosen, best),
    }
