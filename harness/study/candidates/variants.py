# SPDX-License-Identifier: Apache-2.0
"""What one candidate takes from another (``${name}``), and which of them there are by seeds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import HarnessError
from harness.study.candidates.config import Candidate, Study, near

_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
SEED, ADAPTER = "seed", ".adapter"
# A router is fitted, not trained by steps.
UNSEEDED = ("router",)


@dataclass(frozen=True)
class Variant:
    """A candidate at a seed, or the one that does not depend on any.

    Attributes:
        name: of the candidate.
        seed: None where nothing of it is trained here.
        needs: the variants whose output it takes, by their candidate's name.
    """

    name: str
    seed: int | None
    needs: Mapping[str, Variant]

    @property
    def label(self) -> str:
        """Names its folders."""
        return self.name if self.seed is None else f"{self.name}-seed-{self.seed}"

    @property
    def told(self) -> str:
        """As messages have it."""
        return self.name if self.seed is None else f"{self.name}, seed {self.seed}"


def references(value: Any) -> Iterator[str]:
    """What ``${...}`` names anywhere in texts, lists and mappings."""
    if isinstance(value, str):
        yield from _REFERENCE.findall(value)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from references(key)
            yield from references(one)
    elif isinstance(value, Sequence):
        for one in value:
            yield from references(one)


def replaced(value: Any, by: Callable[[str], Any]) -> Any:
    """The same with ``${...}`` replaced; a text that is nothing else becomes what it names."""
    if isinstance(value, str):
        whole = _REFERENCE.fullmatch(value)
        return by(whole[1]) if whole else _REFERENCE.sub(lambda found: str(by(found[1])), value)
    if isinstance(value, Mapping):
        return {key: replaced(one, by) for key, one in value.items()}
    if isinstance(value, Sequence):
        return [replaced(one, by) for one in value]
    return value


def candidate_of(reference: str, known: Mapping[str, Any]) -> str:
    """The candidate that a reference names, as it is or with ``.adapter`` after it.

    Raises:
        HarnessError: there is none.
    """
    for name in (reference, reference.removesuffix(ADAPTER)):
        if name in known:
            return name
    raise HarnessError(f"${{{reference}}} names no candidate{near(reference, known)}")


def variants(study: Study, text_of: Callable[[Candidate], Any]) -> list[Variant]:
    """All variants, each after those that it needs.

    Args:
        study: what is asked for.
        text_of: all that a candidate says, with the content of its recipe and its config.

    Raises:
        HarnessError: a reference to no candidate, or candidates that need one another.
    """
    needs: dict[str, set[str]] = {}
    seeded: dict[str, bool] = {}
    for name, one in study.candidates.items():
        named = set(references(text_of(one)))
        try:
            needs[name] = {candidate_of(r, study.candidates) for r in named - {SEED}} - {name}
        except HarnessError as error:
            raise HarnessError(f"candidate {name}: {error}") from error
        trained = one.train is not None and one.train.kind not in UNSEEDED
        seeded[name] = trained or SEED in named
    ordered = list(_ordered(needs))
    for name in ordered:
        seeded[name] |= any(seeded[other] for other in needs[name])
    made: dict[tuple[str, int | None], Variant] = {}
    for name in ordered:
        for seed in study.seeds if seeded[name] else [None]:
            taken = {o: made[o, seed if seeded[o] else None] for o in sorted(needs[name])}
            made[name, seed] = Variant(name, seed, taken)
    return list(made.values())


def _ordered(needs: Mapping[str, set[str]]) -> Iterator[str]:
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> Iterator[str]:
        if name in above:
            circle = " -> ".join((*above[above.index(name) :], name))
            raise HarnessError(f"candidates need one another: {circle}")
        if name not in done:
            for other in sorted(needs[name]):
                yield from visit(other, (*above, name))
            done.add(name)
            yield name

    for name in needs:
        yield from visit(name, ())
