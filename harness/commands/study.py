# SPDX-License-Identifier: Apache-2.0
"""The command line of `dogerm study`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import FILE, NEW_FOLDER, output, say, typed
from harness.errors import HarnessError, told_in_one_line

if TYPE_CHECKING:
    from harness.study.candidates.steps import Step


@click.command()
@click.argument("study_file", metavar="STUDY", type=FILE)
@output("Folder for results; a killed study goes on there.", "out", to=NEW_FOLDER, required=True)
@click.option("--plan", is_flag=True, help="Say what would be run, in order, and what is there.")
@click.option(
    "--ray",
    metavar="ADDRESS",
    help="local, auto or a cluster's address: steps run side by side, each with a GPU or a share "
    "of the cores. Every node needs the same folders.",
)
@click.option("--workers", type=click.IntRange(1), help="With --ray: how many.")
def study(study_file: Path, out: Path, plan: bool, ray: str | None, workers: int | None) -> None:
    """Compare the candidates of STUDY (a YAML file) on the same rows.

    \b
      dogerm study study.yml --plan -o study/
      dogerm study study.yml -o study/

    A candidate is a model, a merge recipe, what a sweep or a search chooses, or a training. Every
    name in the file counts from its own folder. What is finished is kept, and made again where
    something that it was made with has changed. A candidate that fails is told, the others go on.
    """
    with told_in_one_line():
        from harness.show.picture import check_format
        from harness.study.candidates.config import read

        if workers is not None and ray is None:
            raise HarnessError("--workers goes with --ray: without it one step is run at a time")
        asked, text = read(study_file), study_file.read_text(encoding="utf-8")
        folder, out = study_file.resolve().parent, out.resolve()
        check_format(out / "study.png")  # whether there is a matplotlib
        if os.environ.get("DOGERM_DATA_DIR"):
            os.environ["DOGERM_DATA_DIR"] = str(Path(os.environ["DOGERM_DATA_DIR"]).resolve())
        from harness.runs.quiet import quiet
        from harness.show import candidates_table
        from harness.study.candidates import planning, result, running, tasks
        from harness.study.interrupt import stoppable
        from harness.study.store import alone, told_if_full

        with contextlib.chdir(folder):
            with quiet():
                rows = tasks.load(asked)
            steps = planning.Planner(asked, folder, out, rows).steps
            if plan:
                _tell(steps, running.divided(steps, out)[0])
                return
            stopped = f"stopped; the same command goes on from what is in {out}"
            with alone(out, "steps"), stoppable(say, stopped), told_if_full(out):

                def pool() -> running.Pool:
                    return running.ray_pool(ray, workers, say) if ray else running.LocalPool()

                done = running.run(steps, folder, out, pool, say)
                found = result.gather(asked, text, folder, rows, done, out, typed())
                written = result.write(found, out)
        click.echo(candidates_table.text(found))
        click.echo("Written: " + ", ".join(map(str, written)))
    if done.failed:
        sys.exit(1)


def _tell(steps: Sequence[Step], there: Sequence[Step]) -> None:
    """The steps in order, each with whether it is there."""
    for number, step in enumerate(steps, start=1):
        click.echo(f"{number:>3}  {'kept' if step in there else 'run '}  {step.told}")
    click.echo(f"{len(steps)} steps, {len(there)} of them there already")
