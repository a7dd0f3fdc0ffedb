# SPDX-License-Identifier: Apache-2.0
"""What `dogerm check` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from textwrap import fill

from harness.check.model import SeenByModel
from harness.check.survey import Survey
from harness.rows.columns import Columns
from harness.rows.faults import Fault, Faults
from harness.rows.source import Source

WIDTH = 100
SHOWN_LINES = 30  # of the first row as the model sees it
MOST_SECTIONS = 12  # that are listed
SECTIONS = range(2, 41)  # so many different values may be sections
# What people call the column that a set is divided by.
DIVIDES = ("section", "subset", "category", "topic", "domain", "task", "source", "language", "type")


def lines(
    source: Source, survey: Survey, model: SeenByModel | None, stopped: str | None
) -> Iterator[str]:
    """What `dogerm check` prints of a set, line by line."""
    names = list(survey.filled)
    yield f"{source.path}: {_count(survey.rows, 'row')}, {_count(len(names), 'column')}"
    if survey.rows:
        yield from _part("Rows", _rows(survey))
        yield from _part("Columns", _columns(survey))
    if stopped:
        yield from _part("Reading stopped", [("", stopped)])
    if survey.misfits:
        yield from _part("Rows that do not fit", _faults(survey.misfits))
    if model is not None and model.lengths | model.refused:
        yield from _part("As the model reads it", _seen(model))
        if model.first is not None:
            yield from _shown(*model.first)
    yield ""


def _part(title: str, told: Iterable[tuple[str, str]]) -> Iterator[str]:
    told = list(told)
    width = max(10, *(len(name) for name, _ in told)) + 2
    yield from ("", title)
    for name, text in told:
        head = f"  {name:<{width}}" if name else "  "
        indent = " " * (width + 2) if name else " " * 4
        yield fill(head + text, WIDTH, subsequent_indent=indent, break_long_words=False)


def _rows(survey: Survey) -> Iterator[tuple[str, str]]:
    fitting = survey.rows - survey.misfits.rows
    yield "fit", f"{fitting} of {survey.rows}"
    for name, forms in survey.forms.items():
        if forms:
            yield name, _counted(forms)
    if survey.turns:
        turns = sorted(survey.turns)
        span = f"{turns[0]} to {turns[-1]}" if len(turns) > 1 else str(turns[0])
        yield "turns", f"{span}, the answer counted ({', '.join(survey.roles)})"
    if survey.sections:
        shown = survey.sections.most_common(MOST_SECTIONS)
        more = len(survey.sections) - len(shown)
        listed = ", ".join(f"{name} ({count})" for name, count in shown)
        yield "sections", listed + (f" and {more} more" if more else "")
    if survey.keys:
        yield "keys", f"{', '.join(survey.keys)} beside role and content: the template decides"
    if survey.equal.count:
        yield (
            "equal",
            _told(survey.equal, "the same answer twice, a tie that counts as wrong"),
        )
    if survey.empty.count:
        yield "empty", _told(survey.empty, "an empty answer, which is scored as it is")
    compared = survey.longer[1] + survey.longer[-1]
    if compared:
        share = survey.longer[1] / compared
        hint = "" if 0.4 <= share <= 0.6 else ": length alone tells much here"
        yield "longer", f"the longer answer is chosen in {share:.0%} of {compared} pairs{hint}"


def _columns(survey: Survey) -> Iterator[tuple[str, str]]:
    uses = {name: key for key, name in survey.columns._asdict().items() if isinstance(name, str)}
    if survey.one_answer:
        uses[survey.columns.chosen] = "response"
    for name, filled in survey.filled.items():
        part = "" if filled == survey.rows else f", filled in {filled} of {survey.rows} rows"
        if name in uses:
            yield name, f"used as {uses[name]}{part}"
        elif name in survey.passed.counts:
            yield name, f"NOT USED{part}: {survey.passed.advice(name)}"
        else:
            yield name, f"not used{part}"


def _faults(faults: Faults) -> Iterator[tuple[str, str]]:
    for fault in sorted(faults.values(), key=lambda fault: -fault.count):
        yield _count(fault.count, "row"), f"{fault.said} ({fault.where()})"


def _seen(model: SeenByModel) -> Iterator[tuple[str, str]]:
    yield "template", model.encoder.template.source
    if model.lengths:
        yield (
            "tokens",
            f"{min(model.lengths)} to {max(model.lengths)}, half of the conversations up to "
            f"{model.median()}",
        )
        most = model.max_length
        yield (
            "too long",
            f"{model.cut} of {sum(model.lengths.values())} conversations have more than the "
            f"model's {most} tokens and lose their beginning"
            if model.cut
            else f"none (the model takes {most} tokens)",
        )
    for fault in model.refused.values():
        yield "refused", f"{fault.said} ({fault.where()})"
    for fault in model.marked.values():
        yield (
            "markup",
            (
                f"{fault.said} in {_count(fault.count, 'row')} ({fault.where()}): "
                + (
                    "read as the model's own, as allow_markup says"
                    if model.allow_markup
                    else "it would stand there twice; take it out, or write allow_markup: true"
                )
            ),
        )
    for fault in model.same.values():
        yield (
            "hidden",
            (
                f"{fault.said}, and the template renders both answers to the same text "
                f"({fault.where()})"
            ),
        )
    if model.alike.count:
        yield "alike", _told(model.alike, "answers that differ in blanks alone: they tie")
    for name, count, matters in model.hidden.parts():
        if matters:
            yield "left out", f"{name}, in {count} conversations: the template does not use it"


def _shown(place: str, text: str) -> Iterator[str]:
    yield from ("", f"The first row ({place}, the chosen answer) as the model sees it")
    shown = text.splitlines() or [""]
    left = len(shown) - SHOWN_LINES
    if left > 0:
        half = SHOWN_LINES // 2
        shown = [*shown[:half], f"... {left} more lines ...", *shown[-half:]]
    for line in shown:
        yield f"  | {line if len(line) <= 4 * WIDTH else line[: 4 * WIDTH] + ' ...'}"


def task_yaml(source: Source, columns: Columns, allow_markup: bool) -> Iterator[str]:
    """The YAML of a task for this set."""
    stem = Path(source.path).name.split(".")[0] if source.is_file else source.path.split("/")[-1]
    yield f"  task: {source.task or stem}"
    yield "  class: !function harness.own_data.OwnPreferences"
    yield f"  dataset_path: {source.path}"
    if not source.is_file:
        if source.configuration:
            yield f"  dataset_name: {source.configuration}"
        yield f"  test_split: {source.split}"
    named = columns._asdict()
    unused = named.pop("unused")
    usual = Columns()._asdict()
    said = {key: name for key, name in named.items() if name != usual[key]}
    said.update(dict.fromkeys(unused))
    if said:
        listed = (f"{key}: {'null' if name is None else name}" for key, name in said.items())
        yield f"  columns: {{{', '.join(listed)}}}"
    if allow_markup:
        yield "  allow_markup: true"


def training_entry(source: Source, columns: Columns) -> str:
    """The line for this set in a configuration of `dogerm train sft`."""
    named = {"prompt": columns.prompt, "response": columns.chosen}
    given = ", ".join(f"{key}: {name}" for key, name in named.items() if name not in (None, key))
    known = columns.prompt is None or given == "response: completion"  # found by their names
    place = "file" if source.is_file else "hub"
    rest = f", columns: {{{given}}}" if given and not known else ""
    return f"  - {{{place}: {source.path}{rest}}}"


def section_hint(survey: Survey, values: dict[str, Counter[str]]) -> str | None:
    """A column whose values could be the sections of a task."""
    for name in DIVIDES:
        seen = values.get(name, Counter())
        if len(seen) in SECTIONS and sum(seen.values()) >= 4 * len(seen):
            return f"column {name} has {len(seen)} values: `section: {name}` scores each by itself"
    return None


def _told(fault: Fault, what: str) -> str:
    return f"{_count(fault.count, 'row')} with {what} ({fault.where()})"


def _counted(counts: Counter[str]) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{name} ({count})" for name, count in counts.most_common())


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
