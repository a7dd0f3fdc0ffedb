# SPDX-License-Identifier: Apache-2.0
"""Code pairs: the same short Python function twice, once passing its tests and once with a bug.

A `Task` is a table entry: the request in words, a correct function, bugs as (flaw, text, text put
in its place), and asserts. `$name` stands for a variant's parameter everywhere. The asserts decide
what is right: `run` executes every program, and `candidates` is only as good as that check.
The tests never reach data.jsonl.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from string import Template
from textwrap import dedent

from harness.tasks.minipref.arithmetic import Pair

LEADS = ("", "Here is the function:\n\n", "You can write it like this:\n\n")
FENCE = "```python\n{}\n```"
TIME_LIMIT = 60

# Our own programs, all of which end; one child runs them so that a mistake cannot hang the caller.
CHILD = """
import json, sys
def passes(program, tests):
    names = {}
    try:
        exec(program, names)
        exec(tests, names)
    except Exception:
        return False
    return True
print(json.dumps([passes(*job) for job in json.load(sys.stdin)]))
"""


@dataclass(frozen=True)
class Task:
    """One function to write, in one or more variants, with its bugs and its tests."""

    name: str
    prompt: str
    source: str
    bugs: tuple[tuple[str, str, str], ...]
    tests: str
    variants: tuple[Mapping[str, str], ...] = ({},)


@dataclass(frozen=True)
class Candidate:
    """A pair and the programs and tests behind it."""

    pair: Pair
    right: str
    wrong: str
    tests: str


def run(jobs: Sequence[tuple[str, str]]) -> list[bool]:
    """Whether each (program, tests) runs without an exception, in one separate interpreter."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", CHILD],
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=True,
    )
    return list(map(bool, json.loads(done.stdout)))


def program_in(response: str) -> str:
    """The code between the fences of a response."""
    return response.split("```python\n", 1)[1].rsplit("\n```", 1)[0]


def candidates(task: Task, variant: Mapping[str, str], rng: Random) -> list[Candidate]:
    """One candidate per bug of the task, all in the same style; none has been executed yet."""

    def fill(text: str) -> str:
        return Template(dedent(text).strip("\n")).substitute(variant)

    lead = rng.choice(LEADS)
    right, made = fill(task.source), []
    for flaw, old, new in task.bugs:
        old, new = Template(old).substitute(variant), Template(new).substitute(variant)
        if right.count(old) != 1:
            raise ValueError(f"{task.name}: {old!r} is in the source {right.count(old)} times")
        wrong = right.replace(old, new)
        pair = Pair(
            fill(task.prompt),
            lead + FENCE.format(right),
            lead + FENCE.format(wrong),
            f"{task.name}:{flaw}",
        )
        made.append(Candidate(pair, right, wrong, fill(task.tests)))
    return made
