"""`dogerm doctor`: what is installed, what is registered, what this machine can do."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import click

from harness.commands.options import FOLDER
from harness.errors import told_in_one_line

BENCHMARKS = (
    "rewardbench",
    "preference_test_sets",
    "rewardbench2",
    "rmbench",
    "judgebench",
    "ppe_preference",
    "ppe_correctness",
    "rmb",
    "panel",
    "mrewardbench",
    "helpsteer3",
    "rewardmath",
    "hh",
    "autoj",
    "dsp",
    "bon",
    "minipref",
)
REQUIRED = ("mergekit", "lm_eval", "transformers", "torch", "safetensors")
OPTIONAL = {
    "gguf": "pip install 'dogerm[demo]' (dogerm demo)",
    "matplotlib": "pip install 'dogerm[sweep]' (dogerm sweep, plots)",
    "optuna": "pip install 'dogerm[search]' (dogerm search)",
    "peft": "pip install 'dogerm[demo]' (adapters)",
    "ray": "pip install 'dogerm[ray]' (dogerm search --ray)",
    "trl": "pip install 'dogerm[train]' (dogerm train)",
}
HOOK_HELP = (
    "install this project again (pip install --force-reinstall --no-deps, with the same name or "
    "folder), or run `python -m dogerm_plugin` and `python -m harness` in place of the commands"
)
OFF_HELP = "unset DOGERM_AUTOLOAD, or use `python -m dogerm_plugin` and `python -m harness`"


@dataclass(frozen=True)
class Finding:
    """One line of the report: `ok`, `missing` (optional) or `broken`, and what to do about it."""

    state: str
    what: str
    advice: str = ""


def _switched_off() -> bool:
    return os.environ.get("DOGERM_AUTOLOAD") == "0"


def _not_registered(what: str) -> Finding:
    """Broken, unless the user has switched the hook off."""
    if _switched_off():
        return Finding("missing", what, OFF_HELP)
    return Finding("broken", what, HOOK_HELP)


def _packages() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    yield Finding("ok", f"Python {sys.version.split()[0]}")
    wanted = [Requirement(text) for text in requires("dogerm") or ()]
    ranges = {r.name.replace("-", "_"): r.specifier for r in wanted if r.marker is None}
    for name in REQUIRED:
        try:
            installed = version(name)
        except PackageNotFoundError:
            yield Finding("broken", f"{name} is not installed", f"pip install {name}")
            continue
        allowed = ranges.get(name)
        if allowed is None or allowed.contains(installed.partition("+")[0], prereleases=True):
            yield Finding("ok", f"{name} {installed}")
        else:
            what = f"{name} {installed} is outside the tested range {allowed}"
            yield Finding("broken", what, f"pip install '{name}{allowed}'")
    for name, advice in OPTIONAL.items():
        try:
            yield Finding("ok", f"{name} {version(name)}")
        except PackageNotFoundError:
            yield Finding("missing", f"{name} is not installed", advice)


def _hook() -> Iterator[Finding]:
    from dogerm_plugin import _autoload

    if _switched_off():
        yield Finding("missing", "the hook is switched off by DOGERM_AUTOLOAD=0", OFF_HELP)
    elif _autoload.is_active():
        yield Finding("ok", "the hook is active: mergekit-yaml and lm_eval know this project")
    else:
        yield Finding("broken", "the hook is not active in this interpreter", HOOK_HELP)


def _merging() -> Iterator[Finding]:
    from mergekit import merge_methods

    names = {method.spec.name for method in merge_methods.registered_methods()}
    if "reward_preserving_linear" not in names:
        yield _not_registered("mergekit does not know reward_preserving_linear")
        return
    from dogerm_plugin.methods import registry
    from dogerm_plugin.methods.declaration import HEADS, PREFIX

    for name in registry.names():
        if name.startswith(f"{HEADS}_"):
            continue
        method = registry.of(name)
        base = f"{method.base or 'any of the models'}{'' if method.base_required else ', or none'}"
        parameters = ", ".join(one.name for one in method.parameters)
        yield Finding("ok", f"merge method: {name} (base_model: {base}; {parameters})")
    rules = f"{HEADS}_<rule>, for the rule of every {PREFIX}<rule>"
    yield Finding("ok", f"merge method: {rules}")
    from mergekit import merge

    if not hasattr(merge.run_merge, "__wrapped__"):
        yield Finding("broken", "mergekit's output is not staged and verified", HOOK_HELP)
    from mergekit.scripts import moe

    if hasattr(moe.build, "__wrapped__"):
        yield Finding("ok", "mergekit-moe keeps the head of a reward model")
    else:
        yield _not_registered("mergekit-moe would drop the head of a reward model")


def _evaluation() -> Iterator[Finding]:
    import_module("lm_eval.models")
    from lm_eval.api.registry import get_model, model_registry
    from lm_eval.tasks import manager

    from harness.models import NAMES
    from harness.patches import adds_tasks
    from harness.rows.local_files import ENVIRONMENT
    from harness.tasks import FOLDER

    for name in NAMES:
        if name in model_registry:
            get_model(name)
            yield Finding("ok", f"lm-eval model: {name}")
        else:
            yield _not_registered(f"lm-eval does not know the model {name}")
    # ours alone: to index lm-eval's own takes ten seconds
    known = set(manager.TaskIndex.build([FOLDER])) if adds_tasks(manager) else set()
    for name in BENCHMARKS:
        if name in known:
            count = sum(task.startswith((f"{name}_", f"{name}-")) for task in known)
            parts = f" and {count} parts of it" if count else ""
            yield Finding("ok", f"lm-eval tasks: {name}{parts}")
        else:
            yield _not_registered(f"lm-eval does not know the tasks of {name}")
    folder = os.environ.get(ENVIRONMENT)
    if folder and not os.path.isdir(os.path.expanduser(folder)):
        what = f"{ENVIRONMENT} names {folder}, and there is no such folder"
        yield Finding("broken", what, f"unset {ENVIRONMENT}, or name a folder that exists")


def _machine() -> Iterator[Finding]:
    import torch

    from harness.models.load.device import fast_dtype

    yield Finding("ok", f"CPU: {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            memory = torch.cuda.get_device_properties(index).total_memory / 2**30
            dtype = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
            yield Finding(
                "ok", f"GPU {index}: {torch.cuda.get_device_name(index)}, {memory:.0f} GiB, {dtype}"
            )
    elif torch.backends.mps.is_available():
        yield Finding("ok", "GPU: Apple MPS")
    else:
        yield Finding("missing", "no GPU: everything runs on the CPU, large models slowly")
    yield Finding("ok", f"fast dtype here: {fast_dtype()}")


CHECKS: dict[str, Callable[[], Iterator[Finding]]] = {
    "Packages": _packages,
    "Hook": _hook,
    "Merging": _merging,
    "Evaluation": _evaluation,
    "Machine": _machine,
}
_MARKS = {"ok": ("ok", "green"), "missing": ("--", "yellow"), "broken": ("!!", "red")}


def findings(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Run one check; a check that fails is itself a finding."""
    report: list[Finding] = []
    try:
        for finding in check():
            report.append(finding)
    except Exception as error:  # whatever a broken installation raises is what we are here to tell
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        report.append(Finding("broken", f"fails with {reason}", "reinstall what it names"))
    return report


@click.command()
@click.option(
    "--model",
    type=FOLDER,
    help="Say instead which trainers and servers take this reward model, from its files alone.",
)
def doctor(model: Path | None) -> None:
    """Say what is installed, what works, and how to mend it.

    Exit status 1 if something is broken. With --model: if the model can't be read.
    """
    if model is not None:
        from harness.check.consumers import page

        with told_in_one_line():
            for line in page.lines(model):
                click.echo(line)
        return
    broken = 0
    for title, check in CHECKS.items():
        click.secho(title, bold=True)
        for finding in findings(check):
            mark, colour = _MARKS[finding.state]
            advice = f"\n       -> {finding.advice}" if finding.advice else ""
            click.echo(f"  {click.style(mark, fg=colour)}  {finding.what}{advice}")
            broken += finding.state == "broken"
    if broken:
        click.secho(f"{broken} broken", fg="red")
        raise SystemExit(1)
    if _switched_off():
        click.secho(
            "nothing broken; mergekit-yaml and lm_eval don't know this project", fg="yellow"
        )
        return
    click.secho("all good", fg="green")
