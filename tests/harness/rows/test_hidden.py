"""What a chat template leaves out of rows."""

from __future__ import annotations

from harness.rows.conversation import Turns
from harness.rows.hidden import HiddenParts


def shows_calls(turns: Turns) -> str:
    return " ".join(f"{turn['content']}{turn.get('tool_calls') or ''}" for turn in turns)


def shows_texts(turns: Turns) -> str:
    return " ".join(turn["content"] for turn in turns)


def rows(*calls: list[str]) -> list[Turns]:
    asked = {"role": "user", "content": "2+2?"}
    said = {"role": "assistant", "content": "4"}
    return [Turns([asked, {**said, "tool_calls": one}]) for one in calls]


def test_what_is_empty_is_not_left_out() -> None:
    """Parquet fills up columns: here only the last row has a call, which is shown."""
    hidden = HiddenParts(shows_calls)
    for turns in rows([], [], [], [], ["weather"]):
        hidden.see(turns)
    assert list(hidden.parts()) == []


def test_what_is_left_out_is_counted_where_it_is() -> None:
    hidden = HiddenParts(shows_texts)
    for turns in rows([], ["weather"], [], ["mail"]):
        hidden.see(turns)
    assert list(hidden.parts()) == [("the key tool_calls of assistant messages", 2, True)]
