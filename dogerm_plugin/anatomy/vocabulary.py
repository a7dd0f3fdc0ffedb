"""Checks that a token means the same row of the embedding in every model.

mergekit never compares vocabularies: equal shapes with permuted ids merge into nonsense without a
word. Without a `tokenizer:` key the models must agree on every token's id; with one, mergekit
aligns the rows by token.
"""

from __future__ import annotations

import filecmp
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mergekit.common import ModelReference
from mergekit.config import MergeConfiguration
from mergekit.options import MergeOptions
from mergekit.tokenizer import build

from dogerm_plugin.anatomy import tokenization
from dogerm_plugin.anatomy.body_and_head import Anatomy
from dogerm_plugin.anatomy.layout import Layout
from dogerm_plugin.errors import MergeError
from dogerm_plugin.files.model_files import TOKENIZER, holds_tokenizer

LOG = logging.getLogger("dogerm")
SHOWN = 3
# All that a fast tokenizer's ids are read from.
FILES = (*TOKENIZER, "special_tokens_map.json", "added_tokens.json", "merges.txt")
TOKENIZER_CONFIG = "tokenizer_config.json"


def padded_embeddings(
    layout: Layout, config: MergeConfiguration, options: MergeOptions
) -> dict[Any, set[str]]:
    """Check the vocabularies; name, by model, the embeddings whose padding rows differ.

    Raises:
        MergeError: the models' tokens differ and the recipe has no `tokenizer:` key; or it has
            one, and a second tensor has one row per token (mergekit aligns embeddings only).
    """
    aligned = config.tokenizer is not None or config.tokenizer_source is not None
    reward = layout.reward
    padded: dict[Any, set[str]] = {}
    own: Any = None
    for other in layout.others:
        if aligned:
            _check_only_embeddings(layout, other)
            continue
        if _same_files(reward, other) and not _rows_differ(layout, other):
            continue  # to load two tokenizers takes longer than to merge a small model
        own = own or tokenizer_of(reward, options)
        its = tokenizer_of(other, options)
        mine, theirs = (None if one is None else dict(one.get_vocab()) for one in (own, its))
        if mine is not None and theirs is not None:
            if mine != theirs:
                raise MergeError(_difference(reward, mine, other, theirs))
            tokenization.warn_of_other_cuts(reward.model, own, other.model, its)
        else:
            _warn_of_none(reward if mine is None else other)
        for name in layout.vocabulary & set(layout.sources[other.model]):
            a, b = layout.shape(reward, name), layout.shape(other, name)
            if a is None or b is None or a[0] == b[0]:
                continue
            known = max(mine.values()) + 1 if mine and theirs else None
            if known is None or min(a[0], b[0]) < known:
                raise MergeError(
                    f"{name} has {a[0]} rows in the reward model {reward.model} and {b[0]} in "
                    f"{other.model}, with {known or 'an unknown number of'} tokens in the "
                    "tokenizer: add `tokenizer: {source: base}` to the recipe to align by token"
                )
            padded.setdefault(other.model, set()).add(name)
    return padded


def _warn_of_none(lacking: Anatomy) -> None:
    LOG.warning(
        "%s has no tokenizer: it can't be checked that its rows mean the same tokens",
        lacking.model,
    )


def require_same_ids(reward: Anatomy, other: Anatomy, options: MergeOptions) -> None:
    """For a model whose embedding is not used: every token that both know has one id.

    Raises:
        MergeError: a token has two ids, so the two models were fed other things.
    """
    if _same_files(reward, other):
        return
    own, its = tokenizer_of(reward, options), tokenizer_of(other, options)
    if own is None or its is None:
        _warn_of_none(reward if own is None else other)
        return
    mine, theirs = own.get_vocab(), its.get_vocab()
    moved = [token for token, i in mine.items() if theirs.get(token, i) != i]
    if moved:
        some = _some([f"{t!r}: {mine[t]} and {theirs[t]}" for t in moved])
        raise MergeError(
            f"{other.model}: {len(moved)} of its tokens have another id than in {reward.model} "
            f"({some}): the two are of unlike base, or one was trained with another tokenizer"
        )
    common = len(mine.keys() & theirs.keys())
    if 2 * common < min(len(mine), len(theirs)):
        raise MergeError(
            f"{other.model}: {common} of its {len(theirs)} tokens are known to {reward.model}, "
            f"which has {len(mine)}: the two are of unlike base"
        )
    if mine == theirs:
        tokenization.warn_of_other_cuts(reward.model, own, other.model, its)


