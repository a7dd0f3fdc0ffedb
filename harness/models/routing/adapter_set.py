# SPDX-License-Identifier: Apache-2.0
"""Adapters that are to take turns on one base: read, compared, and put onto it together.

A switch must change the reward to that of the adapter alone. What one of them does to the base
itself would stay for the others (trained biases, PiSSA's residual weights), and what differs
between them beside their tensors (tokenizer, template, rows of the embedding) is not switched: both
are refused.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dogerm_plugin.anatomy import adapted_model
from dogerm_plugin.anatomy.adapter import Adapter, plain, read
from dogerm_plugin.errors import MergeError
from harness.errors import HarnessError, first_line
from harness.models.load.adapters import keep_digits
from harness.models.score import digests
from harness.models.score.chat_template import choose_template

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

ALONE = (
    "score it alone (--model reward with peft=), or export it (dogerm train export) for --model "
    "reward-router"
)


@contextmanager
def of(name: str) -> Iterator[None]:
    """Let a mistake in an adapter say whose it is.

    Raises:
        HarnessError: the one that was raised, with the expert's name.
    """
    try:
        yield
    except (MergeError, HarnessError) as error:
        raise HarnessError(f"{name}: {error}") from None


def read_all(places: Mapping[str, str], base: str, revision: str | None) -> dict[str, Adapter]:
    """The adapters at these places, by name; no weight is read.

    Args:
        places: folder or Hub id, by the name that messages use.
        base: folder or Hub id of their base.
        revision: on the Hub.

    Raises:
        HarnessError: one is none, or they are not of one kind and base.
    """
    made: dict[str, Adapter] = {}
    for name, place in places.items():
        try:
            made[name] = read(place, revision)
        except MergeError as error:
            raise HarnessError(f"{name} is no PEFT adapter: {error}") from None
    _check_kind(made)
    _check_base(made, base)
    return made


def _check_kind(adapters: Mapping[str, Adapter]) -> None:
    from peft import PromptLearningConfig
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    first = next(iter(adapters))
    wanted = adapters[first].settings["peft_type"]
    for name, adapter in adapters.items():
        kind = adapter.settings["peft_type"]
        made = PEFT_TYPE_TO_CONFIG_MAPPING.get(kind)
        if made is not None and issubclass(made, PromptLearningConfig):
            raise HarnessError(
                f"{name}: {adapter.name} is of type {kind}, which puts tokens before the prompt "
                f"and changes no module, so there is nothing to switch; {ALONE}"
            )
        if kind != wanted:
            raise HarnessError(
                f"{name}: {adapter.name} is of type {kind}, and {first} of type {wanted}; PEFT "
                f"holds adapters of one type on a model; {ALONE}"
            )
        if _single_tokens(adapter) != _single_tokens(adapters[first]):
            raise HarnessError(
                f"{name}: {adapter.name} and {first} were not both trained with single tokens of "
                f"the same embedding (trainable_token_indices), and PEFT switches these for all "
                f"adapters or none; {ALONE}"
            )
        if adapter.settings.get("layer_replication"):
            raise HarnessError(
                f"{name}: {adapter.name} repeats layers of its base (layer_replication), which the "
                f"other adapters were not trained with; {ALONE}"
            )


def _single_tokens(adapter: Adapter) -> set[str]:
    """The embeddings of which an adapter has trained single rows."""
    indices = adapter.settings.get("trainable_token_indices") or {}
    return set(indices) if isinstance(indices, dict) else {"embed_tokens"}


def _check_base(adapters: Mapping[str, Adapter], base: str) -> None:
    said = {
        name: str(place)
        for name, adapter in adapters.items()
        if (place := adapter.settings.get("base_model_name_or_path"))
    }
    first = next(iter(said), "")
    for name, place in said.items():
        if not same_model(place, said[first]):
            raise HarnessError(
                f"{name}: {adapters[name].name} was trained on {place}, and {first} on "
                f"{said[first]} (base_model_name_or_path); adapters that share a base were trained "
                "on it: where these two are one model, write the same into both "
                "adapter_config.json; else use --model reward-router"
            )
    if said and not same_model(base, said[first]):
        logger.warning(
            "the adapters say that they were trained on %s, and are put onto %s", said[first], base
        )


def same_model(one: str, other: str) -> bool:
    """Whether two places name one model, as far as names tell: the same last part, or folder."""
    folders = os.path.isdir(one) and os.path.isdir(other)
    return _last_part(one) == _last_part(other) or (
        folders and os.path.realpath(one) == os.path.realpath(other)
    )


def _last_part(place: str) -> str:
    parts = Path(place).parts
    if len(parts) > 2 and parts[-2] == "snapshots":  # of the Hub's cache
        return parts[-3].split("--")[-1]
    return parts[-1] if parts else ""


def check_heads(adapters: Mapping[str, Adapter], trunk: str) -> None:
    """Refuse an expert that does not bring a head of one number.

    Args:
        adapters: the experts.
        trunk: the ``base_model_prefix`` of the base's class.

    Raises:
        HarnessError: it has none, or one of several labels.
    """
    for name, adapter in adapters.items():
        outputs = {s[0] for s in adapter.head(trunk).values() if len(s) == 2}
        if not outputs:
            raise HarnessError(
                f"{name}: {adapter.name} (task_type {adapter.task}) brings no reward head "
                "(modules_to_save), so nothing says its reward; an expert is a reward model's "
                "adapter, as TRL and dogerm train reward save it"
            )
        if 1 not in outputs:
            raise HarnessError(
                f"{name}: {adapter.name} has a head of {max(outputs)} labels; an expert gives one "
                "reward (the adapter that chooses goes to router=)"
            )


def check_tokens(
    adapters: Mapping[str, Adapter], base: str, wanted: str | None, **options: Any
) -> None:
    """Refuse adapters that were trained with unlike tokenizers or chat templates.

    Args:
        adapters: the experts.
        base: folder or Hub id of their base.
        wanted: ``chat_template=``, or None for each one's own.
        options: of ``from_pretrained`` for what is the base's.

    Raises:
        HarnessError: naming the expert and what differs.
    """
    own = [one for one in adapters.values() if one.has_tokenizer or one.template is not None]
    if not own:
        return
    first: tuple[str, str] | None = None
    for name, adapter in adapters.items():
        try:
            tokenizer = adapted_model.tokens(base, adapter, **options)
        except (OSError, ValueError) as error:
            raise HarnessError(
                f"{name}: no tokenizer can be loaded from {adapter.name} or {base} "
                f"({first_line(error)}); name one with --model_args tokenizer=FOLDER_OR_HUB_ID"
            ) from error
        found = digests.of_tokenizer(tokenizer), choose_template(tokenizer, wanted).text
        first = first or found
        if found != first:
            what = "tokenizer" if found[0] != first[0] else "chat template"
            raise HarnessError(
                f"{name}: {adapter.name} has another {what} than {next(iter(adapters))}, and all "
                f"adapters of a base are given the same; give {what.replace(' ', '_')}= for all, "
                f"if that is right for all; else {ALONE}"
            )


def put_all_onto(
    model: Any, adapters: Mapping[str, Adapter], tokenizer: Any
) -> tuple[Any, dict[str, str]]:
    """PEFT's model with all adapters, the first one active, each with the digits of its head.

    Args:
        model: the base.
        adapters: by name, which messages use.
        tokenizer: whose tokens must have rows.

    Returns:
        The model, and what PEFT calls each adapter. (A domain may have a dot in its name, or be
        part of another one's name; PEFT can't have that.)

    Raises:
        HarnessError: one does not fit, is lost beside the others, or changes the base.
    """
    _check_rows(model, adapters)
    for name, adapter in adapters.items():
        with of(name):
            adapted_model.fit_rows(model, adapter, tokenizer)
    kept = list(model.named_parameters())
    before = {one: digests.bits_of(tensor) for one, tensor in kept}
    names: dict[str, str] = {}
    made: Any = None
    for number, (name, adapter) in enumerate(adapters.items()):
        names[name] = f"expert_{number:03d}" if number else adapted_model.FIRST
        with of(name):
            if made is None:
                made = adapted_model.attach(model, adapter)
            else:
                adapted_model.attach_further(made, adapter, names[name])
            keep_digits(made, adapter, names[name])
        changed = [one for one, tensor in kept if digests.bits_of(tensor) != before[one]]
        if changed:
            raise HarnessError(
                f"{name}: {adapter.name} changes {changed[0]} of the base itself (trained biases, "
                "or weights that it was started from), which all other adapters would get; " + ALONE
            )
    for name, adapter in adapters.items():
        _read_back(made, adapter, name, names[name])
    return made, names


def _check_rows(model: Any, adapters: Mapping[str, Adapter]) -> None:
    embedding = model.get_input_embeddings()
    (path,) = (path for path, module in model.named_modules() if module is embedding)
    held = embedding.weight.shape[0]
    first = next(iter(adapters))
    rows = {name: adapter.rows(path) or held for name, adapter in adapters.items()}
    for name, adapter in adapters.items():
        if rows[name] != rows[first]:
            raise HarnessError(
                f"{name}: {adapter.name} was trained with {rows[name]} rows of {path}, and {first} "
                f"with {rows[first]}; a model's rows don't change with its adapter; {ALONE}"
            )


def _read_back(made: Any, adapter: Adapter, name: str, known_as: str) -> None:
    """Refuse an adapter whose tensors a later one has overwritten.

    Raises:
        HarnessError: naming the tensor.
    """
    from peft import get_peft_model_state_dict
    from peft.utils import load_peft_weights

    held = get_peft_model_state_dict(made, adapter_name=known_as, save_embedding_layers=False)
    for stored, tensor in load_peft_weights(str(adapter.folder), device="cpu").items():
        there = held.get(stored)
        if there is None or there.is_meta:
            continue
        if not there.cpu().equal(tensor.to(there.dtype)):
            raise HarnessError(
                f"{name}: {plain(stored)} of {adapter.name} is shared with another adapter, which "
                f"stores other numbers; {ALONE}"
            )
