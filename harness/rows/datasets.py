# SPDX-License-Identifier: Apache-2.0
"""Where a benchmark's rows come from: a local file, the package, or the Hub.

A local file replaces the Hub's data set when it has the same schema. It lies in the folder that
``--metadata '{"data_dir": ...}'`` or ``DOGERM_DATA_DIR`` names, as ``<benchmark>.jsonl``, ``.json``
or ``.parquet``, or as a folder ``<benchmark>/`` of such files, at any depth. Where a file in it is
named after a split (``gpt.jsonl``, or the Hub's own ``gpt-00000-of-00001.parquet``), that split is
read from such files alone. What the folder lacks is an error, or with ``"missing": "hub"`` the
Hub's.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, at, first_line
from harness.rows.conversation import messages_of
from harness.rows.documents import Docs
from harness.rows.local_files import ENVIRONMENT, Row, local_files, read
from harness.rows.text import refuse_broken, strings

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold


@dataclass(frozen=True)
class Schema:
    """Columns that rows must have.

    Attributes:
        columns: required columns and the Python types that their values may have.
        prompt: the column that holds a text or a list of messages.
        responses: the columns that hold a response or a list of them; empty ones are allowed and
            reported.
        rule: a further check of a row, which raises a `HarnessError` that says what is wrong.
    """

    columns: Mapping[str, tuple[type, ...]]
    prompt: str | None = "prompt"
    responses: tuple[str, ...] = ()
    rule: Callable[[Mapping[str, Any]], None] | None = None

    def check(self, rows: Iterable[Mapping[str, Any]], source: str) -> None:
        """Check every row.

        Raises:
            HarnessError: names the source, the row (from 1), the column, what was found and what
                is expected.
        """
        empty: list[int] = []
        for number, row in enumerate(rows, start=1):
            missing = [name for name in self.columns if name not in row]
            if missing:
                raise HarnessError(
                    f"{source}, row {number}: no column {', '.join(missing)} (found: "
                    f"{', '.join(map(str, row))}; expected: {', '.join(self.columns)}); rename the "
                    "columns or choose the task that fits this file"
                )
            for name, types in self.columns.items():
                if not isinstance(row[name], types):
                    expected = " or ".join(kind.__name__ for kind in types)
                    raise HarnessError(
                        f"{source}, row {number}: column {name} is "
                        f"{type(row[name]).__name__} {str(row[name])[:40]!r}, expected {expected}"
                    )
            if self.prompt is not None:
                with at(f"{source}, row {number}, column {self.prompt}"):
                    messages_of(row[self.prompt])
            with at(f"{source}, row {number}"):
                for name in row:  # all of them: lm-eval writes rows to its samples
                    for text in strings(row[name]):
                        refuse_broken(text, f"column {name}")
                if self.rule is not None:
                    self.rule(row)
            if any(not text.strip() for name in self.responses for text in _texts(row[name])):
                empty.append(number)
        if empty:
            logger.warning(
                "%s: %d rows hold an empty response, the first is row %d; they are scored as they "
                "are (an empty answer)",
                source,
                len(empty),
                empty[0],
            )


def _texts(value: str | list[Any]) -> list[str]:
    # What is no text in a list is for the schema's rule to refuse, and messages hold what they do.
    return [value] if isinstance(value, str) else [t for t in value if isinstance(t, str)]


PREFERENCE = Schema(
    {"prompt": (str, list), "chosen": (str,), "rejected": (str,), "subset": (str,)},
    responses=("chosen", "rejected"),
)

# Answers that are more than a text, such as tool calls, are messages.
OWN_PREFERENCE = Schema(
    {"prompt": (str, list), "chosen": (str, list), "rejected": (str, list), "subset": (str,)},
    responses=("chosen", "rejected"),
)


class MissingDataError(HarnessError):
    """A folder of local files lacks benchmarks.

    Args:
        folder: as it was named.
        lacking: the benchmarks, each with where its data can be downloaded, if that is no Hub.
        on_the_hub: those of them whose rows are there.
    """

    def __init__(
        self, folder: str, lacking: Mapping[str, str | None], on_the_hub: Sequence[str]
    ) -> None:
        self.folder, self.lacking, self.on_the_hub = folder, lacking, on_the_hub
        names = list(lacking)
        if len(names) == 1:
            one = names[0]
            lacks = f"{one}.jsonl, .json or .parquet, and no folder {one}/; put the file there"
        else:
            there = "NAME.jsonl, .json or .parquet, or a folder NAME/, there for each"
            lacks = f"rows of {', '.join(names)}; put {there}"
        if on_the_hub:
            lacks += (
                ", or take the Hub's rows: for all that the folder lacks with --metadata "
                f'\'{{"missing": "hub"}}\', or for everything with {ENVIRONMENT} and data_dir unset'
            )
        elsewhere = [name for name in names if name not in on_the_hub]
        beside = [f"not on the Hub: {', '.join(elsewhere)}"] if on_the_hub and elsewhere else []
        if places := sorted({place for place in lacking.values() if place}):
            beside.append(f"download: {', '.join(places)}")
        said = f" ({'; '.join(beside)})" if beside else ""
        super().__init__(f"{folder} has no {lacks}{said}")


@dataclass(frozen=True)
class Rows:
    """Checked rows, and the file or Hub id that they come from."""

    source: str
    rows: Docs = field(repr=False)


_loaded: dict[tuple[object, ...], Rows] = {}


def load(
    benchmark: str,
    schema: Schema,
    *,
    hub_id: str | None = None,
    hub_name: str | None = None,
    hub_dir: str | None = None,
    split: str = "test",
    packaged: Path | None = None,
    data_dir: str | None = None,
    or_hub: bool = False,
    where: str | None = None,
) -> Rows:
    """The rows of a benchmark, read and checked once per process.

    Args:
        benchmark: the name of the local file or folder, without ending.
        schema: what rows must look like.
        hub_id: data set on the Hub, taken where there is no file.
        hub_name: its configuration, for a data set that has several.
        hub_dir: its folder, for a data set whose parts are folders (``data_dir`` of
            ``datasets.load_dataset``).
        split: its split.
        packaged: a file that this project ships, taken before the Hub.
        data_dir: folder of local files; None takes the environment variable.
        or_hub: take the Hub's rows where that folder lacks the benchmark.
        where: where a data set that is not on the Hub can be downloaded, for the message.

    Raises:
        HarnessError: nothing is there, or what is there does not fit; one line with the way out.
    """
    folder = data_dir or os.environ.get(ENVIRONMENT) or None
    files = local_files(benchmark, Path(folder).expanduser(), split) if folder else []
    download = f" (download: {where})" if where else ""
    from_the_hub = or_hub and hub_id is not None
    if folder and not files and packaged is None and not from_the_hub:
        raise MissingDataError(folder, {benchmark: where}, () if hub_id is None else (benchmark,))
    if folder and not files and packaged is not None:
        there = sorted(path.name for path in Path(folder).expanduser().glob("*"))
        logger.warning(
            "%s has no %s.jsonl, .json or .parquet (it has: %s): taking the rows that ship with "
            "this project",
            folder,
            benchmark,
            ", ".join(there[:5]) or "nothing",
        )
    if not files and packaged is not None:
        if not packaged.is_file():
            raise HarnessError(
                f"{benchmark}: there is no file {packaged.absolute()}; a file beside a YAML is "
                "found where the YAML's folder is named with --include_path and the task by its "
                "name (given a YAML by its path, lm-eval does not say where it is)"
            )
        files = [packaged]
    if files:
        stamps = [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files]
        key: tuple[object, ...] = (benchmark, *stamps)
        source = str(files[0] if len(files) == 1 else Path(os.path.commonpath(files)))
    elif hub_id is not None:
        name = "/".join(part for part in (hub_id, hub_name, hub_dir) if part)
        key, source = (benchmark, name, split), f"{name} ({split}) on the Hub"
    else:
        raise HarnessError(
            f"no data for {benchmark}: put {benchmark}.jsonl, .json or .parquet{download} into a "
            f"folder and name the folder with {ENVIRONMENT}"
        )
    if key not in _loaded:
        if files:
            raw: Iterable[Row] = (row for path in files for row in read(path))
        else:
            advice = (
                f"offline, put a file of the same schema at {benchmark}.jsonl (or {benchmark}/"
                f"{split}.jsonl) in a folder and name the folder with {ENVIRONMENT}"
            )
            raw = from_hub(str(hub_id), split, hub_name, hub_dir, advice=advice)
        rows = Docs(raw)
        if not rows:
            raise HarnessError(f"{source} holds no rows; expected {', '.join(schema.columns)}")
        schema.check(rows, source)
        logger.info("%s: %d rows from %s", benchmark, len(rows), source)
        _loaded[key] = Rows(source, rows)
    return _loaded[key]


def from_hub(
    hub_id: str, split: str, name: str | None = None, folder: str | None = None, *, advice: str
) -> Iterator[Row]:
    """The rows of a split of a data set that `datasets.load_dataset` loads.

    Args:
        hub_id: a Hub id, or a folder laid out as one.
        split: its split.
        name: its configuration, where it has several.
        folder: its ``data_dir``, where its parts are folders.
        advice: the way out, for the message.

    Raises:
        HarnessError: it cannot be loaded; with the first line of the reason.
    """
    import datasets

    options = {"data_dir": folder} if folder else {}
    try:
        rows = datasets.load_dataset(hub_id, name, split=split, **options)
        for column, feature in (getattr(rows, "features", None) or {}).items():
            stored = _as_stored(feature)
            if stored != feature:
                rows = rows.cast_column(column, stored)
        yield from rows
    except Exception as error:  # many kinds: no network, no such id or split, a gated set
        raise HarnessError(
            f"cannot load {hub_id} (split {split}): {first_line(error)}; {advice}"
        ) from error


def _as_stored(feature: Any) -> Any:
    """A column's type without what `datasets` would make of its bytes: an image, a sound."""
    if isinstance(feature, dict):
        return {name: _as_stored(one) for name, one in feature.items()}
    if isinstance(feature, list):
        return [_as_stored(one) for one in feature]
    if hasattr(feature, "decode") and type(feature).__name__ != "Json":
        return dataclasses.replace(feature, decode=False)
    if dataclasses.is_dataclass(feature) and hasattr(feature, "feature"):
        return dataclasses.replace(feature, feature=_as_stored(feature.feature))  # type: ignore[type-var]
    return feature
