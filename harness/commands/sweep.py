# SPDX-License-Identifier: Apache-2.0
"""The command line of `dogerm sweep`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.errors import HarnessError, told_in_one_line
from harness.runs.quiet import quiet

if TYPE_CHECKING:
    from harness.study.recipe import StudyRecipe
    from harness.study.spec import Settings, Spec

WEIGHTS = "0:1:0.05"
_TASKS = "Comma-separated tasks, groups, globs or YAML files of your own."


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how merges are loaded and scored, and on what data."""
    for option in reversed(
        (
            click.option(
                "--model_args",
                "--model-args",
                default="",
                help="As lm_eval's for --model reward, without pretrained: "
                "dtype=bfloat16,device=cuda.",
            ),
            click.option(
                "--batch_size", "--batch-size", default="8", show_default=True, help="As lm_eval's."
            ),
            click.option(
                "--include-path",
                "--include_path",
                type=click.Path(exists=True, file_okay=False, path_type=Path),
                multiple=True,
                help="A folder with tasks of your own.",
            ),
            click.option(
                "--metadata",
                default="{}",
                help='As lm_eval\'s: \'{"data_dir": "my_data"}\' for local data files.',
            ),
            click.option("--cuda", is_flag=True, help="Merge on the GPU (mergekit's option)."),
            click.option(
                "--trust-remote-code",
                is_flag=True,
                help="Run code that comes with a model (mergekit's option).",
            ),
            click.option(
                "--lora-merge-cache",
                type=click.Path(file_okay=False),
                help="Where mergekit writes a model with its adapter merged (mergekit's option).",
            ),
        )
    ):
        command = option(command)
    return command


