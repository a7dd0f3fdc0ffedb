# SPDX-License-Identifier: Apache-2.0
"""What an unfinished run leaves: ``OUT.partial/``, with the rewards of each chunk that is done."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dogerm_plugin.files.atomic import write_text
from dogerm_plugin.files.digests import of_text
from harness.errors import HarnessError
from harness.models.row_files.chunks import Chunk
from harness.models.row_files.rewards import Rewarded
from harness.runs.identity import as_text, differences

SUFFIX = ".partial"
_RUN = "run.json"


class KeptRow(NamedTuple):
    """What is known of a scored row beside the row.

    Attributes:
        form: of the row; empty where it has none.
        prompt: a digest of its prompt.
        rewards: of its answers, or why it has none.
    """

    form: str
    prompt: str
    rewards: list[float] | str


class Kept:
    """The rewards of a run on disk.

    Args:
        output: the file that the run is to write.
        identity: what the rewards depend on beside the rows.

    Raises:
        HarnessError: another run has left its rewards there, or the folder can't be made.
    """

    def __init__(self, output: Path, identity: Mapping[str, str]) -> None:
        self.folder = output.with_name(output.name + SUFFIX)
        run = self.folder / _RUN
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not run.exists():
                if any(self.folder.iterdir()):
                    raise HarnessError(
                        f"{self.folder} is there and was not left by dogerm score; name another "
                        "output"
                    )
                write_text(run, json.dumps(dict(identity), indent=1, sort_keys=True))
            before: dict[str, str] = json.loads(run.read_text("utf-8"))
        except OSError as error:
            raise HarnessError(f"{self.folder} can't be made or read: {error.strerror}") from error
        except ValueError as error:
            raise HarnessError(f"{run} is damaged ({error}); {self._way_out}") from error
        changed = differences(before, identity)
        if changed:
            raise HarnessError(
                f"{self.folder} was left by another run ({'; '.join(changed)}); {self._way_out}"
            )

    @property
    def _way_out(self) -> str:
        return "delete it to begin anew, or name another output"

    def has(self, chunk: Chunk) -> bool:
        """Whether a chunk's rewards are there.

        Raises:
            HarnessError: they are those of other rows.
        """
        if not self._file(chunk.number).exists():
            return False
        self.rows_of(chunk)
        return True

    def rows_of(self, chunk: Chunk) -> list[KeptRow]:
        """What is known of a chunk's rows.

        Raises:
            HarnessError: it is of other rows, or not there.
        """
        kept = self._read(chunk.number)
        if kept["digest"] != chunk.digest:
            raise HarnessError(
                f"{self.folder} has rewards of other rows ({chunk.places[0]} to "
                f"{chunk.places[-1]} have changed); {self._way_out}"
            )
        return [KeptRow(*row) for row in kept["rows"]]

    def write(self, chunk: Chunk, rewarded: Rewarded) -> None:
        """Keep a chunk's rewards."""
        file = self._file(chunk.number)
        rows = [
            ["", "", reason]
            if isinstance(one, str)
            else [one.form, of_text(as_text([one.prompt, one.context.beside])), reason]
            for one, reason in zip(chunk.asked, rewarded.rewards, strict=True)
        ]
        kept = {
            "digest": chunk.digest,
            "truncated": rewarded.truncated,
            "within_row": rewarded.within_row,
            "empty": sum(
                not answer.strip()
                for one in chunk.asked
                if not isinstance(one, str)
                for answer in one.answers
            ),
            "rows": rows,
        }
        try:  # JSON's numbers are read as they were written, to the bit
            write_text(file, json.dumps(kept, allow_nan=False))
        except OSError as error:
            raise HarnessError(f"{file} can't be written: {error.strerror}; make room") from error

    def rows(self, count: int) -> Iterator[KeptRow]:
        """All rows of so many chunks, in order.

        Raises:
            HarnessError: a chunk is not there.
        """
        for number in range(count):
            yield from (KeptRow(*row) for row in self._read(number)["rows"])

    def truncated(self, count: int) -> int:
        """How many conversations of so many chunks lost their beginning."""
        return sum(self._read(number)["truncated"] for number in range(count))

    def empty(self, count: int) -> int:
        """How many answers of so many chunks were empty."""
        return sum(self._read(number)["empty"] for number in range(count))

    def within_row(self, count: int) -> bool:
        """Whether rewards of unlike rows, of so many chunks, do not compare."""
        return any(self._read(number)["within_row"] for number in range(count))

    def remove(self) -> None:
        """Delete what was kept, when the output is there."""
        shutil.rmtree(self.folder)

    def _read(self, number: int) -> dict[str, Any]:
        file = self._file(number)
        try:
            kept: dict[str, Any] = json.loads(file.read_text("utf-8"))
        except FileNotFoundError as error:
            raise HarnessError(
                f"{file} is not there: the processes of a run need one folder for what they write"
            ) from error
        except ValueError as error:
            raise HarnessError(f"{file} is damaged ({error}); delete it") from error
        return kept

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06d}.json"
