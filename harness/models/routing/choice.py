# SPDX-License-Identifier: Apache-2.0
"""From probabilities of domains to the experts that score a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol

from harness.errors import HarnessError
from harness.models.routing.router_file import TASK, RouterFile
from harness.rows.conversation import Turns


class Router(Protocol):
    """What gives each prompt a probability of each domain.

    Attributes:
        kind: what it is, for the table.
        labels: the domains.
    """

    kind: str
    labels: tuple[str, ...]

    def probabilities(self, prompts: Sequence[Turns]) -> list[list[float]]:
        """[prompts][labels]; each row sums to 1."""

    def identity(self) -> dict[str, str]:
        """What a choice depends on beside the prompt."""


@dataclass(frozen=True)
class Choice:
    """Who scores a document.

    Attributes:
        weights: what each expert's reward counts, summing to 1; the likeliest first.
        probabilities: of every expert that prompts are for, as the router sees them; 1 and 0 where
            nobody was asked.
    """

    weights: Mapping[str, float]
    probabilities: Mapping[str, float]

    @property
    def expert(self) -> str:
        """The one that counts most."""
        return next(iter(self.weights))


def certain(name: str, made: RouterFile) -> Choice:
    """The choice of one expert, whatever the prompt."""
    experts = dict.fromkeys((*made.routed, name))
    return Choice({name: 1.0}, {one: float(one == name) for one in experts})


def check_labels(labels: Sequence[str], router: str, made: RouterFile) -> None:
    """Refuse a router that is for other experts.

    Raises:
        HarnessError: a label without an expert and no fallback, or an expert that is never chosen.
    """
    strange = [label for label in labels if label not in made.routed]
    unused = [one for one in made.routed if one not in labels and one != made.fallback]
    if strange and made.fallback is None:
        told = f"no expert is called {strange[0]!r}"
        way_out = "or give fallback=NAME for what has no expert"
    elif unused:
        told = f"none is for {unused[0]!r}, which no prompt would go to"
        way_out = (
            "leave that expert out, or list it under `beside:` in a router.yml to compare with"
        )
    else:
        return
    raise HarnessError(
        f"router={router} is for other experts: its labels are {', '.join(labels)}, the experts "
        f"{', '.join(made.routed)}, and {told}; name the experts after the labels "
        f"('math=FOLDER;code=FOLDER'), {way_out}"
    )


def choose(probabilities: Mapping[str, float], made: RouterFile, top: int) -> Choice:
    """The experts of a prompt.

    What the router gives to a domain without an expert is the fallback's. Where the likeliest
    expert is below the threshold, the fallback scores alone.

    Args:
        probabilities: of the router's labels.
        made: the experts.
        top: how many of the likeliest score, each counting its probability among them.
    """
    whole = dict.fromkeys(made.routed, 0.0)
    for label, share in probabilities.items():
        name = label if label in whole else made.fallback
        if name is not None:
            whole[name] += share
    ranked = sorted(whole, key=lambda name: -whole[name])[:top]
    if made.fallback is not None and whole[ranked[0]] < made.threshold:
        return Choice({made.fallback: 1.0}, whole)
    if len(ranked) == 1:
        return Choice({ranked[0]: 1.0}, whole)
    total = sum(whole[name] for name in ranked)
    return Choice({name: whole[name] / total for name in ranked if whole[name] > 0}, whole)


def domain_of(doc: Any, task: str, made: RouterFile) -> tuple[str | None, str | None]:
    """The expert that a document is for, by its column; and what stands there.

    A value that `domains` has as it is comes first, then an expert's own name, then the first
    pattern that fits: so ``*`` is for the rest, wherever it stands.

    Returns:
        (None, None) where the document has no such column; (None, value) where no expert is for
        what it says.
    """
    if made.domain is None:
        return None, None
    value = task if made.domain == TASK else _value(doc, made.domain)
    if value is None:
        return None, None
    text = str(value)
    if text in made.domains:
        return made.domains[text], text
    if text in made.routed:
        return text, text
    fitting = (expert for pattern, expert in made.domains.items() if fnmatchcase(text, pattern))
    return next(fitting, None), text


def no_domain(doc: Any, value: str | None, made: RouterFile) -> str:
    """Why a document has no expert by its column, and the way out, for messages.

    Args:
        doc: as its task gives it.
        value: what stands in the column; None where the document has no such column.
        made: the experts.
    """
    if value is not None:
        return (
            f"its {made.domain} is {value!r}, and no expert is for that; the experts are "
            f"{', '.join(made.routed)}: map the value (domains: in a router.yml), or give "
            "fallback=NAME"
        )
    columns = ", ".join(map(str, doc)) if isinstance(doc, Mapping) else "none"
    return (
        f"its task gives it no column {made.domain} (it has: {columns}); name one of these with "
        "domain=, or domain=task for the task's name; the section of a set of your own is subset"
    )


def nothing_told(
    domains: Sequence[str | None], values: Sequence[str | None], made: RouterFile
) -> str:
    """What to warn of where a router is to be held against a column that is not there for all.

    Args:
        domains: of the documents, where known.
        values: what stands in their column, where they have it.
        made: the experts.
    """
    pairs = zip(domains, values, strict=True)
    strange = [value for domain, value in pairs if domain is None]
    found = sorted({"no such column" if one is None else repr(one) for one in strange})
    few = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
    return (
        f"domain={made.domain} names the expert of {len(domains) - len(strange)} of {len(domains)} "
        f"documents (others: {few}); the rest count for no router_accuracy and no oracle: map "
        f"such values to {', '.join(made.routed)} (domains: in a router.yml), or name another "
        "column"
    )


def _value(doc: Any, column: str) -> Any:
    return doc.get(column) if isinstance(doc, Mapping) else None
