"""The command `dogerm`: instant help, lazy subcommands."""

import subprocess
import sys

from click.testing import CliRunner

from harness.cli import COMMANDS, main


def test_help_names_every_command() -> None:
    """Each subcommand with its line."""
    done = CliRunner().invoke(main, ["--help"])
    assert done.exit_code == 0
    for name, (_, line) in COMMANDS.items():
        assert f"{name}  " in done.output and line.split(",")[0] in done.output


def test_every_command_loads() -> None:
    """The names in the table lead to commands that can show their help."""
    for name in COMMANDS:
        done = CliRunner().invoke(main, [name, "--help"])
        assert done.exit_code == 0, done.output


def test_help_imports_nothing_heavy() -> None:
    """`dogerm --help` must not wait for torch, transformers, mergekit or lm-eval."""
    code = (
        "import sys; from click.testing import CliRunner; from harness.cli import main;"
        "CliRunner().invoke(main, ['--help']);"
        "print([m for m in ('torch', 'transformers', 'mergekit', 'lm_eval') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
