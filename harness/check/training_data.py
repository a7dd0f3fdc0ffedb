# SPDX-License-Identifier: Apache-2.0
"""What `dogerm train check` says of the data of a training, read as the training would read it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.rows.conversation import asked
from harness.rows.faults import Faults
from harness.training.balance import longer_is_chosen
from harness.training.config import Config, Source
from harness.training.gather import gather
from harness.training.row_check import RowCheck
from harness.training.rows import ANSWERED, PAIR, has_pairs, read_rows
from harness.training.split import prompt_key
from harness.training.tokens import conversation_ids, require_chat_template
from harness.training.trainer import load_tokenizer
from harness.training.turns import parse_turns

Row = dict[str, Any]
PAIRED = "reward"


@dataclass
class SourceSurvey:
    """One source: its rows that fit, with their tokens, and what is wrong with the others."""

    name: str
    rows: list[Row] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    misfits: Faults = field(default_factory=Faults)


class TrainingData:
    """The rows of a config, each read and rendered; nothing is trained.

    Args:
        config: of the training.
        kind: `reward` or `sft`; None takes what the first source has.
        data_folder: relative file names start here.
        source: the model whose tokenizer renders.

    Attributes:
        sources: each with its rows.
        kept: rows that would be trained on, and for validation.
        stopped: why there are none.
        guessed: whether it was taken for a language model's, as nothing says otherwise.

    Raises:
        HarnessError: no tokenizer, no chat template, or no file.
    """

    def __init__(self, config: Config, kind: str | None, data_folder: Path, source: str) -> None:
        self.config = config
        self._numbers = config.aspects.columns if kind in (None, PAIRED) else []
        paired = has_pairs(config.data[0], data_folder) if kind is None else kind == PAIRED
        self.keys = PAIR if paired and not self._numbers else ANSWERED
        self.guessed = kind is None and not paired and not self._numbers
        paired = paired or bool(self._numbers)  # a reward model's padding
        tokenizer = load_tokenizer(source, may_pad_with_end=not paired)
        require_chat_template(tokenizer, source)
        self._tokenizer = tokenizer
        self._check = RowCheck(tokenizer, self.keys[1:])
        listed = [*config.validation.data, *config.data]
        self.sources = [self._read(one, data_folder) for one in listed]
        by_source = {id(one): survey for one, survey in zip(listed, self.sources, strict=True)}
        lengths = {
            id(row): length
            for survey in self.sources
            for row, length in zip(survey.rows, survey.lengths, strict=True)
        }
        self.stopped = ""
        try:
            self.kept = gather(
                config,
                self.keys,
                data_folder,
                lambda row: {"length": lengths[id(row)]},
                lambda one, _keys, _folder: by_source[id(one)].rows,
            )
        except HarnessError as error:  # nothing is left: why not has been counted
            self.kept = ([], [])
            self.stopped = str(error) if lengths else "no row fits"

    @property
    def fits(self) -> bool:
        """Whether a training would take all rows."""
        return not self.stopped and not any(survey.misfits for survey in self.sources)

    def _read(self, source: Source, folder: Path) -> SourceSurvey:
        made = SourceSurvey(str(source.file or source.hub or f"generator {source.generator}"))
        for row in read_rows(source, self.keys, folder, made.misfits, self._numbers):
            try:
                length = self._check.encode(row, self._length)
            except HarnessError as error:
                where = row["prompt"].origin.where
                place = where.rpartition(", ")[2]
                made.misfits.add(str(error).removeprefix(f"{where}: "), place)
                continue
            made.rows.append(row)
            made.lengths.append(length["length"])
        return made

    def _length(self, row: Row) -> Row:
        turns = parse_turns(row["prompt"])
        answers = [row[name] for name in self.keys[1:]]
        return {"length": max(len(conversation_ids(self._tokenizer, turns, a)) for a in answers)}


def lines(data: TrainingData, evaluated: Mapping[str, set[str]]) -> Iterator[str]:
    """What is printed, line by line.

    Args:
        data: that was read.
        evaluated: prompts (`harness.rows.conversation.asked`) by the name of their task.
    """
    if data.guessed:
        yield (
            "Read as answers for a language model (sft). A reward model is trained on pairs, or, "
            "with `aspects: {columns: [...]}`, on an answer's numbers"
        )
    for survey in data.sources:
        yield from _of_source(survey, data.config.max_length, data.keys)
    if data.stopped:
        yield f"No training: {data.stopped}"
        return
    training, validation = data.kept
    yield "In all"
    for name, parts in (("trained on", training), ("validation", validation)):
        counts = ", ".join(f"{part.name} {len(part.rows):,}" for part in parts)
        yield _told(name, f"{sum(len(part.rows) for part in parts):,} rows ({counts})")
    trained = [row for part in training for row in part.rows]
    if data.keys == PAIR and trained:
        yield _told("longer", _longer(trained))
    sources: dict[str, set[str]] = defaultdict(set)
    for part in training:
        for row in part.rows:
            sources[prompt_key(row["prompt"])].add(part.name)
    several = sum(len(names) > 1 for names in sources.values())
    if several:
        yield _told("shared", f"{several:,} prompts stand in several sources")
    learned = {asked(parse_turns(row["prompt"])).lower() for row in trained} if evaluated else set()
    for task, prompts in evaluated.items():
        found = sorted(prompt for prompt in prompts if prompt.lower() in learned)
        said = f"{len(found):,} of {len(prompts):,} prompts are trained on"
        yield _told(task, f"{said}: {found[0][:60]!r} ..." if found else said)


def _of_source(survey: SourceSurvey, longest: int, keys: Sequence[str]) -> Iterator[str]:
    total = len(survey.rows) + survey.misfits.rows
    yield f"{survey.name}: {total:,} rows, of which {len(survey.rows):,} fit"
    for fault in sorted(survey.misfits.values(), key=lambda one: -one.count):
        yield _told(f"{fault.count:,} not", f"{fault.said} ({fault.where()})")
    if not survey.rows:
        return
    lengths = sorted(survey.lengths)
    over = sum(length > longest for length in lengths)
    yield _told(
        "tokens",
        f"{lengths[0]} to {lengths[-1]:,}, half up to {lengths[len(lengths) // 2]}, nine of ten up "
        f"to {lengths[len(lengths) * 9 // 10]}; {over:,} longer than {longest} (max_length)",
    )
    if keys == PAIR:
        yield _told("longer", _longer(survey.rows))
    seen: Counter[tuple[str, ...]] = Counter(
        tuple(map(str, (prompt_key(row["prompt"]), *(row[key] for key in keys[1:]))))
        for row in survey.rows
    )
    twice = sum(count - 1 for count in seen.values())
    if twice:
        yield _told("twice", f"{twice:,} repeat another row")
    equal = sum(row[keys[1]] == row[keys[-1]] for row in survey.rows)
    if keys == PAIR and equal:
        yield _told("equal", f"{equal:,} have the same answer twice: nothing is learned from them")
    turned = [1 for prompt, *both in seen if both != both[::-1] and (prompt, *both[::-1]) in seen]
    if keys == PAIR and turned:
        yield _told("turned", f"{len(turned) // 2:,} stand there the other way round, too")
    domains = Counter(row["domain"] for row in survey.rows if "domain" in row)
    if domains:
        yield _told("domains", ", ".join(f"{name} {n:,}" for name, n in domains.items()))


def _longer(rows: Sequence[Row]) -> str:
    share = longer_is_chosen(rows)
    hint = "" if 0.4 <= share <= 0.6 else ": length alone tells much here; see balance_length"
    return f"the longer answer is chosen in {share:.0%}{hint}"


def _told(name: str, text: str) -> str:
    return f"  {name:<10}  {text}"
