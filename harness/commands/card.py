# SPDX-License-Identifier: Apache-2.0
"""The command line of `dogerm card`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import FILE_OR_FOLDER, FOLDER, include_path
from harness.errors import HarnessError, told_in_one_line

if TYPE_CHECKING:
    from harness.show.card.figures import Figures
    from harness.show.card.recipe import MergedRecipe


@click.command()
@click.argument("out", type=FOLDER)
@click.option(
    "--results",
    required=True,
    multiple=True,
    type=FILE_OR_FOLDER,
    help="A folder of dogerm sweep or dogerm search, or of lm_eval's --output_path; or a "
    "sweep.json, search.json or results_<date>.json. Can be given several times.",
)
@include_path("for their data sets")
@click.option(
    "--validate", is_flag=True, help="Have the Hub check the metadata, too, before it is written."
)
def card(
    out: Path, results: tuple[Path, ...], include_path: tuple[Path, ...], validate: bool
) -> None:
    """Put measured figures into the model card of the merged model in the folder OUT.

    README.md gets the Hub's model-index metadata and a section that says what was merged, how λ
    was chosen, what was measured, and the licences of the models that were merged. What else is
    there stays; another run replaces only what an earlier one wrote. Nothing is uploaded.

    \b
      mergekit-yaml sweeps/math/best.yml out/
      dogerm card out/ --results sweeps/math/
    """
    from harness.show.card import readme as cards
    from harness.show.card import recipe as recipes
    from harness.show.card.figures import check_no_two_alike, mark_selection

    with told_in_one_line():
        recipe = recipes.read(out)
        figures = [_figures(path, out, recipe, include_path) for path in results]
        check_no_two_alike(figures)
        mark_selection(figures)
        made = cards.make(out, recipe, figures)
        if validate:
            cards.validate(made)
        made.write()
    for figure in figures:
        for warning in figure.warnings:
            click.echo(f"Warning: {warning}", err=True)
    origin = "" if made.ours else " (as it was)"
    click.echo(f"{made.path}: {len(made.results)} figures, license: {made.licence}{origin}")
    for licence in made.licences:
        click.echo(f"  {licence.model}: {licence.shown}")
    if made.ours and made.licence == "other":
        click.echo("Decide what this model may be published under, and set `license:` in its card.")


def _figures(
    path: Path, out: Path, recipe: MergedRecipe, include_path: tuple[Path, ...]
) -> Figures:
    """The content of one --results, whichever kind it is."""
    from harness.runs.results import read_json
    from harness.show.card import of_runs, of_studies
    from harness.show.read import FILES

    files = [path]
    if path.is_dir():
        files = [path / name for name in FILES if (path / name).is_file()]
        if len(files) > 1:
            raise HarnessError(f"{path} has {' and '.join(FILES)}: name the file")
        files = files or of_runs.find(path)
    contents = [read_json(file) for file in files]
    if len(files) == 1 and of_studies.is_study(contents[0]):
        return of_studies.read(files[0], recipe, include_path)
    if files and all(map(of_runs.is_run, contents)):
        return of_runs.read(files, out)
    raise HarnessError(
        f"{path} has no results, expected sweep.json, search.json or lm-eval's "
        "results_<date>.json: name one, or its folder"
    )
