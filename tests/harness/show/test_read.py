"""A file that can't be used is told in one line; nothing of it is used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.show.read import read
from tests.harness.show import example

Write = Callable[[dict[str, Any]], Path]


def test_what_was_written_is_read(write_found: Write) -> None:
    """From the folder and from the file, with keys that this version does not know."""
    for found in (example.sweep(), example.grid(), example.search()):
        found["later"] = 1
        folder = write_found(found)
        by_file = read(folder / f"{found['kind']}.json")
        assert read(folder) == by_file and by_file.as_dict() == found


def test_missing_pieces_are_none(write_found: Write) -> None:
    sweep = example.sweep() | {"proof": None, "margins": None, "split": 0.2}
    sweep["points"][0]["stderr"] = None
    assert read(write_found(sweep)).as_dict() == sweep


def change(found: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    inner: Any = found
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return found


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("form",), 0, r"sweep.json is of form 0, expected 1: .*; run its sweep or search again"),
        (("form",), "2", r"is of form '2', expected 1"),
        (("kind",), "swoop", r"kind: .*'swoop'.*'sweep', 'search'"),
        (("points", 3, "score"), "high", r"points\.3\.score: .*valid number, found 'high'"),
        (("points", 3, "score"), float("nan"), r"points\.3\.score: .*finite number"),
        (("points", 0, "items"), True, r"points\.0\.items: .*valid integer, found 'True'"),
        (("points",), [], r"points: .*at least 1 item"),
        (("rule",), "luck", r"rule: .*'one-standard-error', found 'luck'"),
        (("chosen",), 21, r"chosen: found 21, expected an index of the 21 points"),
        (("best",), -1, r"best: .*greater than or equal to 0, found '-1'"),
        (("domain_models",), ["a", "b"], r"points\.0\.weights: expected one for each of domain_"),
        (("reported", 1, "sections"), [], r"reported\.1\.sections: .*at least 1 item"),
        (("points", 2, "sections", 0, "name"), "x", r"points\.2\.sections: other sections"),
        (("margins", "counts", "0"), [1, 2], r"margins\.counts\.0: does not fit margins\.edges"),
        (("proof", "sections", 0, "verdict"), "great", r"proof\.sections\.0\.verdict: .*'noise'"),
        (("reward_model",), None, r"reward_model: .*valid string"),
    ],
)
def test_what_does_not_fit_is_named(
    write_found: Write, path: tuple[Any, ...], value: Any, message: str
) -> None:
    """File, key, what was found, what was expected, and the way out; one line."""
    folder = write_found(example.sweep())
    text = json.dumps(change(example.sweep(), path, value))
    (folder / "sweep.json").write_text(text, encoding="utf-8")
    with pytest.raises(HarnessError, match=message) as caught:
        read(folder)
    assert str(caught.value).startswith(str(folder / "sweep.json"))
    assert "again" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_key_is_named(write_found: Write) -> None:
    search = example.search()
    del search["top"][2]["select"]
    with pytest.raises(HarnessError, match=r"search\.json: top\.2\.select: Field required; run"):
        read(write_found(search))


def test_what_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text('{"form": 1, "kind": "sw')
    with pytest.raises(HarnessError, match=r"sweep.json is not JSON"):
        read(tmp_path)
    (tmp_path / "sweep.json").write_text("[]")
    with pytest.raises(HarnessError, match="holds a JSON list, expected an object"):
        read(tmp_path)


def test_none_and_both_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"has no sweep\.json or search\.json: give the -o"):
        read(tmp_path)
    for name in ("sweep.json", "search.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(HarnessError, match=r"has both sweep\.json and search\.json: give the file"):
        read(tmp_path)