def _rows_differ(layout: Layout, other: Anatomy) -> bool:
    names = layout.vocabulary & set(layout.sources[other.model])
    return any(layout.shape(layout.reward, name) != layout.shape(other, name) for name in names)


def _same_files(reward: Anatomy, other: Anatomy) -> bool:
    """Whether two local models have fast tokenizers of the same bytes, without code of their own.

    Of models of one type, the same files make the same tokenizer.
    """
    if reward.config.model_type != other.config.model_type:
        return False
    folders = [Path(anatomy.model.model.path) for anatomy in (reward, other)]
    if not all(folder.is_dir() for folder in folders):
        return False
    first, second = (
        {file.name: file for pattern in FILES for file in folder.glob(pattern) if file.is_file()}
        for folder in folders
    )
    configs = [folder / name for folder in folders for name in ("config.json", TOKENIZER_CONFIG)]
    return (
        first.keys() == second.keys()
        and first.keys() >= {"tokenizer.json", TOKENIZER_CONFIG}
        and not any(b"AutoTokenizer" in config.read_bytes() for config in configs)
        and all(filecmp.cmp(first[name], second[name], shallow=False) for name in first)
    )


def has_tokenizer(anatomy: Anatomy) -> bool:
    """Whether a model comes with tokenizer files; assumed of a Hub model.

    Asked of the path in the recipe: mergekit's snapshot of a Hub model leaves some of them out.
    """
    return holds_tokenizer(Path(anatomy.model.model.path))


def tokenizer_of(anatomy: Anatomy, options: MergeOptions) -> Any:
    """A model's tokenizer, or None where it has none.

    Raises:
        MergeError: it can't be loaded.
    """
    from transformers import AutoTokenizer

    if not has_tokenizer(anatomy):
        return None
    model = anatomy.model.model
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            model.path,
            revision=model.revision,
            trust_remote_code=options.trust_remote_code,
        )
    except Exception as error:  # transformers raises whatever its tokenizer classes meet
        raise MergeError(
            f"{anatomy.model}: its tokenizer can't be loaded ({error}), so it can't be checked "
            "that its rows mean the same tokens"
        ) from None
    if Path(model.path).is_dir():
        tokenization.warn_of_unlike_ids(anatomy.model, Path(model.path), tokenizer.get_vocab())
    return tokenizer


def _difference(
    reward: Anatomy, mine: dict[str, int], other: Anatomy, theirs: dict[str, int]
) -> str:
    only_mine = sorted(set(mine) - set(theirs), key=mine.__getitem__)
    only_theirs = sorted(set(theirs) - set(mine), key=theirs.__getitem__)
    moved = sorted((t for t in mine.keys() & theirs.keys() if mine[t] != theirs[t]), key=mine.get)  # type: ignore[arg-type]
    parts = []
    for tokens, what in (
        (only_mine, f"only in {reward.model}"),
        (only_theirs, f"only in {other.model}"),
    ):
        if tokens:
            parts.append(f"{len(tokens)} {what} ({_some([repr(t) for t in tokens])})")
    if moved:
        some = _some([f"{t!r}: {mine[t]} and {theirs[t]}" for t in moved])
        parts.append(f"{len(moved)} with another id ({some})")
    count = len(only_mine) + len(only_theirs) + len(moved)
    return (
        f"the vocabularies differ in {count} tokens: {'; '.join(parts)}. To align rows by token, "
        "add two lines to the recipe: `tokenizer:` and, indented below it, `source: base` (the "
        "reward model's tokens) or `source: union` (all tokens)"
    )


