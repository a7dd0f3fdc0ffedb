# SPDX-License-Identifier: Apache-2.0
"""Two tokenizers of one vocabulary that cut text into other tokens.

The rows of both models mean the same tokens then, and one model knows them from other places: a
merge works, not as well as it might.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

LOG = logging.getLogger("dogerm")

# What tokenizers treat unlike: spaces, capitals, digits, accents in two forms, signs, scripts.
TEXTS = (
    "Hello world",
    " two  spaces,\n\na new line\tand a tab ",
    "It's 12345.67 + 8 = 12353, isn't it?",
    "Cafe\u0301 na\u00efve \ufb01ne STRASSE stra\u00dfe",
    "def add(a, b):\n    return a+b  # sum",
    "\u4f60\u597d\uff0c\u4e16\u754c \u041f\u0440\u0438\u0432\u0435\u0442 \U0001f600",
)
_PARTS = ("normalizer", "pre_tokenizer", "post_processor", "added_tokens")
SHOWN = 12


def warn_of_other_cuts(reward: Any, mine: Any, other: Any, theirs: Any) -> None:
    """Say where two tokenizers of one vocabulary make other tokens of a text, if they do.

    Args:
        reward: the reward model, for the message.
        mine: its tokenizer.
        other: the domain model.
        theirs: its tokenizer.
    """
    backends = [_backend(one) for one in (mine, theirs)]
    example = next(
        (
            (text, a, b)
            for text in _texts(backends)
            if (a := mine(text)["input_ids"]) != (b := theirs(text)["input_ids"])
        ),
        None,
    )
    unlike = list(_unlike(*backends)) if all(backends) else []
    learnt = [part for part in unlike if part not in _PARTS]
    if example is None and not learnt:
        return  # written otherwise, with the same effect
    shown = ""
    if example is not None:
        text, a, b = example
        shown = f"; {text!r} is {_tokens(theirs, b)} to it and {_tokens(mine, a)} to the output"
    LOG.warning(
        "%s: its tokenizer has the vocabulary of the reward model's %s, and cuts text otherwise "
        "(%s)%s: the output has the reward model's, so that this model's weights will meet tokens "
        "in other places than they were trained on",
        other,
        reward,
        ", ".join(unlike) or "by another class",
        shown,
    )


def warn_of_unlike_ids(model: Any, folder: Path, vocabulary: Mapping[str, int]) -> None:
    """Say that a model's own tokenizer files disagree on a token's id, and which one counts.

    Args:
        model: for the message.
        folder: where its tokenizer's files are.
        vocabulary: as transformers reads it, token → id.
    """
    for file, claims in _claims(folder):
        unlike = [
            f"{token!r} {number} (it is {vocabulary.get(token, 'unknown')})"
            for token, number in claims.items()
            if vocabulary.get(token) != number
        ]
        if unlike:
            LOG.warning(
                "%s: %s gives %d tokens other ids than transformers reads for them, and those that "
                "it reads count: %s",
                model,
                file,
                len(unlike),
                ", ".join(unlike[:3]) + (", ..." if len(unlike) > 3 else ""),
            )


def _claims(folder: Path) -> Iterator[tuple[str, dict[str, int]]]:
    """What each file says of added tokens' ids."""
    added = _read(folder / "added_tokens.json")
    yield "added_tokens.json", {t: i for t, i in added.items() if isinstance(i, int)}
    listed = _read(folder / "tokenizer.json").get("added_tokens") or []
    yield "tokenizer.json", {one["content"]: one["id"] for one in listed}
    decoder = _read(folder / "tokenizer_config.json").get("added_tokens_decoder") or {}
    yield (
        "tokenizer_config.json",
        {one["content"] if isinstance(one, dict) else one: int(i) for i, one in decoder.items()},
    )


def _read(file: Path) -> dict[str, Any]:
    """A JSON object; an empty one where there is none. transformers has read it by now."""
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return content if isinstance(content, dict) else {}


def _backend(tokenizer: Any) -> dict[str, Any]:
    """All settings of a fast tokenizer; empty for one in Python."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return json.loads(backend.to_str()) if backend is not None else {}


def _texts(backends: list[dict[str, Any]]) -> Iterator[str]:
    """The texts to try: those for all tokenizers, and added tokens that have other flags."""
    yield from TEXTS
    flags = [{one["content"]: one for one in b.get("added_tokens", [])} for b in backends]
    for token, one in flags[0].items():
        if flags[1].get(token, one) != one:
            yield f"a {token} b{token}c"
            yield f"{token.upper()} {token.lower()}"


def _unlike(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    """Names of the parts that differ: those of `_PARTS`, and what the model has learnt."""
    for part in _PARTS:
        if mine.get(part) != theirs.get(part):
            yield part
    own, other = mine["model"], theirs["model"]
    if own.get("type") != other.get("type"):
        yield "type"
    elif own.get("merges") != other.get("merges"):
        yield "merges"
    elif own.get("type") == "Unigram" and own.get("vocab") != other.get("vocab"):
        yield "scores"


def _tokens(tokenizer: Any, ids: list[int]) -> str:
    tokens = tokenizer.convert_ids_to_tokens(ids)
    return str(tokens if len(tokens) <= SHOWN else [*tokens[:SHOWN], "..."])
