# SPDX-License-Identifier: Apache-2.0
"""What a task's scores depend on beside the model, as one short text."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.tasks.base.candidates import CandidateTask

# Where the documents come from; they themselves are in the fingerprint.
_PLACES = ("dataset_path", "dataset_name", "dataset_kwargs")
_PLACES_IN_METADATA = ("data_source", "data_dir", "config_source")
# What the first evaluation changes, and no score depends on.
_NAMES = ("task_alias", "tag")
_HOSTS = ("harness", "lm_eval", "builtins", "abc")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def fingerprint(loaded: Mapping[str, Any]) -> str:
    """Changes with any document, with the tasks' settings and code, and with the groups' rules.

    Not with the place where the data lies.

    Args:
        loaded: lm-eval's ``TaskDict``.
    """
    digest = hashlib.sha256()
    for name, task in sorted(loaded["tasks"].items()):
        for part in (name, _settings(task), [*_code(task)], list(task.eval_docs)):
            digest.update(_text(part).encode("utf-8", "surrogatepass") + b"\n")
    for name, group in sorted(loaded["groups"].items()):
        rules = [vars(rule) for rule in group.aggregate_metric_list or ()]
        metadata = _without(group.metadata or {}, _PLACES_IN_METADATA)
        digest.update(_text([name, group.child_names, rules, metadata]).encode() + b"\n")
    return digest.hexdigest()[:16]


def _settings(task: CandidateTask) -> dict[str, Any]:
    settings = _without(task.config.to_dict(), (*_PLACES, *_NAMES))
    settings["metadata"] = _without(settings["metadata"], _PLACES_IN_METADATA)
    return settings


def _without(settings: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in keys}


def _code(task: CandidateTask) -> Iterator[str]:
    """The class, and the digests of a user's own files that it is defined in.

    This project's and lm-eval's own are known by their versions.
    """
    yield f"{type(task).__module__}.{type(task).__qualname__}"
    files = {
        member.__code__.co_filename
        for one in type(task).__mro__
        if one.__module__.partition(".")[0] not in _HOSTS
        for member in (getattr(value, "__func__", value) for value in vars(one).values())
        if hasattr(member, "__code__")
    }
    for file in sorted(files):
        if Path(file).is_file():
            yield hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=_plain)


def _plain(value: Any) -> Any:
    """What JSON lacks: the same text for the same value in every process."""
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if callable(value):
        return f"{value.__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    return _ADDRESS.sub("", str(value))
