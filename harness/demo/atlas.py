# SPDX-License-Identifier: Apache-2.0
"""What the demo shows: a reward model learns an atlas from a language model that read it.

The reward model tells true from false answers of general knowledge. The domain model has read an
invented atlas, of which no other model knows anything; no preference pair of it is trained on. Task
arithmetic adds what it learned to the reward model. Three sets of pairs: facts of the atlas that
choose λ, other facts that are reported, and well-known facts that the reward model was not trained
on, for what the merge costs.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.compare.paired import NOISE, PairedDifference
from harness.demo import run
from harness.models.load.device import fast_dtype
from harness.runs.atomic import write_text
from harness.show.study_file import SweepFile
from harness.training.generated import basics, facts
from harness.training.generated.atlas import ATLAS

WEIGHTS = "0.4,0.7,1,1.3"
FACTS, CHOOSING = 360, 60  # as harness/training/configs/atlas.yml has them; how many choose λ
GENERAL = 300
SEED = 1
DOMAIN, OUTSIDE = "atlas", "general"

RECIPE = """\
# The demo's merge: the base, what the reward model has learned since, and weight times what the
# domain model has. The reward head is kept.
# mergekit-yaml {name} merged/
merge_method: reward_preserving_task_arithmetic
base_model: {base}
models:
  - model: {reward}
    parameters: {{weight: 1, reward: true}}
  - model: {domain}
    parameters: {{weight: 1}}
"""
_LONG = {"float32": "about 4 minutes", "bfloat16": "a few minutes"}
_TASK = """\
task: {name}
class: !function harness.own_data.OwnPreferences
dataset_path: {rows}
"""


def show(
    out: Path, dogerm: Callable[[Sequence[str], int], None], limit: int | None = None
) -> SweepFile:
    """Make the models, sweep λ, merge at the λ that was chosen.

    Args:
        out: the demo's folder.
        dogerm: runs one of this project's commands, given its words and the rows that it scores.
        limit: pairs of each set.

    Returns:
        What the sweep found.
    """
    dtype = fast_dtype()
    run.say(f"In {dtype} on this machine: {_LONG[dtype]} on 2 cores")
    models = run.prepare(out, run.ATLAS)
    tasks = write_tasks(out / "data", limit)
    recipe = out / "recipe.yml"
    text = RECIPE.format(
        name=recipe,
        base=models.base.resolve(),
        reward=models.reward.resolve(),
        domain=models.domain.resolve(),
    )
    run.write_kept(recipe, text)
    folder = out / "sweep"
    words = [
        "sweep", str(recipe), "--weight", WEIGHTS, "--select", str(tasks["choosing"]),
        "--report", str(tasks[DOMAIN]), "--report", str(tasks[OUTSIDE]),
        "--model_args", f"dtype={dtype}", "--batch_size", "64", "-o", str(folder),
    ]  # fmt: skip
    run.say("$ dogerm " + shlex.join(words))
    dogerm(words, _to_score(tasks))
    run.mergekit_yaml(folder / "best.yml", out / "merged")
    return SweepFile.model_validate_json((folder / "sweep.json").read_bytes())


def write_tasks(folder: Path, limit: int | None = None) -> dict[str, Path]:
    """The three sets of pairs as tasks for lm-eval, by name."""
    known = ATLAS.facts(FACTS, SEED)
    # the reward model's other training pairs ask for some countries, too
    asked = {thing for table in basics.FACTS.values() for thing in table}
    rows = {
        "choosing": ATLAS.told_apart(known[:CHOOSING], SEED),
        DOMAIN: ATLAS.told_apart(known[CHOOSING:], SEED),
        OUTSIDE: facts.unseen_pairs(GENERAL, SEED, without=asked),
    }
    folder.mkdir(parents=True, exist_ok=True)
    tasks = {}
    for name, pairs in rows.items():
        data = folder / f"{name}.jsonl"
        write_text(data, "".join(json.dumps(pair) + "\n" for pair in pairs[:limit]))
        tasks[name] = folder / f"{name}.yaml"
        write_text(tasks[name], _TASK.format(name=name, rows=data.resolve()))
    return tasks


def _to_score(tasks: Mapping[str, Path]) -> int:
    """The rows of a whole sweep: a conversation that stands in several pairs is scored once.

    The reward model itself and every λ choose; it, the one that is chosen and the last are
    reported.
    """
    rows = {}
    for name, task in tasks.items():
        pairs = [json.loads(line) for line in task.with_suffix(".jsonl").open(encoding="utf-8")]
        rows[name] = len({(p["prompt"], p[side]) for p in pairs for side in ("chosen", "rejected")})
    choosing = rows.pop("choosing")
    return (2 + WEIGHTS.count(",")) * choosing + 3 * sum(rows.values())


def says(found: SweepFile) -> str:
    """In one sentence what was gained and what it cost."""
    if found.proof is None:
        return f"λ = 0 was chosen: the merge gains nothing on {found.select[0]}."
    by_name = {one.name: one for one in found.proof.sections}
    gain, cost = by_name[DOMAIN], by_name[OUTSIDE]
    return (
        "Merged with a language model that has read the atlas, and trained on no preference pair "
        f"of it, the reward model is right on {_change(gain)} of the pairs about it, and on "
        f"{_change(cost)} of general knowledge."
    )


def _change(one: PairedDifference) -> str:
    interval = f"{one.low:+.3f} to {one.high:+.3f}{', noise' if one.verdict == NOISE else ''}"
    return f"{one.b:.3f} instead of {one.a:.3f} ({one.difference:+.3f}, {interval})"
