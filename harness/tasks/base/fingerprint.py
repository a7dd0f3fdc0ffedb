# SPDX-License-Identifier: Apache-2.0
"""What a task's scores depend on beside the model, as one short text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dogerm_plugin.files.digests import of_file
from harness.runs import source
from harness.runs.identity import as_text

if TYPE_CHECKING:
    from harness.tasks.base.candidates import CandidateTask

# Where the documents come from; they themselves are in the fingerprint.
_PLACES = ("dataset_path", "dataset_name", "dataset_kwargs")
_PLACES_IN_METADATA = ("data_source", "data_dir", "missing", "config_source")
# What the first evaluation changes, and no score depends on.
_NAMES = ("task_alias", "tag")
# Known by their versions.
_HOSTS = ("lm_eval", "builtins", "abc")


def fingerprint(loaded: Mapping[str, Any]) -> str:
    """A digest that changes with any document, the tasks' settings and code, the groups' rules.

    Not with the place where the data lies.

    Args:
        loaded: lm-eval's ``TaskDict``.
    """
    digest = hashlib.sha256()
    for name, task in sorted(loaded["tasks"].items()):
        settings = _settings(task)
        code = _code(type(task), *_functions(vars(task.config)))
        for part in (name, settings, code, list(task.eval_docs)):
            digest.update(as_text(part).encode("utf-8", "surrogatepass") + b"\n")
    for name, group in sorted(loaded["groups"].items()):
        rules = [vars(rule) for rule in group.aggregate_metric_list or ()]
        metadata = _without(group.metadata or {}, _PLACES_IN_METADATA)
        part = [name, group.child_names, rules, metadata, _code(*_functions(rules))]
        digest.update(as_text(part).encode() + b"\n")
    return digest.hexdigest()[:16]


def _settings(task: CandidateTask) -> dict[str, Any]:
    settings = _without(task.config.to_dict(), (*_PLACES, *_NAMES))
    settings["metadata"] = _without(settings["metadata"], _PLACES_IN_METADATA)
    return settings


def _without(settings: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in keys}


def _code(*definitions: Any) -> list[Any]:
    """The names of classes and functions, and the source that they need.

    Of this project all that their modules import; of a user's own the files that they stand in,
    wherever these lie.
    """
    modules: set[str] = set()
    files: set[Path] = set()
    for one in definitions:
        for part in getattr(one, "__mro__", (one,)):
            package = part.__module__.partition(".")[0]
            if package in source.PACKAGES:
                modules.add(part.__module__)
            elif package not in _HOSTS:
                files.update(_files(part))
    return [definitions, source.digests(*sorted(modules)), sorted(map(of_file, files))]


def _files(definition: Any) -> Iterator[Path]:
    members = vars(definition).values() if isinstance(definition, type) else (definition,)
    for member in members:
        code = getattr(getattr(member, "__func__", member), "__code__", None)
        if code is not None and Path(code.co_filename).is_file():
            yield Path(code.co_filename)


def _functions(settings: Any) -> Iterator[Any]:
    """The functions that a YAML names, at whatever depth."""
    if isinstance(settings, Mapping):
        settings = settings.values()
    elif callable(settings):
        yield settings
        return
    elif not isinstance(settings, list | tuple):
        return
    for one in settings:
        yield from _functions(one)
