# SPDX-License-Identifier: Apache-2.0
"""The stages of `dogerm train customized`: what each one gained in a domain, and forgot elsewhere.

In tables for a terminal, and as stages.json.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.compare.statistics import CONFIDENCE, compare, holm
from harness.runs.atomic import write_text
from harness.show.numbers import ends, p_value, score
from harness.show.text_table import aligned

if TYPE_CHECKING:
    from harness.compare.paired import PairedStatistics
    from harness.training.stage_scores import Scored

_BY = {"language model": "mean log-probability of the answer's tokens"}


def before(scored: Sequence[Scored]) -> Scored | None:
    """The stage that the last one started from: for each domain the one before all domains."""
    last = scored[-1]
    return next((one for one in reversed(scored[:-1]) if one.stage != last.stage), None)


def accuracy(values: Sequence[float]) -> tuple[float, float]:
    """The mean over prompts and its standard error; NaN of one prompt."""
    mean = statistics.fmean(values)
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return mean, error


def changes(scored: Sequence[Scored]) -> dict[str, PairedStatistics]:
    """By set of rows, how the last stage differs from the one that it started from, paired."""
    now, then = scored[-1], before(scored)
    if then is None:
        return {}
    return {name: compare({name: (then.right[name], values)}) for name, values in now.right.items()}


def lines(scored: Sequence[Scored], mirrored: tuple[int, int] = (0, 0)) -> Iterator[str]:
    """A table of the last stage.

    Args:
        scored: all stages that are finished.
        mirrored: of the domains' held-out pairs, how many another domain has the other way round;
            of how many.
    """
    now, then, made = scored[-1], before(scored), changes(scored)
    title = f"customized for {now.name}" if now.stage == "customized" else now.stage
    yield f"{title}: accuracy on held-out pairs" + (
        f", by {_BY[now.stage]}" if now.stage in _BY else ""
    )
    heading = ["", "pairs", "prompts", "accuracy"]
    if then is not None:
        heading += [then.name, "change", f"{CONFIDENCE:.0%}", "p (Holm)"]
    corrected = dict(zip(made, holm([one.p for one in made.values()]), strict=True))
    rows = [heading]
    for name, values in _own_first(now):
        row = [name, str(now.pairs[name]), str(len(values)), score(*accuracy(values))]
        if then is not None:
            one = made[name]
            change = [f"{one.difference:+.3f}", ends(one.low, one.high), p_value(corrected[name])]
            row += [score(*accuracy(then.right[name])), *change]
        rows.append(row)
    yield from aligned(rows)
    if now.stage == "customized" and mirrored[0]:
        yield note(mirrored)


def summary(scored: Sequence[Scored], general: str) -> list[str]:
    """A row for each customised domain: its accuracy after each stage, and what is kept.

    Args:
        scored: all stages.
        general: the name of the set of general pairs.
    """
    shared = [one for one in scored if one.stage != "customized"]
    kept = [general] if general in scored[-1].right else []
    rows = [["", *(one.name for one in shared), "customized", *kept]]
    for last in scored:
        if last.stage == "customized":
            cells = [one.right[last.name] for one in (*shared, last)]
            cells += [last.right[name] for name in kept]
            rows.append([last.name, *(score(*accuracy(values)) for values in cells)])
    if kept:
        cells = [one.right[general] for one in shared]
        rows.append([general, *(score(*accuracy(values)) for values in cells), "", ""])
    return aligned(rows)


def note(mirrored: tuple[int, int]) -> str:
    """What to mind where domains have the same pairs."""
    return (
        f"{mirrored[0]} of the domains' {mirrored[1]} held-out pairs stand in another domain from "
        "the other side: what one domain gains on them, the other loses"
    )


def _own_first(one: Scored) -> list[tuple[str, list[float]]]:
    return sorted(one.right.items(), key=lambda item: item[0] != one.name)


def as_dict(scored: Sequence[Scored], mirrored: tuple[int, int]) -> dict[str, Any]:
    """All stages as plain values."""
    stages = []
    for count, one in enumerate(scored, 1):
        known = scored[:count]
        then = before(known)
        sets = {}
        for name, values in one.right.items():
            mean, error = accuracy(values)
            sets[name] = {
                "pairs": one.pairs[name],
                "prompts": len(values),
                "accuracy": mean,
                "stderr": None if math.isnan(error) else error,
            }
        stages.append(
            {
                "stage": one.stage,
                "name": one.name,
                "model": one.model,
                "by": _BY.get(one.stage, "reward"),
                "accuracy": sets,
                "since": then.name if then else None,
                "change": {name: change.as_dict() for name, change in changes(known).items()},
            }
        )
    notes = [note(mirrored)] if mirrored[0] else []
    return {"confidence": CONFIDENCE, "stages": stages, "notes": notes}


def _goes_on(earlier: Any, now: Any) -> bool:
    """Whether the earlier file has the same stages, and more."""
    stages = earlier.get("stages", []) if isinstance(earlier, dict) else []
    count = len(now["stages"])
    return len(stages) > count and stages[:count] == now["stages"]


def write(folder: Path, scored: Sequence[Scored], mirrored: tuple[int, int]) -> None:
    """Write stages.json, and stages.png where there is more than one stage to draw.

    Files that go on from these very stages are left as they are: a run that was started again and
    stops early loses nothing.
    """
    from harness.show import picture, stages_plot

    file = folder / "stages.json"
    text = json.dumps(as_dict(scored, mirrored), indent=1)
    if file.is_file() and _goes_on(json.loads(file.read_text("utf-8")), json.loads(text)):
        return
    write_text(file, text + "\n")
    if len(scored) > 1:
        picture.write(stages_plot.figure(scored), folder / "stages.png")
