"""Every mistake in a configuration is one line that names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.training.read_config import read_config

GOOD: dict[str, Any] = {"model": "some/model", "data": [{"generator": "basics", "rows": 5}]}


def test_defaults_are_filled_in(write_config: Callable[..., Path]) -> None:
    """A short configuration is complete."""
    config = read_config(write_config(**GOOD))
    assert config.lora.rank == 8
    assert config.data[0].columns.chosen == "chosen"
    assert config.as_dict()["training"]["batch_size"] == 16


def test_a_number_in_exponent_form_is_a_number(write_config: Callable[..., Path]) -> None:
    """YAML 1.1 reads 1e-4 as text; people write it all the time."""
    path = write_config(**GOOD)
    path.write_text(path.read_text() + "training: {learning_rate: 1e-4}\n")
    assert read_config(path).training.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modle": "x"}, "unknown key `modle`: did you mean `model`"),
        ({"training": {"learning_rat": 1}}, "did you mean `learning_rate`"),
        ({"training": {"zzz": 1}}, "unknown key `zzz`: known: learning_rate"),
        ({"data": [{"file": "a.jsonl", "balance_lenght": True}]}, "did you mean `balance_length`"),
        ({"training": {"learning_rate": "fast"}}, "`learning_rate`: expected a number"),
        ({"training": {"batch_size": 2.5}}, "`batch_size`: expected a whole number, found 2.5"),
        ({"training": {"batch_size": True}}, "`batch_size`: expected a whole number, found True"),
        ({"model": 7}, "`model`: expected text, found 7"),
        ({"data": "file.jsonl"}, "`data`: expected a list, found str"),
        ({"data": []}, "`data` is empty"),
        ({"data": [{"file": "a", "hub": "b"}]}, "exactly one of `file`, `hub` and `generator`"),
        ({"data": [{"generator": "basics"}]}, "generator `basics` needs `rows`"),
        ({"data": [{"file": "a", "rows": 0}]}, "`rows` must be above 0"),
        ({"lora": [8]}, "`lora`: expected `key: value` lines"),
        ({"lora": {"layers": [9, 3]}}, "`layers` is [first, last]"),
        ({"lora": {"rank": 0}}, "`rank` and `alpha` must be above 0"),
        ({"validation": {"share": 1.0}}, "`share` must be between 0 and 1"),
        ({"training": {"warmup": 1.0}}, "`warmup`"),
    ],
)
def test_a_mistake_is_named(
    write_config: Callable[..., Path], change: dict[str, Any], message: str
) -> None:
    """The message says which key, and what was meant."""
    path = write_config(**{**GOOD, **change})
    with pytest.raises(HarnessError) as caught:
        read_config(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a: [1", "- 1\n", "", "\tx: 1", "\x00"])
def test_what_is_not_a_mapping_is_refused(tmp_path: Path, text: str) -> None:
    """Broken YAML, a list, an empty file: one line each."""
    path = tmp_path / "broken.yml"
    path.write_text(text)
    with pytest.raises(HarnessError) as caught:
        read_config(path)
    assert "\n" not in str(caught.value)


def test_a_missing_key_and_a_missing_file(write_config: Callable[..., Path]) -> None:
    """`model` has no default."""
    with pytest.raises(HarnessError, match="`model` is missing"):
        read_config(write_config(data=GOOD["data"]))
    with pytest.raises(HarnessError, match="No such file"):
        read_config(Path("nowhere.yml"))


def test_shipped_configurations_are_valid() -> None:
    """Those that the demo's adapters were trained with."""
    import harness.training

    found = sorted((Path(harness.training.__file__).parent / "configs").glob("*.yml"))
    assert len(found) >= 2
    for path in found:
        assert read_config(path).model == "HuggingFaceTB/SmolLM2-135M-Instruct"
