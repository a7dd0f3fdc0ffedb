"""The YAML files of `dogerm train`: what they may say, and one line for each thing they may not."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from harness.errors import HarnessError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def _as_number(value: Any) -> Any:
    """YAML reads 1e-4 as text; people write it all the time."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


Number = Annotated[float, BeforeValidator(_as_number)]


DOMAIN = "domain"  # a column of this name needs no mention


class KnownKeys(BaseModel):
    """A mapping of the file: only the keys and the types that it names."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Columns(KnownKeys):
    """What the columns are called in a file or data set."""

    prompt: str | None = "prompt"  # null: whole conversations in the others
    chosen: str = "chosen"
    rejected: str = "rejected"
    response: str = "response"
    system: str | None = None  # a text that becomes the system message
    tools: str | None = None  # a list, or its JSON text, for the chat template
    documents: str | None = None  # the same
    margin: str | None = None  # how much better the chosen answer is, for TRL's loss
    domain: str = DOMAIN  # which expert a row is for, for routers and `train reward --domains`


class Source(KnownKeys):
    """Rows from one place: exactly one of `file`, `hub` and `generator`."""

    file: str | None = None  # .jsonl, .json, .csv (also .gz, .zst) or .parquet
    hub: str | None = None  # a data set's id on the Hub
    split: str = "train"
    generator: str | None = None  # a name in harness/training/generated/
    seed: int = 0  # of the generator, the corruption and the choice of rows
    rows: int | None = None  # how many: made by a generator, or chosen at random from the others
    columns: Columns = Columns()
    domain: str | None = None  # of all rows, in place of a column
    balance_length: bool = False  # the longer answer is chosen in half of the pairs
    corrupt: int = 0  # rejected = chosen with so many words exchanged
    allow_markup: bool = False  # texts may hold the tokenizer's special tokens


class Validation(KnownKeys):
    """Held-out prompts: a share of the training data's, or data of its own."""

    share: Number = 0.1
    data: list[Source] = []
    rows: int | None = 400  # at most


class Lora(KnownKeys):
    """The settings of a PEFT LoRA adapter."""

    rank: int = 8
    alpha: int = 16
    dropout: Number = 0.0
    targets: str | list[str] = "all-linear"
    layers: list[int] = []  # first and last layer that is adapted; empty = all


class Training(KnownKeys):
    """The optimizer's settings. A step sees batch_size x accumulate rows (a pair is one row)."""

    learning_rate: Number = 5e-4
    epochs: Number = 1.0
    batch_size: int = 16
    accumulate: int = 1
    warmup: Number = 0.05  # share of all steps
    schedule: str = "linear"
    weight_decay: Number = 0.0
    max_grad_norm: Number = 1.0
    center_rewards: Number | None = None  # TRL's center_rewards_coefficient; reward models only
    evaluations: int = 4  # how often validation runs, evenly spread
    checkpoints: int = 4
    dtype: str = "auto"  # bfloat16 where it is fast, else float32
    seed: int = 0


class Gates(KnownKeys):
    """What `dogerm train gates` alone reads."""

    balance: Number = 0.01  # of the load-balancing term, N sum f_i P_i in every layer


class Router(KnownKeys):
    """What `dogerm train router` alone reads."""

    kind: str = "probe"  # or centroid
    template: str | None = None  # a Jinja file or `plain`, for an encoder without a chat template
    # Reward model by domain, or the recipe that makes it, to be calibrated.
    experts: dict[str, str | dict[str, Any]] = {}
    beside: list[str] = []  # of them, those that no prompt is for, to be compared with
    fallback: str | None = None  # of them, for what no other is for
    calibration_rows: int = 400  # pairs that each expert scores, at most


class Config(KnownKeys):
    """One run of `dogerm train`."""

    model: str
    data: list[Source]
    domain: str | None = None  # train on the rows of this one alone
    heads: int = 1  # reward models only: so many on one trunk
    max_length: int = 512  # longer conversations are left out, and counted
    lora: Lora | None = Lora()  # null: all weights; not for gates, which change nothing else
    gates: Gates = Gates()
    router: Router = Router()
    training: Training = Training()
    validation: Validation = Validation()

    def as_dict(self) -> dict[str, Any]:
        """Plain values with every default filled in."""
        return self.model_dump()

    def refuse(self, section: str, why: str) -> None:
        """Refuse a section that this kind of training would not read.

        Raises:
            HarnessError: the file has it.
        """
        if section in self.model_fields_set:
            raise HarnessError(f"`{section}` has no effect here, as {why}: leave it out")


