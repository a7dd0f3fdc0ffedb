"""Where a checkpoint keeps its trunk: under the names of its class, or inside another module.

Names on disk are read the way `from_pretrained` reads them: the class's own renamings (a
vision-language model's older layout, ...), a missing or an extra prefix. Reward models are often
saved by a wrapper besides (TRL's `pretrained_model.`, a `transformer.` around a Llama). Nothing
here lists such wrappers: what all names begin with is left out until the class knows the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any


class TensorNames:
    """A class's names for the tensors of a checkpoint.

    Args:
        network: the class, on the meta device.
        stored: the checkpoint's tensor names.

    Attributes:
        wrapper: what stands before the names that the class can read (`pretrained_model.`).
        has_trunk: whether any tensor of the class's trunk is stored at all.
        converters: the class's conversions of several stored tensors into others.
    """

    def __init__(self, network: Any, stored: Iterable[str]) -> None:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter, WeightRenaming

        self._prefix = network.base_model_prefix or None
        self._state = network.state_dict()
        transforms = get_model_conversion_mapping(network)
        self._renamings = [t for t in transforms if isinstance(t, WeightRenaming)]
        self.converters = [t for t in transforms if isinstance(t, WeightConverter)]
        # in their order: some renamings wait for the tensor that tells an older layout
        self._stored = sorted(stored)
        trunk = f"{self._prefix}." if self._prefix and hasattr(network, self._prefix) else ""
        self._trunk = {name for name in self._state if name.startswith(trunk)}
        self._known: dict[str, tuple[str, str | None, str]] = {}
        self.wrapper = ""
        counts = {"": self._count("")}
        if 2 * counts[""] < len(self._stored):
            counts |= {prefix: self._count(prefix) for prefix in wrappers(self._stored)}
        # the shortest of several that are as good
        self.wrapper = max(counts, key=lambda prefix: (counts[prefix], -len(prefix)))
        self.has_trunk = counts[self.wrapper] > 0

    def of(self, name: str) -> tuple[str, str | None, str]:
        """A stored tensor's name in the class, as `from_pretrained` finds it.

        Returns:
            The name; the pattern of the conversion that it goes through, or None; the name that it
            has before that conversion.
        """
        plain = name.removeprefix(self.wrapper)
        if plain not in self._known:
            self._known[plain] = self._read(plain)
        return self._known[plain]

    def _read(self, plain: str) -> tuple[str, str | None, str]:
        from transformers.core_model_loading import apply_renamings, rename_source_key

        final, converter = rename_source_key(
            plain, self._renamings, self.converters, self._prefix, self._state
        )
        if final not in self._state and plain in self._state:
            return plain, None, plain  # stored under the class's own name already
        return final, converter, apply_renamings(plain, self._renamings)

    def _count(self, wrapper: str) -> int:
        """How many tensors have a place in the class's trunk, once `wrapper` is left out."""
        inside = (name.removeprefix(wrapper) for name in self._stored if name.startswith(wrapper))
        return sum(self._known.setdefault(n, self._read(n))[0] in self._trunk for n in inside)


def wrappers(stored: Collection[str]) -> list[str]:
    """What at least a third of the names begin with, up to a dot: `model.`, `model.layers.`, ...

    A wrapper holds the whole trunk, and a trunk is most of a checkpoint.
    """
    counts: Counter[str] = Counter()
    for name in stored:
        parts = name.split(".")
        counts.update("".join(f"{part}." for part in parts[:cut]) for cut in range(1, len(parts)))
    return sorted(prefix for prefix, count in counts.items() if 3 * count >= len(stored))
