# SPDX-License-Identifier: Apache-2.0
"""The command line of `dogerm search`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from harness.study.recipe import Point, StudyRecipe
    from harness.study.span import Span

TRIALS = 50
PREFIX = "reward_preserving_"
# CMA-ES learns from whole generations, which pruned trials are missing in.
PRUNE = {"tpe": "median", "random": "median"}


class _Number(click.ParamType):
    """A decimal number, kept as it is written."""

    name = "number"

    def convert(self, value: Any, param: Any, ctx: Any) -> Decimal:
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite():
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


@click.command()
@click.argument("recipe", type=FILE)
@task_options("What chooses.", "What proves it, for the best ten trials only.")
@click.option(
    "--groups",
    help="A λ for each group of tensors: layers:N (N runs of layers), parts (attention, mlp, "
    "embeddings and norms apart), or layers:N+parts.",
)
@click.option(
    "--low",
    type=_Number(),
    show_default="0",
    help="The least λ; with several domain models, the least sum of theirs.",
)
@click.option("--high", type=_Number(), show_default="1", help="The largest.")
@click.option(
    "--param",
    "parameters",
    multiple=True,
    metavar="NAME=LOW:HIGH",
    help="Narrower bounds of another parameter of the merge method; of one of --methods as "
    "METHOD.NAME=LOW:HIGH.",
)
@click.option(
    "--methods",
    help="Search the merge method, too: linear,task_arithmetic,ties,dare_ties (mergekit's names), "
    "each with its own parameters. RECIPE names the pretrained base.",
)
@click.option("--step", type=_Number(), help="Of --sampler grid.  [default: 0.1]")
@click.option(
    "--sampler",
    type=click.Choice(["tpe", "cmaes", "grid", "random"]),
    default="tpe",
    show_default=True,
    help="Optuna's tree-structured Parzen estimator, CMA-ES, all points of a grid, or chance.",
)
@click.option(
    "--trials", type=click.IntRange(1), help="How many, earlier runs' included.  [default: 50]"
)
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), help="Seconds; then none is begun."
)
@click.option(
    "--prune",
    type=click.Choice(["race", "median", "halving", "none"]),
    help="Give up a trial that is worse than the median, or not in the better half, on 1/4 or 1/2 "
    "of the selection prompts; race: one shown to be worse than the best finished one (one as good "
    "as that is given up with a chance of 5% at most).  [default: median; grid and cmaes: none]",
)
@click.option(
    "--baseline",
    default="0:1:0.1",
    show_default=True,
    help="The plain sweep over one λ to beat; several domain models share it evenly.",
)
@click.option(
    "--storage",
    help="Optuna's: the URL of a database. Several machines may share one, each with its own -o.  "
    "[default: sqlite:///OUT/search.db]",
)
@click.option(
    "--ray",
    is_flag=False,
    flag_value="local",
    help="Measure with many workers: on this machine, or on a running cluster (--ray auto).",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Of --ray.  [default: one for each GPU, or for 4 cores]",
)
@result_options("search", seed="Of the sampler and of intervals.")
def search(recipe: Path, out: Path, **given: Any) -> None:
    """Search the weights of RECIPE (a file for mergekit-yaml): of several models, or of parts.

    \b
      dogerm search recipe.yml --groups layers:3 --trials 50 \\
        --select my_prefs.yaml --report 'rewardbench_*' -o searches/math
      mergekit-yaml searches/math/best.yml merged/

    Trials are measured as dogerm sweep measures, and chosen on the selection rows. The ten best are
    then shown on the report rows, too, beside the best single λ of a plain sweep.
    """
    with told_in_one_line():
        from harness.study.storage import check_installed

        check_installed()
        from harness.show import search_text
        from harness.show.study_file import SearchFile
        from harness.study import search as run

        plan = _plan(recipe, out, given)
        with quiet():
            found, written = run.search(plan, out, say, _pool(given))
        click.echo(search_text.text(SearchFile.model_validate(found)))
        click.echo("Written: " + ", ".join(map(str, written)))


def _plan(recipe: Path, out: Path, given: dict[str, Any]) -> Any:
    from harness.show.picture import check_format
    from harness.study import grid, recipe_file
    from harness.study.search import SearchPlan
    from harness.study.store import check_folder

    asked(given)
    bounds = grid.named("--param", given["parameters"], "NAME=LOW:HIGH, as in density=0.2:0.8")
    _refuse_contradictions(given)
    check_folder(out)
    check_format(out / "plot.png")  # whether there is a matplotlib
    read = recipe_file.read(recipe, any_shape=True)
    spec = specified(read, given)
    return SearchPlan(
        spec=spec,
        rows=spec.load_rows(),
        seed=given["seed"],
        command=_typed(given["storage"]),
        spans=_all_spans(read, given, bounds),
        groups=given["groups"],
        step=(given["step"] or Decimal("0.1")) if given["sampler"] == "grid" else None,
        sampler=given["sampler"],
        trials=given["trials"] or TRIALS,
        timeout=given["timeout"],
        prune=given["prune"] or PRUNE.get(given["sampler"], "none"),
        baseline=_baseline(given["baseline"], read, given["methods"]),
        storage=given["storage"],
    )


def _all_spans(
    recipe: StudyRecipe, given: Mapping[str, Any], bounds: Mapping[str, list[str]]
) -> dict[str, tuple[Span, ...]]:
    """What may be tried of each method."""
    low, high = given["low"], given["high"]
    if given["methods"] is None:
        return {recipe.content["merge_method"]: _spans(recipe, low, high, bounds)}
    if low is not None or high is not None:
        raise HarnessError("--low and --high are of one method: give --param METHOD.NAME=LOW:HIGH")
    methods = _methods(given["methods"])
    of_methods: dict[str, dict[str, list[str]]] = {method: {} for method in methods}
    for name, texts in bounds.items():
        method, _, parameter = name.partition(".")
        if f"{PREFIX}{method}" not in methods or not parameter:
            raise HarnessError(
                f"--param {name}: expected METHOD.NAME=LOW:HIGH with a METHOD of --methods, as in "
                "ties.density=0.2:0.8"
            )
        of_methods[f"{PREFIX}{method}"][parameter] = texts
    return {
        method: _spans(recipe.by(method), None, None, typed, by_name=True)
        for method, typed in of_methods.items()
    }


def _methods(text: str) -> list[str]:
    """The methods of ``--methods``, by their whole names."""
    names = [f"{PREFIX}{name.strip().removeprefix(PREFIX)}" for name in text.split(",")]
    if len(set(names)) < len(names) or len(names) < 2:
        raise HarnessError(f"--methods {text}: expected two and more, each once")
    return names


def _spans(
    recipe: StudyRecipe,
    low: Decimal | None,
    high: Decimal | None,
    bounds: Mapping[str, list[str]],
    *,
    by_name: bool = False,
) -> tuple[Span, ...]:
    """What may be tried: λ, and every other parameter that has bounds, declared or typed.

    Args:
        recipe: of one method.
        low: of λ.
        high: of λ.
        bounds: parameter -> what was typed for it.
        by_name: whether λ is among `bounds`.
    """
    from harness.study.span import Span, declared

    strength = recipe.strength
    typed = {}
    if by_name and strength.name in bounds:
        low, high = _ends(strength.name, bounds[strength.name])
        bounds = {name: texts for name, texts in bounds.items() if name != strength.name}
    spans = [declared(strength, low, high)]
    for name, texts in bounds.items():
        option = f"--param {name}"
        one = recipe.beside(name, option)
        typed[name] = Span(one, *_ends(name, texts), by_name=True)
    searched = [one for one in recipe.method.searchable if one is not strength]
    spans += [typed.pop(one.name) if one.name in typed else declared(one) for one in searched]
    return (*spans, *typed.values())


def _ends(name: str, texts: Sequence[str]) -> tuple[Decimal, Decimal]:
    """The bounds that were typed last for a parameter."""
    from harness.study import grid

    ends = [grid.number(end, f"--param {name}=", texts[-1]) for end in texts[-1].split(":")]
    if len(ends) != 2:
        raise HarnessError(f"--param {name}={texts[-1]}: expected LOW:HIGH, as in density=0.2:0.8")
    return ends[0], ends[1]


def _refuse_contradictions(given: dict[str, Any]) -> None:
    grid = given["sampler"] == "grid"
    if given["step"] is not None and not grid:
        raise HarnessError("--step is of --sampler grid; the others draw any λ in --low to --high")
    if given["trials"] is not None and grid:
        raise HarnessError("--sampler grid measures every point of it: leave --trials out")
    if given["workers"] is not None and given["ray"] is None:
        raise HarnessError("--workers is of --ray: add it, or leave --workers out")
    if given["methods"] is not None and given["sampler"] not in ("tpe", "random"):
        raise HarnessError("--methods is of --sampler tpe and random: the others take numbers only")
    if given["groups"] is not None:
        from dogerm_plugin.recipe import groups

        groups.parse(given["groups"])


def _typed(storage: str | None) -> str:
    """The command as it was typed, without a password in it."""
    if storage is None:
        return typed()
    from harness.study.storage import masked

    return typed().replace(storage, masked(storage))


def _baseline(text: str, recipe: StudyRecipe, methods: str | None) -> list[Point]:
    """The points of the plain sweep over one λ; of linear, where methods are searched."""
    from harness.study import grid
    from harness.study.recipe import METHOD

    models = recipe.domain_models
    even = [Decimal(1)] * len(models) if len(models) > 1 else None
    linear = recipe if methods is None else recipe.by(f"{PREFIX}linear")
    points = grid.points(linear, [grid.Axis(linear.strength, [text], "--baseline ")], even)
    if methods is None:
        return points
    return [recipe.point({METHOD: f"{PREFIX}linear", **one.values}) for one in points]


def _pool(given: dict[str, Any]) -> Any:
    """What makes the workers; None: one in this process."""
    if given["ray"] is None:
        return None
    from harness.study.ray_pool import RayPool

    return lambda spec: RayPool(spec, given["ray"], given["workers"], say=say)
