# SPDX-License-Identifier: Apache-2.0
"""The rows of the study in merge_recipes/study.yml: reported, choosing, and to learn from.

    python tests/benchmarks/study_data.py study-data

All are made by this project's generators. Of each invented subject a domain model has read 360
facts: 60 of them choose, the other 300 are reported, one pair each. Labelled pairs to train on are
of two kinds: about the reported facts, with other wrong answers (a label is then knowledge that the
domain model has from its text), and about facts that are reported nowhere.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.training.generated import basics, facts
from harness.training.generated.atlas import ATLAS
from harness.training.generated.invented import Fact, Invented
from harness.training.generated.medicines import MEDICINES

Pair = dict[str, str]
READ, CHOOSING, GENERAL = 360, 60, 300
LEARNED = 1280  # pairs, as in harness/training/configs/knowledge.yml
SEED = 1
TASK = """\
task: {name}
class: !function harness.own_data.OwnPreferences
dataset_path: {rows}
"""

# For lm_eval: a policy gives eight answers to each question, of the reported ones of the atlas, or
# of those that the general reward model has learned from.
ANSWERS = """\
task: {name}_answers
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{chosen}}}}"
repeats: 8
generation_kwargs: {{until: ["\\n"], do_sample: true, temperature: 1.0, max_gen_toks: 24}}
filter_list:
  - name: whole
    filter:
      - {{function: regex, regex_pattern: "(.+)"}}
      - {{function: take_first}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""


def of_subject(subject: Invented) -> Iterator[tuple[str, list[Pair]]]:
    """Files of one subject, by name."""
    known = subject.facts(len(subject.names), SEED)
    chosen, reported, unread = known[:CHOOSING], known[CHOOSING:READ], known[READ:]
    pairs = subject.told_apart(reported, SEED, wrong=1)
    yield f"choosing-{subject.subject}", subject.told_apart(chosen, SEED)
    yield subject.subject, pairs
    yield f"labels-{subject.subject}", labels(reported, pairs)
    yield f"others-{subject.subject}", subject.told_apart(unread, SEED)


def labels(known: Sequence[Fact], reported: Sequence[Pair]) -> list[Pair]:
    """Pairs about the same facts, none of them a reported one, in an order of their own."""
    rng = random.Random("labels")
    made = []
    for (relation, name, value), pair in zip(known, reported, strict=True):
        wrong = [relation.fact(name, other)[1] for other in relation.others(value)]
        rejected = rng.choice([one for one in wrong if one != pair["rejected"]])
        made.append({**pair, "rejected": rejected})
    rng.shuffle(made)
    return made


def write(out: Path) -> None:
    """Write every file, and a task for each that is not trained on."""
    asked = {thing for table in basics.FACTS.values() for thing in table}
    general = facts.unseen_pairs(GENERAL, SEED, without=asked)
    out.mkdir(parents=True, exist_ok=True)
    for name, pairs in (("general", general), *of_subject(ATLAS), *of_subject(MEDICINES)):
        rows = out / f"{name}.jsonl"
        rows.write_text("".join(json.dumps(pair) + "\n" for pair in pairs), "utf-8")
        if not name.startswith(("labels", "others")):
            (out / f"{name}.yaml").write_text(TASK.format(name=name, rows=rows.resolve()), "utf-8")
    learned = {pair["prompt"]: pair for pair in facts.pairs(LEARNED, SEED)}
    rows = out / "learned.jsonl"
    rows.write_text("".join(json.dumps(pair) + "\n" for pair in learned.values()), "utf-8")
    answers = out / "answers"
    answers.mkdir(exist_ok=True)
    for name in ("atlas", "learned"):
        task = ANSWERS.format(name=name, rows=(out / f"{name}.jsonl").resolve())
        (answers / f"{name}_answers.yaml").write_text(task, "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    write(parser.parse_args().out)
