# SPDX-License-Identifier: Apache-2.0
"""`mergekit-yaml router.yml out/`: every expert that a router file makes by merging, in one run.

out/NAME/        each such expert, as mergekit-yaml writes its recipe
out/router.yml   the router file with these folders in place of the recipes

All of it appears at once, as a single merge does. What is finished waits beside the target, in
`.NAME.experts/`, so that a run that was stopped goes on with the next expert.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import yaml
from mergekit.options import MergeOptions

from dogerm_plugin.errors import MergeError, from_host
from dogerm_plugin.files import atomic, digests
from dogerm_plugin.files.locks import lock_of
from dogerm_plugin.host import view
from dogerm_plugin.recipe import configuration, paths, router
from dogerm_plugin.recipe.router import ExpertRecipe
from dogerm_plugin.run import manifest, output, prepare

LOG = logging.getLogger("dogerm")
_MARK = ".of-dogerm"  # no expert's name begins with a dot
_MADE = ".made"
_WORDS = ("oracle",)  # what `router:` may say beside a folder and a Hub id


def is_router_file(path: str) -> bool:
    """Whether a file is a router's; what can't be read is none."""
    try:
        return router.is_router(yaml.safe_load(Path(path).read_text("utf-8")))
    except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError):
        return False


def merge(path: str, out_path: str, options: MergeOptions) -> None:
    """Make all experts that are recipes.

    Raises:
        MergeError: no expert is one, or one can't be made; `out_path` is as it was.
    """
    file = Path(path)
    content = yaml.safe_load(file.read_text("utf-8"))
    recipes = router.recipes(content["experts"], path, file.parent)
    if not recipes:
        raise MergeError(
            f"{path}: every expert is a model already, so there is nothing to merge: name a recipe "
            "(math: math-merge.yml) or write it in place"
        )
    router.check_names(content, path)
    final = Path(os.path.realpath(out_path))
    content = _found(content, recipes, path)
    _check_target(out_path, file, content, recipes)
    for recipe in recipes.values():
        _check(recipe, options)
    calibrated = _calibrated(content, recipes)
    with _kept_beside(final) as kept:
        for name, recipe in recipes.items():
            _merge_or_keep(name, recipe, kept, out_path, options)
        with output.staged(out_path) as stage:
            scales = {name: digests.of_model(kept / name) for name in calibrated}
            for name in recipes:
                (kept / name).rename(stage / name)
            text = yaml.safe_dump(_written(content, recipes, final, scales), sort_keys=False)
            atomic.write_text(stage / router.FILE, text)
        shutil.rmtree(kept)
    if not options.quiet:
        click.echo(f"{out_path}: {router.FILE} with {', '.join(recipes)} merged", err=True)


def _found(
    content: Mapping[str, Any], recipes: Mapping[str, ExpertRecipe], path: str
) -> dict[str, Any]:
    """The router file with its folders as they are found: beside it, else in the current one."""

    def find(place: Any, what: str) -> Any:
        if not isinstance(place, str) or place in _WORDS:
            return place
        beside = Path(path).parent / Path(place).expanduser()
        known = next((p for p in (beside, Path(place).expanduser()) if p.is_dir()), None)
        if known is None and (place.startswith((".", "/", "~")) or place.count("/") != 1):
            raise MergeError(f"{path}: {what}: {place}: no such folder, and not a Hub id")
        if known is None and place.endswith("/"):
            raise MergeError(f"{path}: {what}: {place}: no such folder")
        return place if known is None else str(known)

    plain = {n: p for n, p in content["experts"].items() if n not in recipes}
    experts = {name: find(place, f"the expert {name}") for name, place in plain.items()}
    found = {**content, "experts": {n: experts.get(n) for n in content["experts"]}}
    if "router" in content:
        found["router"] = find(content["router"], "router")
    return found


def _check_target(
    out_path: str, file: Path, content: Mapping[str, Any], recipes: Mapping[str, ExpertRecipe]
) -> None:
    """Refuse an output folder that holds what it is made of."""
    places = (*content["experts"].values(), content.get("router"))
    used = [Path(one) for one in places if isinstance(one, str)]
    for recipe in recipes.values():
        models = configuration.prepared(recipe.configuration()).referenced_models()
        parts = [part for model in models for part in (model.model, model.lora) if part]
        used += [recipe.file, *(Path(part.path) for part in parts)]
    output.check_target(out_path, [file, *used])


def _check(recipe: ExpertRecipe, options: MergeOptions) -> None:
    """Find what is wrong with a recipe or its models before the first one is merged."""
    try:
        with view.shown_to_mergekit():
            prepare.prepare(prepare.handed(recipe.configuration(), options), options)
    except MergeError as error:
        raise MergeError(f"{recipe.where}: {error}") from error
    except Exception as error:  # whatever the host libraries meet; -v shows it in full
        LOG.info("the error in full", exc_info=error)
        raise MergeError(f"{recipe.where}: {from_host(error)}") from error


@contextmanager
def _kept_beside(final: Path) -> Iterator[Path]:
    """The folder beside the target where finished experts wait; one process at a time.

    Raises:
        MergeError: another process works there, it is another's folder, or can't be written.
    """
    kept = final.parent / f".{output.short(final.name)}.experts"
    try:
        kept.mkdir(parents=True, exist_ok=True)
        strange = not (kept / _MARK).is_file() and any(kept.iterdir())
        if not strange:
            (kept / _MARK).touch()
        lock = lock_of(kept / _MARK) if not strange else None  # each merge locks the folder
    except OSError as error:
        raise MergeError(
            f"{final.parent}: can't write the output there ({error}); name a folder elsewhere"
        ) from None
    if strange:
        raise MergeError(f"{kept}: finished experts would wait there, and it is not of dogerm's")
    if lock is None and os.name == "posix":
        raise MergeError(f"{kept}: another run makes the experts of {final}; wait until it ends")
    try:
        yield kept
    except BaseException:
        finished = sorted(one.stem[1:] for one in kept.glob(f".*{_MADE}"))
        if finished:
            LOG.warning(
                "%s: what is finished (%s) waits there for the next run, and may be deleted",
                kept,
                ", ".join(finished),
            )
        elif kept.is_dir():
            shutil.rmtree(kept)  # nothing in it to go on with
        raise
    finally:
        if lock is not None:
            os.close(lock)


def _merge_or_keep(
    name: str, recipe: ExpertRecipe, kept: Path, out_path: str, options: MergeOptions
) -> None:
    """Merge an expert, unless a run that was stopped has made the very same."""
    from mergekit import merge as host

    record = kept / f".{name}{_MADE}"
    made = _made_of(recipe, options)
    if _is_finished(kept / name, record, made):
        click.echo(
            f"{os.path.join(out_path, name)}: merged by a run that was stopped, of the same recipe "
            "and model files: taken as it is",
            err=True,
        )
        return
    record.unlink(missing_ok=True)
    try:
        host.run_merge(recipe.configuration(), str(kept / name), options, recipe.text)
    except MergeError as error:
        raise MergeError(f"{recipe.where}: {error}") from error
    atomic.write_text(record, json.dumps(made))


def _is_finished(folder: Path, record: Path, made: Mapping[str, Any]) -> bool:
    try:
        before = json.loads(record.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    written = manifest.read(folder)
    whole = bool(written.files) and all(written.is_ours(folder, one) for one in written.files)
    return bool(before == made and whole)


def _made_of(recipe: ExpertRecipe, options: MergeOptions) -> dict[str, Any]:
    """All that a merge depends on; large files by size and times, as `manifest` knows them."""
    inputs: dict[str, Any] = {}

    def take(path: str, revision: str) -> str:
        folder = Path(path)
        if not revision and folder.is_dir():
            names = [file.relative_to(folder).as_posix() for file in digests.parts(folder)]
            inputs[os.path.realpath(path)] = manifest.taken(folder, names).files
        return path

    paths.with_models(recipe.content, take)
    told = options.model_dump(mode="json", exclude={"quiet", "verbosity"})
    libraries = {name: version(name) for name in ("dogerm", "mergekit", "transformers", "torch")}
    return {"recipe": recipe.text, "inputs": inputs, "options": told, "versions": libraries}


def _calibrated(content: Mapping[str, Any], recipes: Mapping[str, ExpertRecipe]) -> list[str]:
    """The merged experts whose calibration says what it is of: their folders' files from now on.

    Raises:
        MergeError: it is of another recipe or of other model files.
    """
    calibration = content.get("calibration")
    scales = calibration if isinstance(calibration, Mapping) else {}
    told = {n: one.get("files") for n, one in scales.items() if isinstance(one, Mapping)}
    names = [name for name in recipes if told.get(name)]
    for name in names:
        if told[name] != recipes[name].digest:
            raise MergeError(
                f"{recipes[name].where}: its calibration is of another recipe or of other model "
                "files; calibrate again with dogerm train router, or leave the calibration out"
            )
    return names


def _written(
    content: Mapping[str, Any],
    recipes: Mapping[str, ExpertRecipe],
    final: Path,
    scales: Mapping[str, str],
) -> dict[str, Any]:
    """The router file of the output."""
    experts = {
        name: f"{name}/" if name in recipes else paths.from_folder(str(place), final)
        for name, place in content["experts"].items()
    }
    made = {**content, "experts": experts}
    if isinstance(content.get("router"), str):
        made["router"] = paths.from_folder(content["router"], final)
    if scales:
        made["calibration"] = {
            name: {**scale, "files": scales[name]} if name in scales else scale
            for name, scale in content["calibration"].items()
        }
    return made
