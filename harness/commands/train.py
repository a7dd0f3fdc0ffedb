"""The command line of `dogerm train`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from harness.commands.options import FOLDER, NEW_FILE, NEW_FOLDER, output, together
from harness.commands.train_check import check
from harness.errors import told_in_one_line

_Run = Callable[..., dict[str, Any]]


@click.group()
def train() -> None:
    """Train a reward or hybrid model, a domain model to merge, a mixture's gates or a router.

    A CONFIG is a YAML file; harness/training/configs/ holds those of the demo's two adapters. A
    run that was killed goes on from its last checkpoint when it is started again.
    """


train.add_command(check)

_options = together(
    click.argument("config", type=NEW_FILE),
    output("Folder for the adapter and its figures.", to=NEW_FOLDER, required=True),
    click.option(
        "--data",
        "data_folder",
        type=NEW_FOLDER,
        help="Where relative file names start (default: the config's folder).",
    ),
    click.option(
        "--model",
        "model_folder",
        metavar="FOLDER",
        help="Where the config's model lies on this machine (default: the Hub's cache).",
    ),
)


@train.command()
@click.option(
    "--heads",
    type=click.IntRange(1),
    metavar="K",
    help="So many reward heads on one trunk (default: the config's `heads`, 1).",
)
@click.option(
    "--ensemble",
    type=click.IntRange(2),
    metavar="K",
    help="So many adapters with a head each, of seeds of their own.",
)
@click.option(
    "--domains",
    is_flag=True,
    help="An adapter for each domain of the rows, and a router that chooses among them.",
)
@_options
def reward(
    config: Path,
    output: Path,
    data_folder: Path | None,
    model_folder: str | None,
    heads: int | None,
    ensemble: int | None,
    domains: bool,
) -> None:
    """Train a reward model on preference pairs.

    With --domains the output folder has an adapter for each domain, and router/, which
    --model reward-adapters takes as router=. With --ensemble it has one for each member, which
    --model reward-ensemble takes as adapters=.
    """
    from harness.training.reward import train_reward

    instead = {} if heads is None else {"heads": heads}
    if domains and heads is not None:
        raise click.UsageError("--heads and --domains do not go together: a domain has one head")
    if domains and ensemble is not None:
        raise click.UsageError("--ensemble and --domains do not go together: a domain has one")
    if domains:
        _run_domains(config, output, data_folder, model_folder)
    elif ensemble is not None:
        _run_ensemble(ensemble, config, output, data_folder, model_folder, instead)
    else:
        _run(train_reward, config, output, data_folder, model_folder, instead)


@train.command()
@_options
def hybrid(config: Path, output: Path, data_folder: Path | None, model_folder: str | None) -> None:
    """Train a reward model that stays a language model, on preference pairs.

    The loss is the reward's and alpha times the policy's (HaF-RM, arXiv 2407.04185); the config's
    `policy` has alpha, tau, the reference and the schedule of alpha.
    """
    from harness.training.hybrid import train_hybrid

    _run(train_hybrid, config, output, data_folder, model_folder)


@train.command()
@_options
def sft(config: Path, output: Path, data_folder: Path | None, model_folder: str | None) -> None:
    """Train a language model on prompts and responses."""
    from harness.training.sft import train_sft

    _run(train_sft, config, output, data_folder, model_folder)


@train.command()
@_options
def customized(
    config: Path, output: Path, data_folder: Path | None, model_folder: str | None
) -> None:
    """Train a language model, a general reward model, and one for each domain from that.

    The CONFIG has a section for each stage that is wanted (language_model, general, customized).
    After each stage a table tells the accuracy in every domain and on general pairs; stages.json
    and stages.png have all of them. Finished stages are kept.
    """
    from harness.show import stages as shown
    from harness.training.customized import train_customized
    from harness.training.read_config import read_stages
    from harness.training.stage_rows import GENERAL_PAIRS

    def report(scored: Any, rows: Any) -> None:
        mirrored = rows.mirrored()
        shown.write(output, scored, mirrored)
        for line in shown.lines(scored, mirrored):
            click.echo(line)
        click.echo()

    with told_in_one_line():
        scored = train_customized(
            read_stages(config), output, data_folder or config.parent, model_folder, report
        )
    if scored and scored[-1].stage == "customized":
        click.echo("each domain after each stage, and the general pairs after its last one:")
        for line in shown.summary(scored, GENERAL_PAIRS):
            click.echo(line)
    if len(scored) > 1:
        click.echo(f"{output / 'stages.json'}, {output / 'stages.png'}")


@train.command()
@_options
def gates(config: Path, output: Path, data_folder: Path | None, model_folder: str | None) -> None:
    """Train the routers and the head of a sparse reward model on preference pairs.

    The model is one that mergekit-moe made of reward models. The experts and all else stay as they
    are; the output folder is the whole model.
    """
    from harness.show import expert_shares
    from harness.training.gates import train_gates

    figures = _figures(train_gates, config, output, data_folder, model_folder)
    click.echo(json.dumps(figures["validation"], indent=1))
    for line in expert_shares.lines(figures):
        click.echo(line)
    click.echo(f"{output}: {figures['bytes']:,} bytes of weights, shares.png")


@train.command()
@_options
def router(config: Path, output: Path, data_folder: Path | None, model_folder: str | None) -> None:
    """Fit a router on prompts of several domains, and calibrate their reward models.

    The config's model embeds the prompts; each row says its domain. The output folder is what
    --model reward-router takes as router=.
    """
    from harness.training.router import train_router

    figures = _figures(train_router, config, output, data_folder, model_folder)
    click.echo(json.dumps(figures["validation"], indent=1))
    click.echo(f"{output}: {figures['router']} of {', '.join(figures['labels'])}, confusion.png")


@train.command()
@click.argument("trained", metavar="ADAPTER", type=FOLDER)
@click.option("--model", help="The adapter's base model: folder or Hub id.")
@output("Folder for the checkpoint.", to=NEW_FOLDER, required=True)
@click.option(
    "--heads",
    type=click.Choice(["both", "reward", "policy"]),
    help="Of what `train hybrid` made (default: a reward adapter's reward head; both of a model).",
)
@click.option("--aspect", metavar="NAME", help="One head of several, as a model of one label.")
@click.option(
    "--dtype",
    type=click.Choice(["bfloat16", "float16", "float32"]),
    default="bfloat16",
    show_default=True,
    help="Of the body; a reward head keeps the adapter's.",
)
def export(
    trained: Path,
    model: str | None,
    output: Path,
    heads: str | None,
    aspect: str | None,
    dtype: str,
) -> None:
    """Make an adapter and its base model one checkpoint, ready for mergekit and lm-eval.

    With both heads it loads as a reward model and as a language model. In place of the adapter the
    folder of a whole model that `train hybrid` made will do, without --model.
    """
    from harness.training.export import export_checkpoint

    with told_in_one_line():
        made = export_checkpoint(model, trained, output, dtype, heads, aspect)
        click.echo(f"{made}: body in {dtype}")


def _run_domains(
    config: Path, output: Path, data_folder: Path | None, model_folder: str | None
) -> None:
    from harness.training.domains import train_domains
    from harness.training.read_config import read_config

    with told_in_one_line():
        settings = read_config(config)
        figures = train_domains(settings, output, data_folder or config.parent, model_folder)
    told = {name: one["validation"] for name, one in figures.items()}
    click.echo(json.dumps(told, indent=1))
    click.echo(f"{output / 'router' / 'router.yml'}: for --model reward-adapters")


def _run_ensemble(
    count: int,
    config: Path,
    output: Path,
    data_folder: Path | None,
    model_folder: str | None,
    instead: Mapping[str, Any],
) -> None:
    from harness.training.ensemble import train_ensemble
    from harness.training.read_config import read_config

    with told_in_one_line():
        settings = read_config(config).model_copy(update=instead)
        place = data_folder or config.parent
        figures = train_ensemble(settings, count, output, place, model_folder)
    click.echo(json.dumps({name: one["validation"] for name, one in figures.items()}, indent=1))
    members = ";".join(str(output / name) for name in figures)
    click.echo(f"for --model reward-ensemble: 'pretrained={settings.model},adapters={members}'")


def _run(
    run: _Run,
    config: Path,
    output: Path,
    data_folder: Path | None,
    model_folder: str | None,
    instead: Mapping[str, Any] | None = None,
) -> None:
    """Run a training, and say what it gave."""
    from harness.models.load.processes import is_first

    figures = _figures(run, config, output, data_folder, model_folder, instead)
    if not is_first():
        return
    click.echo(json.dumps(figures["validation"], indent=1))
    adapter = output / "adapter_model.safetensors"
    click.echo(f"{adapter if adapter.is_file() else output}: {figures['bytes']:,} bytes")


def _figures(
    run: _Run,
    config: Path,
    output: Path,
    data_folder: Path | None,
    model_folder: str | None,
    instead: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Of a training, or of the same one where it is finished.

    `instead` holds what the command line says in place of the config.
    """
    from harness.training.figures import trained
    from harness.training.read_config import read_config

    with told_in_one_line():
        settings = read_config(config).model_copy(update=instead)
        place = data_folder or config.parent
        return trained(lambda: run(settings, output, place, model_folder), output, output)
