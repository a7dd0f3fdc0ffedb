# SPDX-License-Identifier: Apache-2.0
"""The source files that a measured value depends on: what its modules import, and so on.

Read from the import statements, those inside functions too, so that no list of files is kept by
hand. What is imported for type checkers alone does not count.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

PACKAGES = ("dogerm_plugin", "harness")
ROOT = Path(__file__).parents[2]

# They change mergekit and lm-eval; nothing imports them but the hook, by name.
HOOKS = ("dogerm_plugin.patches", "harness.patches")

# What is no import: docstrings and the like, and blocks for type checkers with all below them.
_TEXT = re.compile(r'("""|\'\'\').*?\1', re.DOTALL)
_FOR_TYPE_CHECKERS = re.compile(
    r"^([ \t]*)if [\w.]*\bTYPE_CHECKING:.*\n(?:(?:\1[ \t]+.*)?\n)*", re.MULTILINE
)
_IMPORT = re.compile(r"^[ \t]*(?:from ([.\w]+) import (\([^)]*\)|.+)|import (.+))", re.MULTILINE)
_COMMENT = re.compile("#.*")


@cache
def digests(*modules: str, root: Path = ROOT) -> dict[str, str]:
    """The digest of each source file that some modules need, as they were when first asked for.

    All of a file counts, its comments too.

    Args:
        modules: dotted names; those of other packages count nothing.
        root: the folder that holds the packages.

    Returns:
        Path below `root`, as ``harness/models/score/scorer.py`` -> digest.

    Raises:
        ModuleNotFoundError: one of the modules is not there.
    """
    missing = [name for name in modules if _is_ours(name) and _file_of(name, root) is None]
    if missing:
        raise ModuleNotFoundError(f"no module {missing[0]} in {root}")
    by_file: dict[str, str] = {}
    seen, waiting = set(), set(modules)
    while waiting:
        name = waiting.pop()
        if name in seen or not _is_ours(name):
            continue
        seen.add(name)
        parent = name.rpartition(".")[0]
        waiting.add(parent)  # a package's `__init__` runs first
        file = _file_of(name, root)
        if file is not None:
            content = file.read_bytes()
            by_file[file.relative_to(root).as_posix()] = hashlib.sha256(content).hexdigest()[:16]
            package = name if file.name == "__init__.py" else parent
            waiting.update(resolve_name(one, package) for one in _imports(content))
    return by_file


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in PACKAGES


def _file_of(name: str, root: Path) -> Path | None:
    """The file of a module; None for what is none, as a function that is imported from one."""
    stem = root.joinpath(*name.split("."))
    return next((f for f in (stem / "__init__.py", stem.with_suffix(".py")) if f.is_file()), None)


@cache
def _imports(content: bytes) -> frozenset[str]:
    """The names that a file imports: modules, and what comes from them, which may be modules too.

    Those of relative imports begin with their dots. They are looked for in the text, in the form
    that this project's code has: to parse all of it takes twenty times as long.
    """
    names: set[str] = set()
    text = _FOR_TYPE_CHECKERS.sub("", _TEXT.sub("", content.decode("utf-8")))
    for origin, from_it, modules in _IMPORT.findall(text):
        listed = _COMMENT.sub("", from_it or modules).strip("() \n").split(",")
        imported = [one.split()[0] for one in listed if one.strip()]
        if origin:
            names.add(origin)
            joint = "" if origin.endswith(".") else "."
            imported = [f"{origin}{joint}{name}" for name in imported]
        names.update(imported)
    return frozenset(names)
