# SPDX-License-Identifier: Apache-2.0
"""What rules that understand nothing score on a preference set: they should stay near one half.

Every rule gives a response a number from its surface alone; the larger number wins, a tie is half
a point. A reward model that learned one of them scores as that rule does.
"""

import re
from collections.abc import Callable, Iterable, Mapping

Row = dict[str, object]
Rule = Callable[[str, str], float]

REFUSAL = re.compile(
    r"\b(can't|cannot|won't|unable|not able|sorry|rather not|not going to|decline|not willing"
    r"|not comfortable|i'll pass|don't)\b",
    re.IGNORECASE,
)


def _words(text: str) -> set[str]:
    return set(re.findall(r"[\w']+", text.lower()))


def _last_number(text: str) -> float:
    numbers = re.findall(r"\d+(?:\.\d+)?(?:/\d+)?", text)
    if not numbers:
        return 0.0
    top, _, bottom = numbers[-1].partition("/")
    return float(top) / float(bottom or 1)


RULES: dict[str, Rule] = {
    "longer (characters)": lambda prompt, response: len(response),
    "longer (words)": lambda prompt, response: len(response.split()),
    "more lines": lambda prompt, response: response.count("\n"),
    "has a digit": lambda prompt, response: any(map(str.isdigit, response)),
    "larger last number": lambda prompt, response: _last_number(response),
    "more words of the prompt": lambda prompt, response: len(_words(prompt) & _words(response)),
    "larger share of prompt words": lambda prompt, response: (
        len(_words(prompt) & _words(response)) / len(_words(response))
    ),
    "refusal words": lambda prompt, response: bool(REFUSAL.search(response)),
    "more commas": lambda prompt, response: response.count(","),
}


def score(rows: Iterable[Row], rule: Rule) -> float:
    """The share of pairs in which the rule prefers the chosen response, ties counted half."""
    points = []
    for row in rows:
        chosen, rejected = (rule(str(row["prompt"]), str(row[k])) for k in ("chosen", "rejected"))
        points.append((chosen > rejected) + (chosen == rejected) / 2)
    return sum(points) / len(points)


def table(sections: Mapping[str, list[Row]]) -> str:
    """Every rule on every section, as a Markdown table."""
    lines = [
        "| rule | " + " | ".join(sections) + " |",
        "|---" * (len(sections) + 1) + "|",
        "| pairs | " + " | ".join(str(len(rows)) for rows in sections.values()) + " |",
    ]
    for name, rule in RULES.items():
        cells = (f"{score(rows, rule):.3f}" for rows in sections.values())
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
