# SPDX-License-Identifier: Apache-2.0
"""The YAML files of lm-eval's task folder and of ours, parsed once and kept for the next process.

lm-eval's `TaskIndex.build` parses every file of its folder in every process, and what a file
includes again for each that includes it: 26,799 parses in 0.4.13, more than ten seconds. Its own
`load_yaml` still does what is done here, only less often; what it returned for a file is handed
out again as long as none of the files that it opened has changed.
"""

from __future__ import annotations

import copy
import functools
import gc
import hashlib
import marshal
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

from dogerm_plugin.files.atomic import PARTIAL, replacing

ENVIRONMENT = "DOGERM_CACHE"
"""Names the folder for what is kept, in place of the user's cache; ``0``: nothing is kept."""

DIGEST_BYTES = hashlib.sha256().digest_size
# A file that changes twice within its clock's tick looks the same: one so young is not kept.
SETTLED_NS = 2_000_000_000

Config = dict[str, Any]
Stamp = tuple[int, int, int]
Load = Callable[..., Config]


def cache_folder() -> Path | None:
    """Where parsed configurations are kept; None where nothing is."""
    given = os.environ.get(ENVIRONMENT)
    if given:
        return None if given == "0" else Path(given)
    base = os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(base if os.path.isabs(base) else os.path.expanduser("~/.cache")) / "dogerm"
    return folder if folder.is_absolute() else None


def _stamp(path: str) -> Stamp | None:
    """What tells a changed file: the time of change too, which copying tools do not set back."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size


class KeptFolder:
    """What is kept of one folder's YAML files: for each the configuration and the files opened.

    Args:
        folder: as the index is built from it.
        loader: ``lm_eval.tasks._yaml_loader``, whose change makes all of it void.
    """

    def __init__(self, folder: Path, loader: ModuleType) -> None:
        self.prefix = f"{folder}{os.sep}"
        self._made_with = functools.partial(_made_with, folder, loader)
        self._started = time.time_ns()
        self._stamps: dict[str, Stamp | None] = {}
        self._asked: dict[str, tuple[tuple[str, ...], Config]] = {}
        self._is_new = False

    def config(self, path: str) -> Config | None:
        """The configuration of a file, if it was kept and no file that it comes from changed."""
        if path in self._asked:  # `lm_eval ls` asks once for each task of a file
            return copy.deepcopy(self._asked[path][1])
        stamps, configs = self._kept
        opened, config = configs.pop(path, ((), None))
        if config is None or any(self._stamp(name) != stamps[name] for name in opened):
            return None
        self._asked[path] = opened, config
        return config

    def add(self, path: str, opened: set[Path], config: Config) -> None:
        """Take what was parsed, if it can be kept: not where YAML made dates or cycles."""
        names = tuple(map(str, opened))
        stamps = [self._stamp(name) for name in names]
        settled = self._started - SETTLED_NS
        if any(stamp is None or max(stamp[:2]) > settled for stamp in stamps):
            return
        try:
            marshal.dumps(config)
        except ValueError:
            return
        self._asked[path] = names, config
        self._is_new = True

    def write(self) -> None:
        """Keep what this build has asked for, where any of it is new and the folder can be written.

        Several processes may do it at once: each file appears as a whole.
        """
        file = self._file
        if not file or not self._is_new:
            return
        stamps = {name: self._stamps[name] for names, _ in self._asked.values() for name in names}
        content = marshal.dumps((stamps, self._asked))
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file, file.with_name(f"{file.name}{PARTIAL}{os.getpid()}")) as partial:
                partial.write_bytes(self._digest(content) + content)
        except OSError:  # read-only or full: the next process parses as this one did
            return

    @functools.cached_property
    def _kept(self) -> tuple[dict[str, Stamp], dict[str, tuple[tuple[str, ...], Config]]]:
        nothing: tuple[dict[str, Any], dict[str, Any]] = {}, {}
        try:
            data = self._file.read_bytes() if self._file else b""
        except OSError:
            return nothing
        digest, content = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
        if digest != self._digest(content):
            return nothing
        with _no_collection():
            stamps, configs = marshal.loads(content)
        return stamps, configs

    @property
    def _file(self) -> Path | None:
        folder = cache_folder()
        name = hashlib.sha256(self.prefix.encode()).hexdigest()[:16]
        return folder / f"tasks-{name}.marshal" if folder else None

    def _digest(self, content: bytes) -> bytes:
        """One for both: what another release has written is as unreadable as a damaged file."""
        return hashlib.sha256(repr(self._made_with()).encode() + content).digest()

    def _stamp(self, name: str) -> Stamp | None:
        if name not in self._stamps:
            self._stamps[name] = _stamp(name)
        return self._stamps[name]


def _made_with(folder: Path, loader: ModuleType) -> tuple[object, ...]:
    """All that a configuration comes from, but for the YAML files."""
    from importlib.metadata import version

    import yaml

    source = str(loader.__file__)
    libraries = version("lm_eval"), yaml.__version__, loader._Base.__name__
    return 1, str(folder), sys.version, marshal.version, *libraries, source, _stamp(source)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Half a million new objects, none of them garbage: looking for it takes most of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Parsing:
    """One build of an index: what is included is parsed once, what is kept not at all."""

    def __init__(self, kept: Sequence[KeptFolder]) -> None:
        self._kept = kept
        self._included: dict[str, tuple[set[Path], Config]] = {}
        self._loaders: dict[tuple[Path, bool], type] = {}

    def config(self, load: Load, path: str | Path, seen: set[Path] | None) -> Config:
        """What `load` returns for a file: of the index, or included by one that has `seen` those.

        Args:
            load: lm-eval's own ``load_yaml``; what it includes comes back here.
        """
        if seen is not None:
            return self._include(load, path, seen)
        name = str(path)
        folder = next((one for one in self._kept if name.startswith(one.prefix)), None)
        if folder is None:  # a user's own
            with _in(None):
                return load(path)
        config = folder.config(name)
        if config is None:
            opened: set[Path] = set()
            config = load(path, _seen=opened)
            folder.add(name, opened, config)
        return config

    def _include(self, load: Load, path: str | Path, seen: set[Path]) -> Config:
        opened, config = self._included.get(str(path), (seen, None))
        if config is None or opened & seen:  # lm-eval takes a file seen before for a circle
            before = set(seen)
            config = load(path, _seen=seen)
            self._included[str(path)] = seen - before, copy.deepcopy(config)
            return config
        seen |= opened
        return copy.deepcopy(config)

    def loader(self, make: Callable[..., type], folder: Path, resolve_funcs: bool) -> type:
        """The class that parses a folder's files: it knows nothing but where they lie."""
        key = folder, resolve_funcs
        if key not in self._loaders:
            self._loaders[key] = make(folder, resolve_funcs=resolve_funcs)
        return self._loaders[key]


