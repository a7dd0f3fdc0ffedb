# SPDX-License-Identifier: Apache-2.0
"""The source files that a measured value depends on: what its modules import, and so on.

Read from the import statements, those inside functions too, so that no list of files is kept by
hand. What is imported for type checkers alone does not count.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

PACKAGES = ("dogerm_plugin", "harness")
ROOT = Path(__file__).parents[2]

# They change mergekit and lm-eval; nothing imports them but the hook, by name.
HOOKS = ("dogerm_plugin.patches", "harness.patches")


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
    """None for what is no module: a function that is imported from one."""
    stem = root.joinpath(*name.split("."))
    return next((f for f in (stem / "__init__.py", stem.with_suffix(".py")) if f.is_file()), None)


@cache
def _imports(content: bytes) -> frozenset[str]:
    """The names that a file imports: modules, and what comes from them, which may be modules too.

    Those of relative imports begin with their dots.
    """
    return frozenset(_imported(ast.parse(content)))


def _imported(tree: ast.Module) -> Iterator[str]:
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            yield origin
            joint = "" if origin.endswith(".") else "."
            yield from (f"{origin}{joint}{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and _is_for_type_checkers(node.test):
            waiting += node.orelse
        else:  # imports are statements, so expressions need no look
            for block in ("body", "orelse", "handlers", "finalbody", "cases"):
                inner = getattr(node, block, None)
                waiting += inner if isinstance(inner, list) else []


def _is_for_type_checkers(test: ast.expr) -> bool:
    return getattr(test, "id", getattr(test, "attr", None)) == "TYPE_CHECKING"
