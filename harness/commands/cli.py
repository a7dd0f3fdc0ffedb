"""The command `dogerm`. Each subcommand is imported when it is called: `--help` stays instant."""

from __future__ import annotations

import importlib

import click

# name -> its help in one line; the command is called so in the module of this name
COMMANDS = {
    "bon": "Collect candidates for best-of-N, and plot the results.",
    "card": "Put measured figures into a merged model's card.",
    "check": "Say what a file of preferences holds.",
    "compare": "Tell whether one model beats another.",
    "demo": "Merge and measure a real 135M reward model.",
    "doctor": "Say what is installed, what works, and how to mend it.",
    "export": "Write a reward model as a trainer or server reads it.",
    "report": "Write what a sweep or search found as a page.",
    "score": "Put rewards into a file of your own rows.",
    "search": "Search weights by layer, part and model.",
    "study": "Compare candidates of every kind on the same rows.",
    "sweep": "Choose the weight of a merge, and prove the gain.",
    "train": "Train a reward model or a domain model (LoRA).",
}


class _Lazy(click.Group):
    """A group that knows its commands' names without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"harness.commands.{name}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.command(cls=_Lazy)
@click.version_option(package_name="dogerm")
def main() -> None:
    """DogeRM: teach a reward model a domain by merging, and measure what it gained.

    Merging itself is mergekit's command, evaluation is lm-eval's:

    \b
      mergekit-yaml recipe.yml out/
      lm_eval --model reward --model_args pretrained=out/ --tasks 'rewardbench_*'
    """
