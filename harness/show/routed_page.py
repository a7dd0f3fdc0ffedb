# SPDX-License-Identifier: Apache-2.0
"""The report of a routed run: the router beside each expert alone and the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean
from typing import TYPE_CHECKING, Any

from harness.compare.routed import ROUTED, RoutedRun, RoutedTask
from harness.compare.statistics import CONFIDENCE
from harness.show.blocks import Block, Page, Part, Picture, Table, Text
from harness.show.numbers import ends, p_value
from harness.tasks.base.routed import ORACLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE = "confusion.png"


def page(run: RoutedRun) -> Page:
    """What the router is worth, the verdict first."""
    experts = next(iter(run.tasks.values())).experts
    parts = [
        Part("Worth", list(_worth(run))),
        Part("By task", [_tasks(run, experts)]),
        Part("Whom it asked", list(_asked(run, experts))),
        Part("The experts", [_experts(run)]),
    ]
    title = f"Routed rewards: {', '.join(experts)}"
    return Page(title=title, lead=[Text(_lead(run))], parts=parts)


def _lead(run: RoutedRun) -> str:
    rows = sum(task.items for task in run.tasks.values())
    told = f"{rows:,} rows of {len(run.tasks)} tasks; scores are: {run.kind}."
    if (confusion := run.confusion) is None:
        return f"{told} No row's domain is known (domain= names the column that says it)."
    share, error = confusion.accuracy
    return (
        f"{told} Of {confusion.total:,} rows whose domain is known, {share:.1%} ± {error:.1%} went "
        "to their domain's expert."
    )


def _worth(run: RoutedRun) -> Iterator[Block]:
    rows = []
    for name in run.others():
        if (one := run.against(name)) is not None:
            whose = "each row's own expert (oracle)" if name == ORACLE else f"{name} alone"
            numbers = [f"{one.a:.3f}", f"{one.b:.3f}", f"{one.difference:+.3f}"]
            interval = ends(one.low, one.high)
            rows.append([whose, f"{one.items:,}", *numbers, interval, p_value(one.p)])
    if not rows:
        yield Text(
            "Only the chosen expert scored each row: with all_experts=True every expert does, and "
            "each alone is held against the router here."
        )
        return
    head = ["against", "rows", "its score", "routed", "routed − it"]
    yield Table(
        "The router against each expert for all rows; every row counts once",
        [*head, f"{100 * CONFIDENCE:g}% interval", "p"],
        rows,
    )
    yield Text("Interval: paired bootstrap within each task. p: exact McNemar or a sign-flip test.")


def _tasks(run: RoutedRun, experts: tuple[str, ...]) -> Table:
    others = run.others()
    rows = []
    for name, task in run.tasks.items():
        right = [domain == expert for domain, expert in task.went]
        rows.append(
            [
                name,
                f"{task.items:,}",
                *(_mean(task, one) for one in (ROUTED, *others)),
                f"{fmean(right):.3f}" if right else "",
                *(f"{task.counts[one] / task.items:.0%}" for one in experts),
            ]
        )
    shares = [f"to {one}" for one in experts]
    head = ["task", "rows", "routed", *others, "router's accuracy", *shares]
    return Table("Scores by who scores, and where the rows went", head, rows)


def _mean(task: RoutedTask, name: str) -> str:
    values = task.values.get(name)
    return f"{fmean(values):.3f}" if values else ""


def _asked(run: RoutedRun, experts: tuple[str, ...]) -> Iterator[Block]:
    confusion = run.confusion
    if confusion is None:
        counts = [sum(task.counts[one] for task in run.tasks.values()) for one in experts]
        rows = [[one, f"{count:,}"] for one, count in zip(experts, counts, strict=True)]
        yield Table("Rows by expert", ["expert", "rows"], rows)
        return
    rows = [
        [domain, *(f"{count:,}" for count in row)]
        for domain, row in zip(confusion.domains, confusion.rows(), strict=True)
    ]
    yield Table("Rows of each domain by expert", ["domain", *confusion.experts], rows)
    described = "; ".join(
        f"of {domain}, {', '.join(f'{n} to {e}' for e, n in row.items() if n)}"
        for domain, row in confusion.as_dict().items()
    )
    yield Picture(PICTURE, "Domains and the experts they went to", described, _figure(run))


def _figure(run: RoutedRun) -> Figure:
    assert run.confusion is not None
    return run.confusion.figure()


def _experts(run: RoutedRun) -> Table:
    config: Any = run.config
    rows = []
    for one in config.get("members", ()):
        count = one.get("model_num_parameters")
        rows.append(
            [str(one.get("name")), str(one.get("pretrained")), f"{count:,}" if count else ""]
        )
    total = config.get("model_num_parameters")
    if total:
        rows.append(["together", "", f"{total:,}"])
    return Table("Weights of each", ["expert", "checkpoint", "parameters"], rows, frozenset({0, 1}))
