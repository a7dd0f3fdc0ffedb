# SPDX-License-Identifier: Apache-2.0
"""The options that several commands have, and what those of a sweep and a search say."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.study.recipe import StudyRecipe
    from harness.study.spec import Settings, Spec

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE_OR_FOLDER = click.Path(exists=True, path_type=Path)
NEW_FOLDER = click.Path(file_okay=False, path_type=Path)
NEW_FILE = click.Path(dir_okay=False, path_type=Path)
SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)

Option = Callable[[Callable[..., Any]], Any]
_TASKS = "Comma-separated tasks, groups, globs or YAML files of your own."


def together(*options: Option) -> Option:
    """Several options as one decorator; ``--help`` lists them in this order."""

    def decorated(command: Callable[..., Any]) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


def output(help: str, *name: str, to: click.Path = NEW_FILE, **more: Any) -> Option:
    """``-o``: where a command writes."""
    return click.option("-o", "--output", *name, type=to, help=help, **more)


def include_path(purpose: str) -> Option:
    """``--include-path`` of a command that looks up tasks which a run has named."""
    told = f"A folder with tasks of your own, as lm_eval's --include_path: {purpose}."
    return click.option("--include-path", type=FOLDER, multiple=True, help=told)


def task_options(chooses: str, proves: str) -> Option:
    """The tasks of a sweep or a search; both texts are the beginnings of their helps."""
    return together(
        click.option("--select", required=True, multiple=True, help=f"{chooses} {_TASKS}"),
        click.option("--report", multiple=True, help=f"{proves} {_TASKS}"),
        click.option(
            "--split-select",
            "split",
            type=SHARE,
            help="Where one task must do for both: this share of its prompts chooses, the others "
            "report.",
        ),
    )


def result_options(kind: str, seed: str) -> Option:
    """What a sweep or a search shows and where it writes, and how its merges are scored."""
    return together(
        click.option(
            "--metric", default="accuracy", show_default=True, help="What chooses, and is shown."
        ),
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help=seed),
        output(
            f"Folder for results; a killed {kind} goes on there.",
            "out",
            to=NEW_FOLDER,
            required=True,
        ),
        click.option(
            "--model_args",
            "--model-args",
            default="",
            help="As lm_eval's for --model reward, without pretrained: dtype=bfloat16,device=cuda.",
        ),
        click.option(
            "--batch_size", "--batch-size", default="8", show_default=True, help="As lm_eval's."
        ),
        click.option(
            "--include-path",
            "--include_path",
            type=FOLDER,
            multiple=True,
            help="A folder with tasks of your own.",
        ),
        click.option(
            "--metadata",
            default="{}",
            help='As lm_eval\'s: \'{"data_dir": "my_data"}\' for local data files.',
        ),
        click.option("--cuda", is_flag=True, help="Merge on the GPU (mergekit's option)."),
        click.option(
            "--trust-remote-code",
            is_flag=True,
            help="Run code that comes with a model (mergekit's option).",
        ),
        click.option(
            "--lora-merge-cache",
            type=click.Path(file_okay=False),
            help="Where mergekit writes a model with its adapter merged (mergekit's option).",
        ),
    )


def asked(given: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The tasks that choose and those that prove.

    Raises:
        HarnessError: there are none.
    """
    chosen_on, proven_on = names(given["select"]), names(given["report"])
    if not chosen_on:
        raise HarnessError("--select names no task")
    if not proven_on and given["split"] is None:
        raise HarnessError(
            "nothing to prove the choice on: name other tasks with --report, or divide those of "
            "--select with --split-select 0.2"
        )
    return chosen_on, proven_on


def names(texts: Sequence[str]) -> tuple[str, ...]:
    """The parts of comma-separated lists."""
    return tuple(part.strip() for part in ",".join(texts).split(",") if part.strip())


def specified(recipe: StudyRecipe, given: Mapping[str, Any]) -> Spec:
    """What to measure with, as the options that sweep and search share say.

    Raises:
        HarnessError: an option that makes no sense.
    """
    from harness.study.spec import Spec

    select, report = asked(given)
    return Spec(
        recipe=recipe,
        settings=settings(given),
        select=select,
        report=report,
        split=given["split"],
        metadata=read_metadata(given["metadata"]),
        include_path=given["include_path"],
        metric=given["metric"],
    )


def settings(given: Mapping[str, Any]) -> Settings:
    """How merges are loaded and scored."""
    from harness.study.spec import Settings

    size = batch_size(given["batch_size"])
    arguments = model_arguments(given["model_args"])
    if "revision" in arguments:
        raise HarnessError("--model_args revision=: write it in the recipe, as MODEL@REVISION")
    merge = {name: given[name] for name in ("cuda", "trust_remote_code", "lora_merge_cache")}
    return Settings(
        model_args=arguments,
        batch_size=size,
        merge_options={name: value for name, value in merge.items() if value},
    )


def batch_size(size: str) -> str:
    """The value of --batch_size.

    Raises:
        HarnessError: it is none.
    """
    if size != "auto" and not (size.isdecimal() and int(size)):
        raise HarnessError(f"--batch_size {size}: expected auto or a number of rows")
    return size


def model_arguments(text: str) -> dict[str, Any]:
    """The arguments of --model_args by name.

    Raises:
        HarnessError: one has no value.
    """
    from lm_eval.utils import simple_parse_args_string

    arguments: dict[str, Any] = simple_parse_args_string(text)
    for name, value in arguments.items():
        if value == "":
            raise HarnessError(f"--model_args {name}: expected NAME=VALUE, as in dtype=bfloat16")
    return arguments


def read_metadata(text: str) -> dict[str, Any]:
    """The JSON object of --metadata.

    Raises:
        HarnessError: it is none.
    """
    try:
        metadata = json.loads(text)
    except ValueError as error:
        raise HarnessError(f"--metadata {text}: not JSON ({error})") from error
    if not isinstance(metadata, dict):
        raise HarnessError(
            f'--metadata {text}: expected an object, as in {{"data_dir": "my_data"}}'
        )
    return metadata


_typed: ContextVar[Sequence[str] | None] = ContextVar("a command inside another", default=None)


def typed() -> str:
    """The command as it was typed, or as another command says that it could have been."""
    return shlex.join(["dogerm", *(_typed.get() or sys.argv[1:])])


@contextmanager
def as_typed(words: Sequence[str]) -> Iterator[None]:
    """A command that is run within was typed with these words."""
    before = _typed.set(words)
    try:
        yield
    finally:
        _typed.reset(before)


def say(text: str) -> None:
    """Progress, apart from the results."""
    click.echo(text, err=True)
