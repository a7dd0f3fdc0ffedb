# SPDX-License-Identifier: Apache-2.0
"""What the reports of a sweep and of a search have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from harness.report.blocks import Block, Code, Facts, Items, Part, Table, Text
from harness.report.form import Compared, Made, Proof, Search, Sweep
from harness.report.numbers import duration, interval
from harness.sweep.table import p_value, size

# In words, because "noise" alone does not say what follows from it.
MEANINGS = {
    "better": "better beyond chance",
    "worse": "worse beyond chance",
    "noise": "inside the noise, neither a gain nor a loss",
    "same": "no row is decided differently",
}
TESTS = {
    "mcnemar": "exact McNemar",
    "sign-flip": "~ sign-flip test, {resamples:,} draws, where rows are not just right or wrong or "
    "do not count the same",
}


def indented(name: str, depth: int) -> str:
    """A section's name, set in by the groups that it is in (em spaces, which HTML keeps)."""
    return "\u2003" * depth + name


def verdicts(proof: Proof, against: str) -> list[Block]:
    """A line for each task or group that was asked for, and one that counts all verdicts."""
    lines = [
        f"{section['name']}: {section['a']:.3f} → {section['b']:.3f}, "
        f"{section['difference']:+.3f} ({interval(section['low'], section['high'])}): "
        f"{MEANINGS[section['verdict']]}."
        for section in proof["sections"]
        if section["depth"] == 0
    ]
    counted: Counter[str] = Counter(section["verdict"] for section in proof["sections"])
    counts = ", ".join(f"{counted[verdict]} {verdict}" for verdict in MEANINGS)
    lines.append(f"Of all {len(proof['sections'])} sections: {counts}.")
    return [Text(f"On the report rows, against {against}:"), Items(lines)]


def compared(proof: Proof, a: str, b: str) -> list[Block]:
    """The paired comparison with what one must know to read it.

    Args:
        proof: B against A.
        a: what A is, for the caption.
        b: what B is.
    """
    confidence = f"{100 * proof['confidence']:g}% interval"
    head = ("section", "verdict", "rows", "A", "B", "B − A", confidence, "gained", "lost", "p")
    table = Table(
        caption=f"Report rows, paired: B, {b}, against A, {a} ({proof['metric']})",
        head=(*head, "p (Holm)"),
        rows=[_compared_row(section) for section in proof["sections"]],
        left=frozenset({0, 1}),
    )
    used = {section["test"] for section in proof["sections"]}
    tests = [text for test, text in TESTS.items() if test in used]
    how = "; ".join(tests).format(resamples=proof["resamples"])
    reading = (
        f"Interval: paired bootstrap within each task, {proof['resamples']:,} resamples, seed "
        f"{proof['seed']}. p: {how}. Holm's correction is over all tasks and, apart, over all "
        f"groups. What does not come below {1 - proof['confidence']:.3g} after it is called noise. "
        "gained, lost: rows on which B is better, or worse, than A."
    )
    return [table, Text(reading), *([Items(proof["notes"])] if proof["notes"] else [])]


def _compared_row(section: Compared) -> list[str]:
    return [
        indented(section["name"], section["depth"]),
        section["verdict"],
        f"{section['items']:,}",
        f"{section['a']:.3f}",
        f"{section['b']:.3f}",
        f"{section['difference']:+.3f}",
        interval(section["low"], section["high"]),
        str(section["gained"]),
        str(section["lost"]),
        ("~" if section["test"] == "sign-flip" else "") + p_value(section["p"]),
        p_value(section["p_holm"]),
    ]


def apart(found: Sweep | Search) -> str:
    """That the rows which chose are not those which are reported."""
    chose, shown = (", ".join(found[key]) for key in ("select", "report"))
    if found["split"] is None:
        return (
            f"The weights were chosen on {chose} and are reported on {shown}: selection and report "
            "rows are different rows."
        )
    share = 100 * found["split"]
    return (
        f"The rows of {chose} are divided by a hash of the prompt: {share:g}% of the prompts chose "
        f"the weights, the other {100 - share:g}% are reported ({shown}). Selection and report "
        "rows are different rows, and no prompt is on both sides."
    )


def the_merge(found: Sweep | Search) -> Part:
    return Part(
        "The merge",
        [
            Text("best.yml is the recipe with the chosen weights, ready for mergekit:"),
            Code("Command", "mergekit-yaml best.yml merged/"),
            Code("best.yml", found["best_recipe"]),
        ],
    )


def how_made(found: Sweep | Search) -> Part:
    made: Made = found["made"]
    machine = made["machine"]
    arguments = ", ".join(f"{key}={value}" for key, value in made["model_args"].items())
    memory = made["peak_memory"]
    facts = [
        ("reward model", found["reward_model"]),
        *((f"domain model {i}", name) for i, name in enumerate(found["domain_models"], start=1)),
        ("model arguments", arguments or "none"),
        ("batch size, seed", f"{made['batch_size']}, {made['seed']}"),
        ("date", made["date"]),
        ("time", "; ".join(_times(made))),
        ("peak memory", f"{size(memory['resident'])} (one live model: {size(memory['model'])})"),
        ("machine", ", ".join(_machine(machine))),
        ("versions", ", ".join(f"{name} {number}" for name, number in made["versions"].items())),
    ]
    return Part(
        "How it was made",
        [
            Code("Command", made["command"]),
            Facts(facts),
            Code(f"The recipe, {found['recipe']['path']}", found["recipe"]["text"]),
        ],
    )


def _times(made: Made) -> Iterator[str]:
    yield duration(made["seconds"])
    if "scoring_seconds" in made and "merging_seconds" in made:
        yield f"scoring {duration(made['scoring_seconds'])}"
        yield f"merging {duration(made['merging_seconds'])}, earlier runs of it included"


def _machine(machine: dict[str, str | int | None]) -> Iterator[str]:
    for key, value in machine.items():
        if key == "memory" and isinstance(value, int):
            yield f"memory {size(value)}"
        elif isinstance(value, int):
            yield f"{key} {value}"
        elif value:
            yield value


def notes(found: Sweep | Search) -> list[Part]:
    return [Part("Notes", [Items(found["notes"])])] if found["notes"] else []
