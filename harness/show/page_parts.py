# SPDX-License-Identifier: Apache-2.0
"""What the reports of a sweep and of a search have in common."""

from __future__ import annotations

from collections.abc import Iterator

from harness.show.blocks import Code, Facts, Items, Part, Text
from harness.show.numbers import size, times
from harness.show.study_file import StudyFile


def apart(study: StudyFile) -> str:
    """That the rows which chose are not those which are reported."""
    chose, shown = (", ".join(tasks) for tasks in (study.select, study.report))
    if study.split is None:
        return (
            f"The weights were chosen on {chose} and are reported on {shown}: selection and report "
            "rows are different rows."
        )
    share = 100 * study.split
    return (
        f"The rows of {chose} are divided by a hash of the prompt: {share:g}% of the prompts chose "
        f"the weights, the other {100 - share:g}% are reported ({shown}). Selection and report "
        "rows are different rows, and no prompt is on both sides."
    )


def the_merge(study: StudyFile) -> Part:
    return Part(
        "The merge",
        [
            Text("best.yml is the recipe with the chosen weights, ready for mergekit:"),
            Code("Command", "mergekit-yaml best.yml merged/"),
            Code("best.yml", study.best_recipe),
        ],
    )


def how_made(study: StudyFile) -> Part:
    made = study.made
    arguments = ", ".join(f"{key}={value}" for key, value in made.model_args.items())
    memory = made.peak_memory
    facts = [
        ("reward model", study.reward_model),
        *((f"domain model {i}", name) for i, name in enumerate(study.domain_models, start=1)),
        ("model arguments", arguments or "none"),
        ("batch size, seed", f"{made.batch_size}, {made.seed}"),
        ("date", made.date),
        ("time", "; ".join(times(made))),
        ("peak memory", f"{size(memory.resident)} (one live model: {size(memory.model)})"),
        ("machine", ", ".join(_machine(made.machine))),
        ("versions", ", ".join(f"{name} {number}" for name, number in made.versions.items())),
    ]
    return Part(
        "How it was made",
        [
            Code("Command", made.command),
            Facts(facts),
            Code(f"The recipe, {study.recipe.path}", study.recipe.text),
        ],
    )


def _machine(machine: dict[str, str | int | None]) -> Iterator[str]:
    for key, value in machine.items():
        if key == "memory" and isinstance(value, int):
            yield f"memory {size(value)}"
        elif isinstance(value, int):
            yield f"{key} {value}"
        elif value:
            yield value


def notes(study: StudyFile) -> list[Part]:
    return [Part("Notes", [Items(study.notes)])] if study.notes else []
