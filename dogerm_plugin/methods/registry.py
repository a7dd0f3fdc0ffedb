# SPDX-License-Identifier: Apache-2.0
"""This project's methods: those that it declares, and one for each that mergekit has.

registry.register(METHOD)  # a `declaration.Method`: from now on a recipe may name it
registry.of("reward_preserving_linear").parameters
registry.of("reward_preserving_ties")  # mergekit's ties; of whatever it has registered by now
registry.of("reward_heads_ties")  # the same body, with the heads of all reward models
"""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dogerm_plugin.anatomy.heads import Heads
from dogerm_plugin.errors import MergeError, suggest
from dogerm_plugin.methods import reward_average, reward_preserving_linear
from dogerm_plugin.methods.declaration import AVERAGE, HEADS, PREFIX, Method
from dogerm_plugin.methods.hosted import RESULT_DTYPE, REWARD_MODEL, HostedMethod
from dogerm_plugin.methods.parameter import ALLOW_UNRELATED, REWARD, UNMERGED

# Parameters that mean something here: another package's method that has one is not wrapped.
OWN = {one.name for one in (ALLOW_UNRELATED, REWARD, UNMERGED)} | {
    RESULT_DTYPE,
    REWARD_MODEL,
    "kept",
}

# Packages whose versions tell what a method of theirs does.
_KNOWN = ("dogerm_plugin", "mergekit", "builtins", "abc", "typing", "torch", "pydantic")

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mergekit.merge_methods.base import MergeMethod


def register(method: Method) -> None:
    """Let recipes name a method.

    Raises:
        ValueError: another one has its name.
    """
    # Here, not above: when this module is what imports mergekit, that is still half imported.
    from mergekit.merge_methods import registry

    registry.register(HostedMethod(method))


def _hosts() -> dict[str, MergeMethod]:
    """All that mergekit has registered, by name, but those that can't be wrapped."""
    from mergekit.merge_methods import registry

    hosts = {one.spec.name: one for one in registry.registered_methods()}
    return {
        name: one
        for name, one in hosts.items()
        if isinstance(one, HostedMethod) or OWN.isdisjoint(p.name for p in one.spec.parameters)
    }


def names() -> list[str]:
    """The names of all methods of this project, sorted."""
    hosts = _hosts()
    ours = {name for name, one in hosts.items() if isinstance(one, HostedMethod)}
    found = ours | {f"{PREFIX}{name}" for name in hosts.keys() - ours}
    rules = (one.removeprefix(PREFIX) for one in found if one.startswith(PREFIX))
    return sorted(found | {HEADS} | {f"{HEADS}_{rule}" for rule in rules})


def of(name: str) -> Method:
    """What a method declares; one of mergekit's, or with all heads, is registered when asked for.

    Raises:
        MergeError: this project has no such method, and mergekit none to make it of.
    """
    from mergekit.merge_methods import registry

    hosts = _hosts()
    found = hosts.get(name)
    if found is None:
        found = _made(name, hosts)
        if found is not None:
            registry.register(found)
    if not isinstance(found, HostedMethod):
        of_all = name.startswith(HEADS.rstrip("s"))
        near = [one for one in names() if one.startswith(HEADS) is of_all]
        raise MergeError(f"unknown merge_method {name}{suggest(name, near)}")
    return found.method


def files(name: str) -> list[Path]:
    """The files that a method's functions stand in, where it is a user's or another package's.

    Not those of this project and of mergekit, which are known by their versions.

    Raises:
        MergeError: see `of`.
    """
    from mergekit.merge_methods import registry

    from dogerm_plugin.methods.wrapped import WrappedMethod

    method = of(name)
    own = registry.get(name)
    parts: list[Any] = [method.formula, method.constraint]
    if isinstance(own, WrappedMethod):
        parts = [type(own.host), *vars(own.host).values()]
    found = {inspect.getsourcefile(one) for part in parts for one in _defined(part)}
    return sorted(Path(file) for file in found if file)


def _defined(part: Any) -> Iterator[Any]:
    """The function or classes that something callable is made of, without known packages'."""
    while isinstance(part, functools.partial):
        part = part.func
    if not callable(part):
        return
    is_function = inspect.isroutine(part)
    kind = part if isinstance(part, type) else type(part)
    for one in [part] if is_function else kind.__mro__:
        if inspect.isbuiltin(one) or one.__module__.partition(".")[0] in _KNOWN:
            continue
        yield one


def _made(name: str, hosts: Mapping[str, MergeMethod]) -> HostedMethod | None:
    """The method of a name, made of another one; None where there is no such other one."""
    from dogerm_plugin.methods.wrapped import WrappedMethod

    heads = Heads.STACKED if name.startswith(HEADS) else Heads.KEPT
    rule = name.removeprefix(PREFIX).removeprefix(f"{HEADS}_")
    declared = hosts.get(AVERAGE if name == HEADS else f"{PREFIX}{rule}")
    if heads is Heads.STACKED and type(declared) is HostedMethod:
        return HostedMethod(declared.method.with_all_heads())
    host = hosts.get(rule)
    if rule == name or host is None or isinstance(host, HostedMethod):
        return None
    return WrappedMethod(host, heads)


# Here, not in the hook: when this module is what imports mergekit, the hook runs before this line.
register(reward_preserving_linear.METHOD)
register(reward_average.METHOD)
register(reward_average.LINEAR)
