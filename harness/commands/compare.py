"""The command line of `dogerm compare`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.commands.options import FILE_OR_FOLDER, SHARE, include_path, output
from harness.errors import told_in_one_line


@click.command()
@click.argument("a", type=FILE_OR_FOLDER)
@click.argument("b", type=FILE_OR_FOLDER)
@click.option(
    "--metric",
    default="accuracy",
    show_default=True,
    help="A metric with one number an item, as the samples name it: accuracy, margin, acc, ...; "
    "NAME,FILTER where a task has several filters.",
)
@click.option(
    "--confidence",
    type=SHARE,
    default=0.95,
    show_default=True,
    help="Of the intervals; 1 minus it is what p (Holm) must be below.",
)
@click.option(
    "--resamples",
    type=click.IntRange(100),
    default=10_000,
    show_default=True,
    help="Of the bootstrap, and draws of the sign-flip test.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--flips", "most", type=click.IntRange(0), default=0, help="List up to N such items a task."
)
@include_path("for their groups")
@output("Write all of it, with every item that differs, as JSON.")
def compare(
    a: Path,
    b: Path,
    metric: str,
    confidence: float,
    resamples: int,
    seed: int,
    most: int,
    include_path: tuple[Path, ...],
    output: Path | None,
) -> None:
    """Say for each task and group whether model B is better than model A, or only luckier.

    A (the baseline) and B are what two runs of `lm_eval --log_samples --output_path FOLDER` on the
    same data have written: the folder (a task's latest run is taken), one run's results_*.json, or
    one samples_*.jsonl.

    \b
      lm_eval --model reward --model_args pretrained=rm/ --tasks rewardbench \\
          --log_samples --output_path results/rm
      lm_eval --model reward --model_args pretrained=merged/ --tasks rewardbench \\
          --log_samples --output_path results/merged
      dogerm compare results/rm results/merged

    Items are paired. The interval of the difference B − A is a bootstrap's, which resamples the
    items within each task; groups weigh their tasks as in lm_eval's own table. p is McNemar's,
    exact. Where items are not right or wrong, or do not all count the same, it is that of the
    sign-flip test, marked with a "~". Holm's correction is over all tasks and, apart, over all
    groups. A difference that does not survive it is called noise.

    RewardBench 2's Ties has one score over all prompts, which is the mean over pairs of them: there
    an item is ref:n with its tied:n.
    """
    from harness.compare.comparison import compare_runs
    from harness.runs.results import find_run
    from harness.show import compare_text

    with told_in_one_line():
        left, right = find_run(a), find_run(b)
        report = compare_runs(
            left,
            right,
            metric,
            resamples=resamples,
            confidence=confidence,
            seed=seed,
            include_path=include_path,
        )
        click.echo(compare_text.text(report, left, right))
        for line in compare_text.flips(report, most) if most else ():
            click.echo(line)
        if output:
            compare_text.write_json(compare_text.as_json(report, left, right), output)
    if output:
        click.echo(f"Written: {output}")