def _some(items: list[str]) -> str:
    return ", ".join(items[:SHOWN]) + (", ..." if len(items) > SHOWN else "")


def _check_only_embeddings(layout: Layout, other: Anatomy) -> None:
    """Refuse a second per-token table (per-layer embeddings): it would keep unaligned rows."""
    for anatomy in (layout.reward, other):
        rows = {
            shape[0]
            for name in layout.vocabulary
            if (shape := layout.shape(anatomy, name)) is not None
        }
        for name in [*layout.body, *layout.kept]:
            if name in layout.vocabulary or "embed" not in name:
                continue
            shape = layout.shape(anatomy, name) if name in layout.sources[anatomy.model] else None
            if shape and len(shape) > 1 and shape[0] in rows:
                raise MergeError(
                    f"{name} of {anatomy.model} also has one row per token, and mergekit's "
                    "`tokenizer:` aligns the input embedding only: merge models of one vocabulary"
                )


@contextmanager
def alignment_repaired(reward: ModelReference) -> Iterator[None]:
    """Make mergekit 0.1.5's alignment of rows sound, for the time of one of our merges.

    The tokenizer of `source: base`, and the one that a union starts from: the reward model's, also
    where the recipe's `base_model` is another. Not a fault of mergekit's.

    Tokens beyond a model's rows, as many published tokenizers have: mergekit logs such a token,
    leaves its id out of the permutation, and later fails on it with a KeyError. Absent (-1) is
    what it means. Retired when `build_tokenizer` sets -1 itself.

    Gaps between ids: rows are counted by tokens, so that the last ids would have no row, or, with
    `pad_to_multiple_of`, the padding's. Refused.

    New tokens of a union: taken in the order of a Rust hash map, other ids in every run. Sorted by
    id. Retired when `build_union_tokenizer` sorts.

    Multimodal models: their number of rows stands in the text part of the config, where mergekit
    doesn't look.
    """
    before = build.build_tokenizer, build.build_union_tokenizer, build.get_vocab_size
    build_tokenizer, build_union, _ = before

    def repaired(*args: Any, **kwargs: Any) -> Any:
        info = build_tokenizer(*args, **{**kwargs, "base_model": reward})
        ids = info.tokenizer.get_vocab().values()
        if {*ids} != {*range(len(ids))}:
            raise MergeError(
                f"the output tokenizer has {len(ids)} tokens, and ids up to {max(ids)}: rows can't "
                "be aligned by a tokenizer with gaps between its ids, or two tokens of one; merge "
                "models of one vocabulary, without `tokenizer:`"
            )
        for permutation in info.permutations.values():
            for token_id in ids:
                permutation.setdefault(token_id, -1)
        return info

    def ordered(base: Any, tokenizers: dict[Any, Any], **kwargs: Any) -> Any:
        return build_union(base, {m: _ById(t) for m, t in tokenizers.items()}, **kwargs)

    def rows(path: Any, trust_remote_code: bool) -> int | None:
        config = ModelReference(model=path).config(trust_remote_code)
        return getattr(config.get_text_config(), "vocab_size", None)

    build.build_tokenizer, build.build_union_tokenizer, build.get_vocab_size = (
        repaired,
        ordered,
        rows,
    )
    try:
        yield
    finally:
        build.build_tokenizer, build.build_union_tokenizer, build.get_vocab_size = before


class _ById:
    """As much of a tokenizer as `build_union_tokenizer` asks for, in the order of ids."""

    def __init__(self, tokenizer: Any) -> None:
        self.vocab_size = tokenizer.vocab_size
        self.added_tokens_decoder = dict(sorted(tokenizer.added_tokens_decoder.items()))
        self._vocabulary = dict(sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]))

    def get_vocab(self) -> dict[str, int]:
        return self._vocabulary
