# SPDX-License-Identifier: Apache-2.0
"""What the table of a routed model has beside its score: who was asked, and what others had said.

| metric | |
|---|---|
| ``share_NAME`` | share of the rows that the expert scored |
| ``router_accuracy`` | share of the rows that the router gave to the expert of their domain |
| ``accuracy_NAME`` | with ``all_experts``: that expert alone, for every row |
| ``accuracy_oracle`` | with ``all_experts``, where domains are known: each row by its own |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lm_eval.api.registry import get_aggregation

from harness.rows.answer import Answer
from harness.rows.documents import Document

if TYPE_CHECKING:
    from harness.tasks.base.candidates import CandidateTask

SHARE, ROUTER, ORACLE = "share", "router_accuracy", "oracle"


def metrics(task: CandidateTask, doc: Document, answers: Sequence[Answer]) -> dict[str, Any]:
    """A document's metrics of its routing; none where its model does not route.

    The task learns to aggregate them: an expert's accuracy as the task's own first metric.

    Args:
        task: of the document.
        doc: what was scored.
        answers: to the document's candidates; all of them have one expert.
    """
    details = answers[0].details if answers else {}
    if "expert" not in details:
        return {}
    first = next(iter(task.METRICS))
    made = _values(task, doc, answers, first)
    for name in made:
        rule = task._aggregation_list[first] if name.startswith(f"{first}_") else None
        task._aggregation_list.setdefault(name, rule or get_aggregation("mean"))
        task._higher_is_better.setdefault(name, True)
    task.routed |= made.keys()
    return made


def _values(
    task: CandidateTask, doc: Document, answers: Sequence[Answer], first: str
) -> dict[str, Any]:
    details = answers[0].details
    expert, domain = details["expert"], details.get("domain")
    made: dict[str, Any] = {f"{SHARE}_{n}": float(n == expert) for n in details["probabilities"]}
    if domain is not None:
        made[ROUTER] = float(expert == domain)
    if "experts" not in details:
        return made
    for name in details["experts"]:
        rewards = [answer.details["experts"][name] for answer in answers]
        made[f"{first}_{name}"] = task.score(doc, rewards)[first]
    if domain is not None:
        made[f"{first}_{ORACLE}"] = made[f"{first}_{domain}"]
    return made