@click.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--weight",
    "weights",
    multiple=True,
    show_default=WEIGHTS,
    help="Values of λ: START:STOP:STEP or a list 0.2,0.4. With several domain models once for all "
    "(a grid), or once for each, in the recipe's order.",
)
@click.option(
    "--param",
    "parameters",
    multiple=True,
    metavar="NAME=VALUES",
    help="Another parameter of the merge method, as its values of --weight: density=0.2:0.8:0.2. "
    "All combinations are tried.",
)
@click.option(
    "--path",
    "ratio",
    help="With several domain models: a line, not a grid. --weight is then their total, divided "
    "in this ratio, e.g. 2,1.",
)
@click.option("--select", required=True, multiple=True, help=f"What chooses λ. {_TASKS}")
@click.option(
    "--report",
    multiple=True,
    help="What proves it, at the chosen λ and the ends only (0, and the most of each domain model "
    f"alone). {_TASKS}",
)
@click.option(
    "--split-select",
    "split",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Where one task must do for both: this share of its prompts chooses, the others report.",
)
@click.option(
    "--rule",
    type=click.Choice(["best", "one-standard-error"]),
    default="best",
    show_default=True,
    help="one-standard-error: the smallest λ within one standard error of the best.",
)
@click.option("--metric", default="accuracy", show_default=True, help="What chooses, and is shown.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of intervals.")
@click.option(
    "-o",
    "--output",
    "out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for results; a killed sweep goes on there.",
)
@model_options
def sweep(
    recipe: Path,
    weights: tuple[str, ...],
    parameters: tuple[str, ...],
    ratio: str | None,
    select: tuple[str, ...],
    report: tuple[str, ...],
    split: float | None,
    rule: str,
    metric: str,
    seed: int,
    out: Path,
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
        from harness.study import values
        from harness.study.store import check_folder

        chosen_on, proven_on = asked(select, report, split)
        typed_values = values.named(parameters, "NAME=VALUES, as in density=0.2:0.8:0.2")
        for text in weights:
            values.parse(text)  # again with the models; here before anything is loaded
        check_folder(out)
        check_format(out / "plot.png")  # whether there is a matplotlib
        say("starting torch, mergekit and lm-eval")
        from harness.show import sweep_text
        from harness.show.study_file import SweepFile
        from harness.study import grid, recipe_file
        from harness.study import sweep as sweeping

        read = recipe_file.read(recipe)
        models = read.domain_models
        if ratio and len(models) == 1:
            raise HarnessError(
                f"--path {ratio}: {recipe} has one domain model, so there is no path"
            )
        read.refuse_shapes(typed_values)
        axes = [grid.Axis(read.strength, weights or (WEIGHTS,), "--weight ")]
        axes += [
            grid.Axis(read.beside(name, f"--param {name}", "--weight"), texts, f"--param {name}=")
            for name, texts in typed_values.items()
        ]
        spec = specified(read, chosen_on, proven_on, {**given, "split": split, "metric": metric})
        plan = sweeping.SweepPlan(
            spec=spec,
            rows=spec.load_rows(),
            seed=seed,
            command=typed(),
            points=grid.points(read, axes, values.parse_ratio(ratio, models) if ratio else None),
            rule=rule,
        )
        with quiet():
            found, written = sweeping.sweep(plan, out, say)
        click.echo(sweep_text.text(SweepFile.model_validate(found)))
        click.echo("Written: " + ", ".join(map(str, written)))


def asked(
    select: Sequence[str], report: Sequence[str], split: float | None
) -> tuple[list[str], list[str]]:
    """The tasks that choose and those that prove.

    Raises:
        HarnessError: there are none.
    """
    chosen_on, proven_on = names(",".join(select)), names(",".join(report))
    if not chosen_on:
        raise HarnessError("--select names no task")
    if not proven_on and split is None:
        raise HarnessError(
            "nothing to prove the choice on: name other tasks with --report, or divide those of "
            "--select with --split-select 0.2"
        )
    return chosen_on, proven_on


def specified(
    recipe: StudyRecipe, select: Sequence[str], report: Sequence[str], given: Mapping[str, Any]
) -> Spec:
    """What to measure with, as the options that sweep and search share say.

    Raises:
        HarnessError: an option that makes no sense.
    """
    from harness.study.spec import Spec

    return Spec(
        recipe=recipe,
        settings=settings(given),
        select=tuple(select),
        report=tuple(report),
        split=given["split"],
        metadata=read_metadata(given["metadata"]),
        include_path=given["include_path"],
        metric=given["metric"],
    )


def say(text: str) -> None:
    """Progress, apart from the results."""
    click.echo(text, err=True)


def names(text: str) -> list[str]:
    """The parts of a comma-separated list."""
    return [part.strip() for part in text.split(",") if part.strip()]


def typed() -> str:
    """The command as it was typed."""
    return shlex.join(["dogerm", *sys.argv[1:]])


def read_metadata(text: str) -> dict[str, Any]:
    """The JSON object of --metadata.

    Raises:
        HarnessError: it is none.
    """
    import json

    try:
        metadata = json.loads(text)
    except ValueError as error:
        raise HarnessError(f"--metadata {text}: not JSON ({error})") from error
    if not isinstance(metadata, dict):
        raise HarnessError(
            f'--metadata {text}: expected an object, as in {{"data_dir": "my_data"}}'
        )
    return metadata


def settings(given: Mapping[str, Any]) -> Settings:
    """What the options of `model_options` say."""
    from lm_eval.utils import simple_parse_args_string

    from harness.study.spec import Settings

    size = given["batch_size"]
    if size != "auto" and not (size.isdecimal() and int(size)):
        raise HarnessError(f"--batch_size {size}: expected auto or a number of rows")
    arguments = simple_parse_args_string(given["model_args"])
    for name, value in arguments.items():
        if value == "":
            raise HarnessError(f"--model_args {name}: expected NAME=VALUE, as in dtype=bfloat16")
        if name == "revision":
            raise HarnessError("--model_args revision=: write it in the recipe, as MODEL@REVISION")
    merge = {name: given[name] for name in ("cuda", "trust_remote_code", "lora_merge_cache")}
    return Settings(
        model_args=arguments,
        batch_size=size,
        merge_options={name: value for name, value in merge.items() if value},
    )
