"""Command lines read by the parsers of the programs that they call, without running them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from fnmatch import fnmatch
from functools import cache
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path
from unittest.mock import patch

import click
import lm_eval

from dogerm_plugin.recipe.keys import check_file
from dogerm_plugin.run.experts import recipe as mixture
from harness.commands.cli import COMMANDS
from harness.commands.cli import main as dogerm_command
from harness.models.load.arguments import parameters
from harness.tasks.base.task_index import task_manager
from tests.markdown import ROOT

DOGERM = distribution("dogerm")
MODELS = {found.name: found for found in DOGERM.entry_points if found.group == "lm_eval.models"}
_SCRIPTS = {"mergekit-yaml": "run_yaml", "mergekit-multi": "multimerge", "mergekit-moe": "moe"}


@cache
def task_names() -> frozenset[str]:
    """This project's tasks and groups."""
    return frozenset(task_manager().all_tasks)


def model_arguments(model: str) -> set[str]:
    """The arguments that `--model_args` of a model of ours takes by name."""
    from lm_eval.models.huggingface import HFLM

    from harness.models.reward import Reward

    kind = MODELS[model].load()
    if not issubclass(kind, HFLM):  # hands the rest to its members
        return parameters(kind, kind) | parameters(Reward, HFLM)
    return parameters(kind, HFLM)


def own_arguments(model: str) -> set[str]:
    """Those of them that lm-eval's `hf` does not take."""
    from lm_eval.models.huggingface import HFLM

    return model_arguments(model) - parameters(HFLM, HFLM)


def check(words: list[str]) -> None:
    """Hold a command against its program's parser.

    Raises:
        AssertionError, click.ClickException, SystemExit: it does not take these words.
    """
    program, *arguments = words
    assert program in _CHECKS, f"nothing here knows {program}"
    if "..." not in arguments:  # else the sketch of a command
        _CHECKS[program](arguments)


def is_command(text: str) -> bool:
    """Whether a text begins with a program that `check` knows, and something for it to do."""
    program, _, rest = text.partition(" ")
    return program in _CHECKS and rest != ""


def _dogerm(arguments: list[str]) -> None:
    command: click.Command = dogerm_command
    context, name = click.Context(command), "dogerm"
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        name, *arguments = arguments
        found = command.get_command(context, name)
        assert found is not None, f"dogerm has no {name}"
        command = found
    if arguments:
        _parse(command, name, arguments)


def _parse(command: click.Command, name: str, arguments: list[str]) -> None:
    """Parse without asking whether the files that an example names are there."""
    with (
        patch.object(click.Path, "convert", lambda _self, value, *_: Path(value)),
        suppress(click.exceptions.Exit),  # --help
    ):
        command.make_context(name, list(arguments))


def _mergekit(program: str) -> Callable[[list[str]], None]:
    def read(arguments: list[str]) -> None:
        module = import_module(f"mergekit.scripts.{_SCRIPTS[program]}")
        _parse(module.main, program, arguments)
        for recipe in (word for word in arguments if word.startswith("merge_recipes/")):
            path = str(ROOT / recipe)
            if program == "mergekit-moe":
                mixture.parse(mixture.read(path), path)
            else:
                check_file(path)

    return read


def _lm_eval(arguments: list[str]) -> None:
    from lm_eval._cli.harness import HarnessCLI

    with patch.object(sys, "argv", ["lm_eval", *arguments]):
        given = HarnessCLI().parse_args()
    if given.command != "run":
        return
    for name in _several(given.tasks or ""):
        assert _is_task(name), f"no task {name}"
    if given.model in MODELS:
        unknown = set(dict(given.model_args)) - model_arguments(given.model)
        assert not unknown, f"--model {given.model} does not take {unknown}"
    else:
        assert given.model == "hf", f"no model {given.model}"


def _several(given: str | list[str]) -> Iterator[str]:
    for text in [given] if isinstance(given, str) else given:
        yield from filter(None, text.split(","))


def _is_task(name: str) -> bool:
    theirs = Path(str(lm_eval.__file__)).parent / "tasks" / name
    ours = any(fnmatch(task, name) for task in task_names())
    return name.endswith(".yaml") or ours or theirs.is_dir()


def _accelerate(arguments: list[str]) -> None:
    from accelerate.commands.launch import launch_command_parser

    launch, *rest = arguments
    assert launch == "launch"
    if "-m" in rest:
        given = launch_command_parser().parse_args(rest)
        _module([given.training_script, *given.training_script_args])


def _torchrun(arguments: list[str]) -> None:
    from torch.distributed.run import get_args_parser

    given = get_args_parser().parse_args(arguments)
    _module([given.training_script, *given.training_script_args])


def _python(arguments: list[str]) -> None:
    if arguments[0] == "-m":
        _module(arguments[1:])
    else:
        assert (ROOT / arguments[0]).is_file(), f"no script {arguments[0]}"


def _module(words: list[str]) -> None:
    name, *arguments = words
    known = {"dogerm_plugin": "mergekit-yaml", "harness": "lm_eval", "lm_eval": "lm_eval"}
    assert name in known or name == "venv", f"nothing here knows the module {name}"
    if name in known and arguments:
        ours = name == "harness" and arguments[0] in COMMANDS
        _CHECKS["dogerm" if ours else known[name]](arguments)


def _pip(arguments: list[str]) -> None:
    verb, *rest = arguments
    assert verb in ("install", "uninstall")
    extras = DOGERM.metadata.get_all("Provides-Extra") or []
    for before, word in zip(["", *rest], rest, strict=False):
        if before == "-c":
            assert (ROOT / word).is_file(), f"no file {word}"
        elif not word.startswith("-"):
            name, _, wanted = word.rstrip("]").partition("[")
            assert name in (".", "dogerm"), f"{name} is not this project"
            assert set(filter(None, wanted.split(","))) <= {*extras}, f"no extra {wanted}"


def _pytest(arguments: list[str]) -> None:
    """CI runs README's own line; here, the folders."""
    for word in arguments:
        assert not word.startswith("tests") or (ROOT / word).exists(), f"no {word}"


_CHECKS: dict[str, Callable[[list[str]], None]] = {
    "dogerm": _dogerm,
    "lm_eval": _lm_eval,
    "mergekit-yaml": _mergekit("mergekit-yaml"),
    "mergekit-multi": _mergekit("mergekit-multi"),
    "mergekit-moe": _mergekit("mergekit-moe"),
    "accelerate": _accelerate,
    "torchrun": _torchrun,
    "python": _python,
    "python3": _python,
    "pip": _pip,
    "pytest": _pytest,
    ".": lambda _: None,  # activates
}
