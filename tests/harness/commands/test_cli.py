"""The command `dogerm`: instant help, lazy subcommands."""

import subprocess
import sys

from click.testing import CliRunner

from harness.commands.cli import COMMANDS, main


def test_help_names_every_command() -> None:
    """Each subcommand with its line."""
    done = CliRunner().invoke(main, ["--help"])
    assert done.exit_code == 0
    for name, line in COMMANDS.items():
        assert f"{name}  " in done.output and line.split(",")[0] in done.output


def test_every_command_loads() -> None:
    """The names in the table lead to commands that can show their help."""
    for name in COMMANDS:
        done = CliRunner().invoke(main, [name, "--help"])
        assert done.exit_code == 0, done.output


# Run in a process of its own: the help of every command and subcommand, and what that imported.
HELP = """
import sys, click
from click.testing import CliRunner
from harness.commands.cli import main

HEAVY = ("torch", "transformers", "mergekit", "lm_eval", "datasets", "numpy", "matplotlib",
         "optuna", "ray", "trl", "peft", "safetensors")

def show(command, path):
    done = CliRunner().invoke(main, [*path, "--help"])
    assert done.exit_code == 0, done.output
    print("/".join(path) or "dogerm", *(name for name in HEAVY if name in sys.modules))
    for name in command.list_commands(None) if isinstance(command, click.Group) else ():
        show(command.get_command(None, name), [*path, name])

show(main, [])
"""


def test_help_imports_nothing_heavy() -> None:
    """No `--help`, whatever the command, waits for torch, mergekit, lm-eval or matplotlib."""
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert {"dogerm", *COMMANDS, "bon/plot", "train/reward"} <= {line.split()[0] for line in lines}
    assert [line for line in lines if " " in line] == []
