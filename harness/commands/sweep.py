# SPDX-License-Identifier: Apache-2.0
"""The command line of `dogerm sweep`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from harness.commands.options import (
    FILE,
    asked,
    result_options,
    say,
    specified,
    task_options,
    typed,
)
from harness.errors import HarnessError, told_in_one_line
from harness.runs.quiet import quiet

WEIGHTS = "0:1:0.05"


@click.command()
@click.argument("recipe", type=FILE)
@click.option(
    "--weight",
    "weights",
    multiple=True,
    show_default=WEIGHTS,
    help="Values of λ, the domain model's weight: START:STOP:STEP or a list 0.2,0.4. With several "
    "domain models once for all (a grid), or once for each, in the recipe's order.",
)
@click.option(
    "--grid",
    "--param",
    "parameters",
    multiple=True,
    metavar="NAME=VALUES",
    help="Any parameter of the merge method, its values as those of --weight: density=0.2:0.8:0.2. "
    "All combinations are tried. --weight 0:1:0.1 is --grid weight=0:1:0.1.",
)
@click.option(
    "--path",
    "ratio",
    help="With several domain models: a line, not a grid. --weight is then their total, divided "
    "in this ratio, e.g. 2,1.",
)
@task_options(
    "What chooses λ.",
    "What proves it, at the chosen λ and the ends only (0, and the most of each domain model "
    "alone).",
)
@click.option(
    "--rule",
    type=click.Choice(["best", "one-standard-error"]),
    default="best",
    show_default=True,
    help="one-standard-error: the smallest λ within one standard error of the best.",
)
@click.option(
    "--race",
    type=click.Choice(["significant", "halving"]),
    is_flag=False,
    flag_value="significant",
    help="Score the selection rows in eighths and drop each λ that is shown not to be the best "
    "(the best is dropped with a chance of 5% at most). halving: drop the worse half after 1/4 and "
    "1/2 of the rows, too, without such a guarantee.",
)
@result_options("sweep", seed="Of intervals.")
def sweep(
    recipe: Path,
    out: Path,
    weights: tuple[str, ...],
    parameters: tuple[str, ...],
    ratio: str | None,
    **given: Any,
) -> None:
    """Choose λ for RECIPE (a file for mergekit-yaml) on some rows, and prove the gain on others.

    \b
      dogerm sweep recipe.yml --select my_prefs.yaml --report 'rewardbench_*' -o sweeps/math
      mergekit-yaml sweeps/math/best.yml merged/

    Every merge is made in memory, in one loaded model, with the weights that mergekit-yaml would
    write. The rows that choose are never those that are reported: a prompt on both sides is an
    error. Each finished measurement is kept; what was made with another recipe, model file or
    version is set aside, what was made with other data is replaced.
    """
    with told_in_one_line():
        from harness.show.picture import check_format
        from harness.study import grid
        from harness.study.store import check_folder

        asked(given)
        if given["race"] and given["rule"] != "best":
            raise HarnessError(
                f"--race finds the best score, and --rule {given['rule']} needs the full scores of "
                "others: leave one of them out"
            )
        typed_values = grid.named("--grid", parameters, "NAME=VALUES, as in density=0.2:0.8:0.2")
        for text in weights:
            grid.parse(text)  # again with the models; here before anything is loaded
        check_folder(out)
        check_format(out / "plot.png")  # whether there is a matplotlib
        say("starting torch, mergekit and lm-eval")
        from harness.show import sweep_text
        from harness.show.study_file import SweepFile
        from harness.study import recipe_file
        from harness.study import sweep as sweeping
        from harness.study.recipe import strength_of

        read = recipe_file.read(recipe, replaced=typed_values)
        axes = grid.axes(read, weights, typed_values)
        own = strength_of(read.method)
        if given["rule"] != "best" and axes and axes[0].parameter != own:
            raise HarnessError(
                f"--rule {given['rule']}: takes the least of the domain model, and "
                f"{axes[0].parameter.name} does not say how much of it there is"
            )
        read = replace(read, axis=axes[0].parameter.name if axes else "")
        models = read.domain_models
        if ratio and len(models) == 1:
            raise HarnessError(
                f"--path {ratio}: {recipe} has one domain model, so there is no path"
            )
        spec = specified(read, given)
        plan = sweeping.SweepPlan(
            spec=spec,
            rows=spec.load_rows(),
            seed=given["seed"],
            command=typed(),
            points=grid.points(read, axes, grid.parse_ratio(ratio, models) if ratio else None),
            rule=given["rule"],
            race=given["race"],
        )
        with quiet():
            found, written = sweeping.sweep(plan, out, say)
        click.echo(sweep_text.text(SweepFile.model_validate(found)))
        click.echo("Written: " + ", ".join(map(str, written)))
