"""The YAML files of `dogerm train`: what they may say, and one line for each thing they may not."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError


@dataclass(frozen=True)
class Columns:
    """What the columns are called in a file or data set."""

    prompt: str | None = "prompt"  # null: whole conversations in the others
    chosen: str = "chosen"
    rejected: str = "rejected"
    response: str = "response"
    system: str | None = None  # a text that becomes the system message
    tools: str | None = None  # a list, or its JSON text, for the chat template
    documents: str | None = None  # the same
    margin: str | None = None  # how much better the chosen answer is, for TRL's loss


@dataclass(frozen=True)
class Source:
    """Rows from one place: exactly one of `file`, `hub` and `generator`."""

    file: str | None = None  # .jsonl, .json, .csv (also .gz, .zst) or .parquet
    hub: str | None = None  # a data set's id on the Hub
    split: str = "train"
    generator: str | None = None  # a name in harness/training/generated/
    seed: int = 0  # of the generator, the corruption and the choice of rows
    rows: int | None = None  # how many: made by a generator, or chosen at random from the others
    columns: Columns = field(default_factory=Columns)
    balance_length: bool = False  # the longer answer is chosen in half of the pairs
    corrupt: int = 0  # rejected = chosen with so many words exchanged
    allow_markup: bool = False  # texts may hold the tokenizer's special tokens


@dataclass(frozen=True)
class Validation:
    """Held-out prompts: a share of the training data's, or data of its own."""

    share: float = 0.1
    data: tuple[Source, ...] = ()
    rows: int | None = 400  # at most


@dataclass(frozen=True)
class Lora:
    """A PEFT LoRA adapter."""

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    targets: str | tuple[str, ...] = "all-linear"
    layers: tuple[int, ...] = ()  # first and last layer that is adapted; empty = all


@dataclass(frozen=True)
class Training:
    """The optimizer's settings. A step sees batch_size x accumulate rows (a pair is one row)."""

    learning_rate: float = 5e-4
    epochs: float = 1.0
    batch_size: int = 16
    accumulate: int = 1
    warmup: float = 0.05  # share of all steps
    schedule: str = "linear"
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    center_rewards: float | None = None  # TRL's center_rewards_coefficient; reward models only
    evaluations: int = 4  # how often validation runs, evenly spread
    checkpoints: int = 4
    seed: int = 0


@dataclass(frozen=True)
class Config:
    """One run of `dogerm train`."""

    model: str
    data: tuple[Source, ...]
    max_length: int = 512  # longer conversations are left out, and counted
    lora: Lora = field(default_factory=Lora)
    training: Training = field(default_factory=Training)
    validation: Validation = field(default_factory=Validation)

    def as_dict(self) -> dict[str, Any]:
        """Plain values with every default filled in."""
        return dataclasses.asdict(self)


def read_config(path: Path) -> Config:
    """Read and check a YAML file.

    Raises:
        HarnessError: not readable, not YAML, an unknown key, a value of the wrong type or range.
    """
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise HarnessError(f"{path}: not YAML: {reason}") from error
    config = _build(Config, content, str(path))
    _check(config, str(path))
    return config


def _build(kind: Any, content: Any, where: str) -> Any:
    if not isinstance(content, dict):
        raise HarnessError(f"{where}: expected `key: value` lines, found {_name(content)}")
    hints = typing.get_type_hints(kind)
    values = {}
    for key, value in content.items():
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, n=1)
            advice = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(hints)}"
            raise HarnessError(f"{where}: unknown key `{key}`: {advice}")
        values[key] = _convert(hints[key], value, f"{where}: `{key}`")
    for item in dataclasses.fields(kind):
        required = item.default is item.default_factory is dataclasses.MISSING
        if required and item.name not in values:
            raise HarnessError(f"{where}: `{item.name}` is missing")
    return kind(**values)


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, where)
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        if not isinstance(value, list):
            raise HarnessError(f"{where}: expected a list, found {_name(value)}")
        return tuple(
            _convert(options[0], part, f"{where} entry {at}") for at, part in enumerate(value, 1)
        )
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in options:
            return None
        simple = [option for option in options if option is not type(None)]
        listed = [option for option in simple if typing.get_origin(option) is tuple]
        chosen = listed[0] if listed and isinstance(value, list) else simple[0]
        return _convert(chosen, value, where)
    if hint is float and isinstance(value, str):  # YAML reads 1e-4 as a string
        try:
            value = float(value)
        except ValueError:
            raise HarnessError(f"{where}: expected a number, found {value!r}") from None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not hint:
        wanted = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
        raise HarnessError(f"{where}: expected {wanted[hint]}, found {value!r}")
    return value


def _check(config: Config, where: str) -> None:
    """Refuse values of the right type that make no sense."""
    t, lora, validation = config.training, config.lora, config.validation
    rules = (
        (bool(config.data), "`data` is empty"),
        (config.max_length > 0, "`max_length` must be above 0"),
        (t.learning_rate > 0, "`learning_rate` must be above 0"),
        (t.epochs > 0, "`epochs` must be above 0"),
        (t.batch_size > 0 and t.accumulate > 0, "`batch_size` and `accumulate` must be above 0"),
        (0 <= t.warmup < 1, "`warmup` is a share of all steps, from 0 to below 1"),
        (t.evaluations > 0 and t.checkpoints > 0, "`evaluations` and `checkpoints` start at 1"),
        (lora.rank > 0 and lora.alpha > 0, "`rank` and `alpha` must be above 0"),
        (0 <= lora.dropout < 1, "`dropout` must be from 0 to below 1"),
        (
            not lora.layers or (len(lora.layers) == 2 and 0 <= lora.layers[0] <= lora.layers[1]),
            "`layers` is [first, last]",
        ),
        (0 < validation.share < 1, "`share` must be between 0 and 1"),
    )
    for fine, reason in rules:
        if not fine:
            raise HarnessError(f"{where}: {reason}")
    for source in (*config.data, *validation.data):
        named = [name for name in (source.file, source.hub, source.generator) if name is not None]
        if len(named) != 1:
            raise HarnessError(
                f"{where}: each data entry needs exactly one of `file`, `hub` and `generator`"
            )
        if source.generator is not None and source.rows is None:
            raise HarnessError(f"{where}: generator `{source.generator}` needs `rows`")
        if source.rows is not None and source.rows < 1:
            raise HarnessError(f"{where}: `rows` must be above 0")


def _name(value: Any) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r}"[:60]
