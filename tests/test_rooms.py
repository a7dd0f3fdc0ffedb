"""The structure that the project keeps: a room uses only rooms below it, and there are few."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the bottom to the top. What stands beside the rooms in a package is in here by name, since
# an error is used everywhere and a change to a host uses everything.
LAYERS = (
    "dogerm_plugin.errors",
    "dogerm_plugin.files",
    "dogerm_plugin.anatomy",
    "dogerm_plugin.methods",
    "dogerm_plugin.recipe",
    "dogerm_plugin.host",
    "dogerm_plugin.run",
    "dogerm_plugin.patches",
    "dogerm_plugin._autoload",
    "dogerm_plugin.__main__",
    "harness.errors",
    "harness.runs",
    "harness.rows",
    "harness.models.load",
    "harness.models.score",
    "harness.models",
    "harness.tasks",
    "harness.training",
    "harness.compare",
    "harness.show",
    "harness.bon",
    "harness.check",
    "harness.study",
    "harness.demo",
    "harness.patches",
    "harness.commands",
    "harness.__main__",
)
# What only makes a package, or a name that users have for what lies in a room.
BESIDE = {
    "dogerm_plugin",
    "dogerm_plugin._build",
    "harness",
    "harness.own_data",
    "harness.preference",
    "harness.rewards",
    "harness.sections",
}


def modules() -> dict[str, Path]:
    found = {}
    for package in ("dogerm_plugin", "harness"):
        for file in (ROOT / package).rglob("*.py"):
            parts = file.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


MODULES = modules()


def room(module: str) -> str | None:
    """The deepest room that a module lies in."""
    inside = [one for one in LAYERS if module == one or module.startswith(f"{one}.")]
    return max(inside, key=len, default=None)


def imported(module: str) -> Iterator[str]:
    """Every module of the project that one imports, in functions and for types too."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: imports are by whole names here"
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                yield from (one for one in (whole, node.module) if one in MODULES)


def test_every_module_has_a_room() -> None:
    assert {module for module in MODULES if room(module) is None} == BESIDE


@pytest.mark.parametrize("package", ["dogerm_plugin", "harness"])
def test_a_room_uses_only_rooms_below_it(package: str) -> None:
    floor = {name: number for number, name in enumerate(LAYERS)}
    upwards = [
        f"{module} -> {other}"
        for module in MODULES
        for other in imported(module)
        if module.startswith(package)
        and room(module) is not None
        and room(other) is not None
        and floor[str(room(other))] > floor[str(room(module))]
    ]
    assert upwards == []


def test_there_are_few_rooms() -> None:
    """A room is a folder; those below tasks/ are benchmarks, one like the other."""
    folders = {file.parent.relative_to(ROOT) for file in MODULES.values()}
    rooms = {room(".".join(folder.parts)) for folder in folders} - {None}
    assert len(rooms) <= 20


def test_files_stay_small() -> None:
    """One idea each."""
    long = {
        module: count
        for module, file in MODULES.items()
        if (count := len(file.read_text(encoding="utf-8").splitlines())) > 300
    }
    assert long == {}