_SECTIONS: dict[int | str, type[KnownKeys]] = {
    "": Config,
    "data": Source,
    "columns": Columns,
    "lora": Lora,
    "gates": Gates,
    "router": Router,
    "training": Training,
    "validation": Validation,
}


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
    try:
        config = Config.model_validate(content)
    except ValidationError as error:
        # of the members of a union, the one that got furthest is what was meant
        mistake = max(error.errors(include_url=False), key=lambda one: len(one["loc"]))
        raise HarnessError(_told(mistake, str(path))) from error
    _check(config, str(path))
    return config


# What a wrong type is called, by the names that pydantic gives its mistakes.
_WANTED = {
    "model_type": "`key: value` lines",
    "list_type": "a list",
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
}
_UNION = ("str", "list[str]")  # steps that stand for no key


def _told(mistake: ErrorDetails, file: str) -> str:
    """A mistake in one line, with its place as a path of keys and entries."""
    steps = [step for step in mistake["loc"] if step not in _UNION]
    above, last = steps[:-1], "".join(map(str, steps[-1:]))
    kind, value = mistake["type"], mistake["input"]
    if kind == "missing":
        return f"{_place(file, above)}: `{last}` is missing"
    if kind in ("extra_forbidden", "invalid_key"):
        known = _SECTIONS[next((s for s in reversed(above) if s in _SECTIONS), "")].model_fields
        near = difflib.get_close_matches(last, known, n=1)
        advice = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known)}"
        return f"{_place(file, above)}: unknown key `{last}`: {advice}"
    shown = _name(value) if kind in ("model_type", "list_type") else repr(value)
    return f"{_place(file, steps)}: expected {_WANTED[kind]}, found {shown}"


def _place(file: str, steps: list[int | str]) -> str:
    place = file
    for step in steps:
        place += f" entry {step + 1}" if isinstance(step, int) else f": `{step}`"
    return place


def _check(config: Config, where: str) -> None:
    """Refuse values of the right type that make no sense."""
    t, lora, validation = config.training, config.lora or Lora(), config.validation
    rules = (
        (bool(config.data), "`data` is empty"),
        (config.heads > 0, "`heads` must be above 0"),
        (config.max_length > 0, "`max_length` must be above 0"),
        (t.learning_rate > 0, "`learning_rate` must be above 0"),
        (t.epochs > 0, "`epochs` must be above 0"),
        (t.batch_size > 0 and t.accumulate > 0, "`batch_size` and `accumulate` must be above 0"),
        (0 <= t.warmup < 1, "`warmup` is a share of all steps, from 0 to below 1"),
        (t.dtype in ("auto", "bfloat16", "float32"), "`dtype` is auto, bfloat16 or float32"),
        (t.evaluations > 0 and t.checkpoints > 0, "`evaluations` and `checkpoints` start at 1"),
        (lora.rank > 0 and lora.alpha > 0, "`rank` and `alpha` must be above 0"),
        (0 <= lora.dropout < 1, "`dropout` must be from 0 to below 1"),
        (
            not lora.layers or (len(lora.layers) == 2 and 0 <= lora.layers[0] <= lora.layers[1]),
            "`layers` is [first, last]",
        ),
        (config.gates.balance >= 0, "`balance` must be 0 or above"),
        (config.router.kind in ("probe", "centroid"), "`kind` is probe or centroid"),
        (config.router.calibration_rows > 1, "`calibration_rows` must be above 1"),
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
        if source.domain is not None and source.columns.domain != DOMAIN:
            raise HarnessError(
                f"{where}: `domain` of an entry and `columns: {{domain: ...}}` are two answers to "
                "one question: leave one out"
            )
        if source.generator is not None and source.rows is None:
            raise HarnessError(f"{where}: generator `{source.generator}` needs `rows`")
        if source.rows is not None and source.rows < 1:
            raise HarnessError(f"{where}: `rows` must be above 0")


def _name(value: Any) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r}"[:60]
