# SPDX-License-Identifier: Apache-2.0
"""This project's methods: those that it declares, and one for each that mergekit has.

registry.register(METHOD)  # a `declaration.Method`: from now on a recipe may name it
registry.of("reward_preserving_linear").parameters
registry.of("reward_preserving_ties")  # mergekit's ties; of whatever it has registered by now
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dogerm_plugin.errors import MergeError, suggest
from dogerm_plugin.methods import reward_preserving_linear
from dogerm_plugin.methods.declaration import PREFIX, Method
from dogerm_plugin.methods.hosted import HostedMethod

if TYPE_CHECKING:
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
    """All that mergekit has registered, by name."""
    from mergekit.merge_methods import registry

    return {one.spec.name: one for one in registry.registered_methods()}


def names() -> list[str]:
    """The names of all methods of this project, sorted."""
    hosts = _hosts()
    ours = {name for name, one in hosts.items() if isinstance(one, HostedMethod)}
    return sorted(ours | {f"{PREFIX}{name}" for name in hosts.keys() - ours})


def of(name: str) -> Method:
    """What a method declares; one of mergekit's is registered when it is asked for.

    Raises:
        MergeError: this project has no such method, and mergekit none to make it of.
    """
    from mergekit.merge_methods import registry

    hosts = _hosts()
    found = hosts.get(name)
    if found is None and name.startswith(PREFIX) and name.removeprefix(PREFIX) in hosts:
        from dogerm_plugin.methods.wrapped import WrappedMethod

        found = WrappedMethod(hosts[name.removeprefix(PREFIX)])
        registry.register(found)
    if not isinstance(found, HostedMethod):
        raise MergeError(f"unknown merge_method {name}{suggest(name, names())}")
    return found.method


# Here, not in the hook: when this module is what imports mergekit, the hook runs before this line.
register(reward_preserving_linear.METHOD)
