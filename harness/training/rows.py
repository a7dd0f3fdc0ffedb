"""Rows to train on: from a file, from the Hub, or made by one of this project's generators."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from harness.errors import HarnessError, at
from harness.rows import local_files, transcripts
from harness.rows.columns import MEANS, ColumnCells
from harness.rows.conversation import Conversation, Origin, as_response, plain_text
from harness.rows.faults import Faults
from harness.rows.pairs import Columns, pair
from harness.training import domain_answers
from harness.training.balance import balance_length
from harness.training.config import DOMAIN, Source
from harness.training.generated import basics, facts, sums
from harness.training.generated.atlas import ATLAS
from harness.training.generated.corruption import corrupted_pairs
from harness.training.generated.functions import FUNCTIONS
from harness.training.generated.medicines import MEDICINES
from harness.training.numbers import ONE_ANSWER, number_in
from harness.training.scored_answers import PLACE, ScoredAnswers, is_list, taken_off
from harness.training.scores import SCORE, normalise, score_of
from harness.training.turns import parse_turns

PAIR = ("prompt", "chosen", "rejected")
ANSWERED = ("prompt", "response")
ASPECTS = "aspects"
# Where TRL's and others' sets have what a language model is to say, taken in this order.
WHOLE = ("messages", "conversations")
_Maker = Callable[[int, int], list[dict[str, str]]]
_INVENTED = (ATLAS, MEDICINES, FUNCTIONS)
_MAKERS: dict[tuple[str, ...], dict[str, _Maker]] = {
    PAIR: {
        "basics": basics.pairs,
        "facts": facts.pairs,
        "sums": sums.pairs,
        **{one.subject: one.pairs for one in _INVENTED},
    },
    ANSWERED: {
        "facts": facts.rows,
        "sums": sums.rows,
        **{one.subject: one.rows for one in _INVENTED},
    },
}

Row = dict[str, Any]


def read_rows(
    source: Source,
    keys: tuple[str, ...],
    folder: Path,
    misfits: Faults | None = None,
    numbers: Sequence[str] = (),
) -> list[Row]:
    """All rows of one source, as dicts with exactly `keys`, balanced and corrupted as it says.

    Rows have any form that `harness.rows.pairs` reads. A row's prompt is a text that knows its
    messages (`harness.rows.conversation.Conversation`), an answer that is more than text a
    `Response`; with a column of margins there is ``margin``, with domains ``domain``, with scores
    ``score`` (see `harness.training.scores`), too.

    Rows without a prompt column whose `chosen` and `rejected` are whole transcripts, as hh-rlhf's
    are, are split where the two part. Those with an empty or the same answer, an empty turn, or a
    difference before the last turn are left out, and their number is told.

    Args:
        source: where the rows come from.
        keys: `PAIR` or `ANSWERED`.
        folder: relative file names start here.
        misfits: take the rows that do not fit, in place of an error for the first one.
        numbers: columns of numbers that each row has, too, as a list under `ASPECTS`.

    Raises:
        HarnessError: no such file, a missing column, an empty answer (with file and row number),
            a prompt whose turns make no sense.
    """
    if source.generator is not None:
        if numbers:
            raise HarnessError(f"generator `{source.generator}` makes no column {numbers[0]}")
        return [_with_domain(row, row, source, "") for row in _generated(source, keys)]
    place, table = _table(source, folder)
    table = domain_answers.as_pairs(table, place)
    scored = ScoredAnswers(source)
    table = scored.pairs_of(table) if keys == PAIR else table
    needed = ("prompt", "chosen") if source.corrupt and keys == PAIR else keys
    means = {**MEANS, "margin": "margin"} if keys == PAIR else MEANS
    passed = ColumnCells(vars(source.columns), means=means)
    rows, left_out = [], 0
    for number, found in enumerate(table, 1):
        where = f"{place}, row {found.get(PLACE, number)}"
        try:
            raw = taken_off(found, where)
            split = _split_transcripts(raw, source)
            if split is None:
                left_out += 1
                continue
            passed.see(raw)
            row = _row(split, needed, source, where, numbers)
            rows.append(_with_domain(row, raw, source, where))
        except HarnessError as error:
            if misfits is None:
                raise
            misfits.add(str(error).removeprefix(f"{where}: "), where.removeprefix(f"{place}, "))
    with at(place):
        passed.refuse_missing()
    for line in (*scored.lines(), *passed.lines(len(rows))):
        click.echo(f"{place}: {line}", err=True)
    if left_out:
        total = len(rows) + left_out
        click.echo(f"{place}: {left_out} of {total} transcripts do not fit, left out", err=True)
    if not rows and not misfits:
        raise HarnessError(f"{place}: no rows")
    with at(place):
        normalise(rows)
    if source.corrupt:
        if keys != PAIR:
            raise HarnessError(f"{place}: `corrupt` makes preference pairs, not answers to learn")
        if source.columns.margin:
            raise HarnessError(
                f"{place}: `margin` is of other rejected answers than `corrupt` makes: leave it out"
            )
        rows = corrupted_pairs(rows, source.seed, swaps=source.corrupt)
    return rows


def has_pairs(source: Source, folder: Path) -> bool:
    """Whether a source has two answers a prompt, by its first row."""
    if source.generator is not None:
        return source.generator in _MAKERS[PAIR]
    _, table = _table(source, folder)
    first = next(iter(table), {})
    made = source.corrupt > 0 or domain_answers.has_them(first)
    return made or is_list(first, source) or source.columns.rejected in first


def choose_rows(source: Source, rows: list[Row]) -> list[Row]:
    """Balance the lengths and keep as many rows as the source asks for.

    This comes after the validation prompts and the too long rows are gone, so that what is trained
    on is balanced, and not what it was chosen from.
    """
    if source.balance_length:
        rows = balance_length(rows, source.seed)
    if source.rows is not None and len(rows) > source.rows:
        rng = random.Random(f"rows {source.seed}")
        kept = sorted(rng.sample(range(len(rows)), source.rows))
        rows = [rows[i] for i in kept]
    return rows


def _generated(source: Source, keys: tuple[str, ...]) -> list[Row]:
    makers = _MAKERS[keys]
    if source.generator not in makers:
        known = ", ".join(sorted(makers))
        raise HarnessError(f"unknown generator `{source.generator}`: known here: {known}")
    assert source.rows is not None  # checked with the configuration
    return makers[source.generator](source.rows, source.seed)


def _table(source: Source, folder: Path) -> tuple[str, Iterable[Row]]:
    if source.file is not None:
        path = folder / source.file
        if not path.exists():
            raise HarnessError(
                f"{path}: no such file (relative names start at the config's folder, or --data)"
            )
        if not local_files.ending(path):
            raise HarnessError(
                f"{path}: expected a {', '.join(local_files.ENDINGS)} file (or .gz, .zst of one)"
            )
        return str(source.file), local_files.read(path)
    import datasets

    try:
        return str(source.hub), datasets.load_dataset(source.hub, split=source.split)
    except Exception as error:  # the Hub's errors share no base class
        reason = " ".join(str(error).split())
        raise HarnessError(f"{source.hub}: cannot be loaded from the Hub: {reason}") from error


def _split_transcripts(raw: Row, source: Source) -> Row | None:
    """The row with a prompt column, if it is a pair of transcripts; None if that does not fit."""
    columns = source.columns
    if columns.prompt in raw:
        return raw
    texts = [raw.get(columns.chosen), raw.get(columns.rejected)]
    if not all(isinstance(text, str) and transcripts.is_transcript(text) for text in texts):
        return raw
    try:
        both = transcripts.pair(*map(str, texts))
        parse_turns(both.prompt)
    except ValueError:
        return None
    if both.continues or not both.chosen or not both.rejected or both.chosen == both.rejected:
        return None
    return {
        **raw,
        columns.prompt or "prompt": both.prompt,
        columns.chosen: both.chosen,
        columns.rejected: both.rejected,
    }


def _row(
    raw: Row, keys: tuple[str, ...], source: Source, where: str, numbers: Sequence[str]
) -> Row:
    """A row of `keys`, each answer a text or a `Response`."""
    columns = _columns(raw, keys, source)
    named = {"prompt": columns.prompt, keys[1]: columns.chosen, keys[-1]: columns.rejected}
    # whole conversations hold the prompt, whatever stands in its own column
    whole = all(isinstance(raw.get(str(named[key])), list | Mapping) for key in keys[1:])
    one = keys != ANSWERED and not {columns.chosen, columns.rejected} & raw.keys()
    hint = ONE_ANSWER if one and raw.keys() & {ANSWERED[1], "completion", *WHOLE} else ""
    for key, column in named.items():
        if not (key == "prompt" and whole and not raw.get(str(column))):
            _refuse_empty(raw, key, column, where, hint)
    with at(where):
        doc = pair(raw, columns)
        margin = source.columns.margin and number_in(raw, source.columns.margin)
        score = score_of(raw, source.columns.score if keys == PAIR else None)
        rated = [number_in(raw, name) for name in numbers]
    row: Row = {"prompt": _prompt(doc, Origin(where, True, source.allow_markup))}
    for key, side in zip(keys[1:], ("chosen", "rejected"), strict=False):
        row[key] = as_response(doc[side])
        if not row[key].strip():
            raise HarnessError(f"{where}: the answer in `{named[key]}` is empty")
    row |= {} if margin is None else {"margin": margin}
    row |= {ASPECTS: rated} if rated else {}
    return row if score is None else {**row, SCORE: score}


def _columns(raw: Row, keys: tuple[str, ...], source: Source) -> Columns:
    """The names for `harness.rows.pairs`; a row with one answer has it on both sides."""
    given = source.columns
    prompt = given.prompt
    if keys == ANSWERED:
        chosen = rejected = given.response
        if given.response not in raw and given.response == "response":
            if "completion" in raw:
                chosen = rejected = "completion"
            elif name := next((name for name in WHOLE if name in raw), None):
                prompt, chosen, rejected = None, name, name
    else:
        chosen, rejected = given.chosen, given.rejected if "rejected" in keys else given.chosen
    if prompt is not None and prompt not in raw and _has_messages(raw, chosen):
        prompt = None
    return Columns(prompt, chosen, rejected, None, given.system, given.tools, given.documents)


def _has_messages(raw: Row, column: str) -> bool:
    value = raw.get(column)
    return isinstance(value, list) or (isinstance(value, str) and value.lstrip().startswith("[{"))


def _refuse_empty(raw: Row, key: str, column: str | None, where: str, hint: str) -> None:
    if column is None:
        return
    if column not in raw:
        raise HarnessError(
            f"{where}: no column `{column}` (found: {', '.join(map(str, raw))}); "
            f"name it with `columns: {{{key}: ...}}`{hint}"
        )
    value = raw[column]
    filled = value.strip() if isinstance(value, str) else value
    if not isinstance(value, str | list | Mapping) or not filled:
        raise HarnessError(f"{where}: `{column}` is empty or not text")


def _prompt(doc: Mapping[str, Any], origin: Origin) -> Conversation:
    """A prompt as text, by which rows are held out, with its messages."""
    prompt = doc["prompt"]
    beside = {key: doc[key] for key in ("tools", "documents") if key in doc}
    if isinstance(prompt, str):
        return Conversation(prompt, [{"role": "user", "content": prompt}], beside, origin)
    # A transcript's too: the same turns as messages are the same prompt.
    return Conversation(plain_text(prompt), prompt, beside, origin)


def _with_domain(row: Row, raw: Row, source: Source, where: str) -> Row:
    """The row with its ``domain``, where the source says one."""
    if source.domain is not None:
        return {**row, "domain": source.domain}
    column = source.columns.domain
    if column == DOMAIN and column not in raw:
        return row
    value = raw.get(column)
    if value is None or not str(value).strip():
        is_there = f"column `{column}` is {value!r}, expected" if column in raw else ""
        raise HarnessError(
            f"{where}: {is_there or f'no column `{column}` for'} a domain's name (found: "
            f"{', '.join(map(str, raw))})"
        )
    return {**row, "domain": str(value).strip()}
