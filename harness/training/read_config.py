# SPDX-License-Identifier: Apache-2.0
"""Reading a YAML file of `dogerm train`: one line for each thing that it may not say."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from harness.errors import HarnessError
from harness.training.config import (
    ALL,
    BEST,
    DOMAIN,
    Aspects,
    Columns,
    Config,
    Gates,
    Imitation,
    KnownKeys,
    Labels,
    Lora,
    Policy,
    Router,
    Source,
    Training,
    Validation,
)
from harness.training.stages_config import (
    CUSTOMIZED,
    GENERAL,
    LANGUAGE_MODEL,
    CustomizedStage,
    GeneralStage,
    LanguageModelStage,
    Stages,
)

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_Kind = TypeVar("_Kind", bound=KnownKeys)
_SECTIONS: dict[int | str, type[KnownKeys]] = {
    "data": Source,
    "columns": Columns,
    "lora": Lora,
    "policy": Policy,
    "aspects": Aspects,
    "imitation": Imitation,
    "gates": Gates,
    "labels": Labels,
    "router": Router,
    "training": Training,
    "validation": Validation,
    LANGUAGE_MODEL: LanguageModelStage,
    GENERAL: GeneralStage,
    CUSTOMIZED: CustomizedStage,
}


def read_config(path: Path) -> Config:
    """Read and check a YAML file of one run.

    Raises:
        HarnessError: not readable, not YAML, an unknown key, a value of the wrong type or range.
    """
    config = _read(path, Config)
    _check(config, str(path))
    given = config.imitation.model_fields_set  # a stage may leave it to another stage's
    if given and "weight" not in given:
        raise HarnessError(f"{path}: `imitation` has no `weight`, and without one nothing imitates")
    return config


def read_each(path: Path) -> dict[str, Config]:
    """The runs that a YAML file describes: the only one as "", or each stage that has data.

    Raises:
        HarnessError: as `read_config` and `read_stages`.
    """
    content = _content(path)
    if not isinstance(content, dict) or not {LANGUAGE_MODEL, GENERAL, CUSTOMIZED} & content.keys():
        return {"": read_config(path)}
    stages = read_stages(path)
    start = str((stages.general and stages.general.model) or stages.model)
    return {
        name: stages.config(name, start)
        for name in (LANGUAGE_MODEL, GENERAL, CUSTOMIZED)
        if (stage := getattr(stages, name)) is not None and stage.data
    }


def read_stages(path: Path) -> Stages:
    """Read and check a YAML file of several stages.

    Raises:
        HarnessError: as `read_config`, or a stage that has nothing to start from or to learn.
    """
    stages = _read(path, Stages)
    general, customized = stages.general, stages.customized
    given = general is not None and general.model is not None
    own = (set() if general is None else general.model_fields_set) - {"model", "data", "validation"}
    rules = (
        (
            stages.language_model or general or customized,
            f"no stage: give `{LANGUAGE_MODEL}`, `{GENERAL}` or `{CUSTOMIZED}`",
        ),
        (
            general or not customized,
            f"`{CUSTOMIZED}` starts from a general reward model: give `{GENERAL}` its `data`, or "
            "as its `model` one that exists",
        ),
        (
            not given or customized,
            f"`{GENERAL}` has a `model` and is not trained, so `{CUSTOMIZED}` is missing",
        ),
        (
            not given or not (own or stages.language_model or stages.model),
            f"`{GENERAL}` has a `model` and is not trained: leave out its other settings, "
            f"`{LANGUAGE_MODEL}` and the `model` at the top",
        ),
        (given or stages.model, "`model` is missing"),
        (
            customized is None or 0 <= customized.general_share < 1,
            "`general_share` must be from 0 to below 1",
        ),
        (
            not (customized and given and customized.general_share) or (general and general.data),
            f"`general_share` needs general pairs: give `{GENERAL}` `data`, or set it to 0",
        ),
    )
    for fine, reason in rules:
        if not fine:
            raise HarnessError(f"{path}: {reason}")
    for name in (LANGUAGE_MODEL, GENERAL, CUSTOMIZED):
        stage = getattr(stages, name)
        if stage is not None and (stage.data or not (name == GENERAL and given)):
            _check(stages.config(name, ""), f"{path}: `{name}`")
    return stages


def _content(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise HarnessError(f"{path}: not YAML: {reason}") from error


def _read(path: Path, kind: type[_Kind]) -> _Kind:
    try:
        return kind.model_validate(_content(path))
    except ValidationError as error:
        # of the members of a union, the one that got furthest is what was meant
        mistake = max(error.errors(include_url=False), key=lambda one: len(one["loc"]))
        raise HarnessError(_told(mistake, str(path), kind)) from error


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


def _told(mistake: ErrorDetails, file: str, whole: type[KnownKeys]) -> str:
    """A mistake in one line, with its place as a path of keys and entries."""
    steps = [step for step in mistake["loc"] if step not in _UNION]
    above, last = steps[:-1], "".join(map(str, steps[-1:]))
    kind, value = mistake["type"], mistake["input"]
    if kind == "missing":
        return f"{_place(file, above)}: `{last}` is missing"
    if kind in ("extra_forbidden", "invalid_key"):
        section = next((_SECTIONS[s] for s in reversed(above) if s in _SECTIONS), whole)
        known = section.model_fields
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
    policy = config.policy
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
        (t.head in ("normal", "zero"), "`head` is normal or zero"),
        (policy.alpha >= 0, "`alpha` must be 0 or above"),
        (policy.tau > 0, "`tau` must be above 0"),
        (policy.reference in ("base", "none"), "`reference` is base or none"),
        (
            policy.schedule in ("constant", "increase", "decrease"),
            "`schedule` is constant, increase or decrease",
        ),
        (config.imitation.weight >= 0, "`weight` must be 0 or above"),
        (config.imitation.tokens in ("response", "all"), "`tokens` is response or all"),
        (0 <= config.imitation.threshold <= 1, "`threshold` must be from 0 to 1"),
        (0 <= config.labels.smoothing < 0.5, "`smoothing` must be from 0 to below 0.5"),
        (0 <= config.labels.rate <= 1, "`rate` must be from 0 to 1"),
        (
            not config.labels.rate or t.epochs > 1,
            "`rate` moves labels after each epoch but the last, so it needs `epochs` above 1",
        ),
        (
            bool(config.aspects.columns) or "aspects" not in config.model_fields_set,
            "`aspects` has no `columns`: name those that hold the numbers",
        ),
        (
            len(set(config.aspects.columns)) == len(config.aspects.columns),
            "`columns` of `aspects` names one twice",
        ),
        (
            set(config.aspects.weights) in (set(), set(config.aspects.columns)),
            "`weights` of `aspects` has one for each of its `columns`, or is left out",
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
        if source.pairs not in (ALL, BEST):
            raise HarnessError(f"{where}: `pairs` is {ALL} or {BEST}")
        if source.rows is not None and source.rows < 1:
            raise HarnessError(f"{where}: `rows` must be above 0")


def _name(value: Any) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r}"[:60]