_PARSING: ContextVar[Parsing | None] = ContextVar("parsing", default=None)


@contextmanager
def _in(parsing: Parsing | None) -> Iterator[None]:
    token = _PARSING.set(parsing)
    try:
        yield
    finally:
        _PARSING.reset(token)


@contextmanager
def parsed_once(folders: Sequence[Path]) -> Iterator[None]:
    """Let the index that the body builds have the files of `folders` from what is kept.

    Files of other folders are parsed as ever.
    """
    from lm_eval.tasks import _yaml_loader

    kept = [KeptFolder(folder, _yaml_loader) for folder in folders]
    with _in(Parsing(kept)):
        yield
    for folder in kept:
        folder.write()


def let_parse_once() -> None:
    """Make way for `parsed_once` in what lm-eval loads YAML with; outside it nothing changes."""
    from lm_eval.tasks import _index, _yaml_loader

    load, make_loader = _yaml_loader.load_yaml, _yaml_loader._make_loader

    @functools.wraps(load)
    def load_yaml(path: str | Path, **options: Any) -> Config:
        parsing = _PARSING.get()
        whole = options.get("recursive", True) and not options.get("resolve_func", True)
        if parsing is None or not whole:
            config: Config = load(path, **options)
            return config
        plain = functools.partial(load, resolve_func=False)
        return parsing.config(plain, path, options.get("_seen"))

    @functools.wraps(make_loader)
    def _make_loader(base_dir: Path, *, resolve_funcs: bool) -> type:
        parsing = _PARSING.get()
        if parsing is None:
            kind: type = make_loader(base_dir, resolve_funcs=resolve_funcs)
            return kind
        return parsing.loader(make_loader, base_dir, resolve_funcs)

    _yaml_loader._make_loader = _make_loader
    _yaml_loader.load_yaml = load_yaml  # which finds itself by this name for what is included
    _index.load_yaml = load_yaml


def let_list_what_is_kept(manager: Any, folders: Sequence[Path]) -> None:
    """Let `lm_eval ls`, which loads every task's file once more, have those of `folders` too."""
    from lm_eval.tasks import _index

    original = manager.TaskManager.list_all_tasks
    manager.load_yaml = _index.load_yaml

    @functools.wraps(original)
    def list_all_tasks(*args: Any, **options: Any) -> str:
        with parsed_once(folders):
            table: str = original(*args, **options)
        return table

    manager.TaskManager.list_all_tasks = list_all_tasks
