# SPDX-License-Identifier: Apache-2.0
"""The heads of several reward models as one of the output: averaged, or one beside the other.

Heads that mean unlike things have no mean and no common config: they are refused, with what
differs. What their trainers did to a head's centre is known where a file says it: a bias, the mean
and deviation in config.json (OpenRLHF) or beside the head (safe-rlhf), the names of labels.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import torch

from dogerm_plugin.anatomy.body_and_head import Anatomy
from dogerm_plugin.anatomy.head import is_classifier, is_single
from dogerm_plugin.anatomy.heads import Heads
from dogerm_plugin.errors import MergeError

LOG = logging.getLogger("dogerm")

# By which a class makes a reward of what its head gives.
SETTINGS = ("mean", "std", "normalize_reward", "do_normalize", "score_type", "value_head_prefix")
# A warning below it: heads of one start stay above, heads of their own random starts are near 0.
ALIKE = 0.5


@dataclass(frozen=True)
class JoinedHead:
    """The output's head, made of several models' heads.

    Attributes:
        kind: averaged or stacked.
        sources: each reward model's, in the recipe's order: name in the output -> name on disk.
        dtypes: name in the output -> the finest dtype of those that it is made of.
    """

    kind: Heads
    sources: dict[Any, dict[str, str]]
    dtypes: dict[str, str]

    @property
    def labels(self) -> list[str] | None:
        """What the numbers of stacked heads are called; None where the reward model says it."""
        return short_names([*self.sources]) if self.kind is Heads.STACKED else None


def join(
    kind: Heads, reward: Anatomy, others: Sequence[Anatomy], order: Sequence[Any]
) -> JoinedHead:
    """The head that the models' heads make.

    Args:
        kind: averaged or stacked.
        reward: the reward model whose config the output has.
        others: all other models; those without a reward head have no part in this.
        order: the models' names as the recipe has them.

    Raises:
        MergeError: fewer than two reward models; heads that don't go together.
    """
    having = [reward, *(one for one in others if one.reward_head)]
    if len(having) < 2:
        raise MergeError(
            f"models: only {reward.model} has a reward head, and heads are {kind}: name two reward "
            "models or more (one alone is merged with others by reward_preserving_linear and its "
            "like)"
        )
    for one in having:
        if one.beside.files:
            raise MergeError(
                f"{one.beside.files[0]}: the head of {one.model} has a file of its own, and heads "
                f"are {kind}: save the model as one checkpoint with its head first"
            )
        if kind is Heads.STACKED:
            _check_plain(one)
    names = {final: stored for stored, final in _head(reward).items()}
    sources: dict[Any, dict[str, str]] = {}
    dtypes: dict[str, str] = {}
    for one in sorted(having, key=lambda one: order.index(one.model)):
        if one is not reward:
            check_alike(reward, one)
        sources[one.model] = {names[final]: stored for stored, final in _head(one).items()}
        for name, stored in sources[one.model].items():
            dtypes[name] = _finest(dtypes.get(name), one.stored[stored].dtype)
    if kind is Heads.AVERAGED:
        for one in having[1:]:
            check_centre(reward, one)
            warn_of_unlike_starts(reward, one)
    return JoinedHead(kind, sources, dtypes)


def short_names(models: Sequence[Any]) -> list[str]:
    """A name for each model: the end of its path, as short as tells all apart.

    >>> short_names(["runs/a/best", "runs/b/best", "rm"])
    ['a/best', 'b/best', 'rm']
    """
    paths = [PurePath(str(model)).parts for model in models]
    for count in range(1, max(map(len, paths)) + 1):
        names = ["/".join(parts[-count:]).lstrip("/") for parts in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{name}-{number}" for number, name in enumerate(names, start=1)]


def _finest(one: str | None, other: str) -> str:
    """The dtype that holds the numbers of both."""
    if one in (None, other):
        return other
    kinds = getattr(torch, str(one)), getattr(torch, other)
    return str(torch.promote_types(*kinds)).removeprefix("torch.")


def _head(anatomy: Anatomy) -> dict[str, str]:
    """The reward head: name on disk -> the class's."""
    return {stored: anatomy.head[stored] for stored in anatomy.reward_head}


def _shapes(anatomy: Anatomy) -> dict[str, tuple[int, ...]]:
    return {final: anatomy.stored[stored].shape for stored, final in _head(anatomy).items()}


def _check_plain(anatomy: Anatomy) -> None:
    """Refuse a head that is not one linear layer of transformers' own class with one output."""
    network, head = anatomy.network, _head(anatomy)
    shown = ", ".join(f"{name} {list(anatomy.stored[name].shape)}" for name in head)
    weights = [name for name in head if len(anatomy.stored[name].shape) == 2]
    biases = [name for name in head if name not in weights and name.endswith(".bias")]
    reason = None
    if not is_classifier(network) or network.is_custom_code():
        reason = f"{type(network).__name__} is no ...ForSequenceClassification of transformers"
    elif any(final not in network.state_dict() for final in head.values()):
        reason = f"the head is not that of {type(network).__name__} itself"
    elif len(weights) != 1 or len(weights) + len(biases) < len(head):
        reason = "the head has more than one linear layer"
    elif not is_single(anatomy.stored[weights[0]]):
        reason = f"the head gives {anatomy.stored[weights[0]].shape[0]} numbers"
    if reason:
        raise MergeError(
            f"{anatomy.model}: {reason} ({shown}): heads that stand one beside the other are one "
            "linear layer with one output each"
        )


def check_alike(reward: Anatomy, other: Anatomy) -> None:
    """Refuse heads of another class, kind or shape."""
    mine, theirs = _shapes(reward), _shapes(other)
    classes = [type(one.network).__name__ for one in (reward, other)]
    if classes[0] != classes[1]:
        raise MergeError(
            f"{other.model} is a {classes[1]}, and {reward.model} a {classes[0]}: heads of unlike "
            "classes make no common one"
        )
    if set(mine) != set(theirs):
        raise MergeError(
            f"the head of {other.model} is {', '.join(sorted(theirs))}, that of {reward.model} is "
            f"{', '.join(sorted(mine))}: heads of unlike kind make no common one; merge those that "
            "are alike"
        )
    for name, shape in mine.items():
        if shape != theirs[name]:
            raise MergeError(
                f"head tensor {name} has shape {list(theirs[name])} in {other.model} and "
                f"{list(shape)} in {reward.model}: heads of unlike shape make no common one"
            )
    for key in SETTINGS:
        a, b = getattr(reward.config, key, None), getattr(other.config, key, None)
        if a != b:
            raise MergeError(
                f"{other.model}: config.json says {key} {b}, that of {reward.model} {a}: the "
                "rewards have unlike centres or scales, and the output's config.json has room for "
                "one"
            )


def check_centre(reward: Anatomy, other: Anatomy) -> None:
    """Refuse heads whose labels, or whose stored means and counters, are not the same."""
    ours, theirs = (_labels(one.config) for one in (reward, other))
    if ours and theirs and ours != theirs:
        raise MergeError(
            f"{other.model}: its labels are {', '.join(theirs)}, those of {reward.model} "
            f"{', '.join(ours)}: heads of unlike labels have no average"
        )
    stored = {final: name for name, final in _head(other).items()}
    for name, final in _head(reward).items():
        if reward.stored[name].floating and "normalizer" not in name.split("."):
            continue
        pair = [_read(reward, name), _read(other, stored[final])]
        if not torch.equal(*pair):
            raise MergeError(
                f"{other.model}: its {stored[final]} is {_shown(pair[1])}, that of {reward.model} "
                f"{_shown(pair[0])}: heads of unlike centre have no average"
            )


def _labels(config: Any) -> list[str]:
    """Names that somebody gave, not transformers' own."""
    names: Mapping[int, str] = config.id2label or {}
    own = [str(names[number]) for number in sorted(names)]
    return [] if all(name.startswith("LABEL_") for name in own) else own


def warn_of_unlike_starts(reward: Anatomy, other: Anatomy) -> None:
    """WARM's models share a head that was trained first; the mean of strangers is near zero."""
    stored = {final: name for name, final in _head(other).items()}
    for name, final in _head(reward).items():
        if len(reward.stored[name].shape) != 2:
            continue
        a, b = (_read(*one).double().flatten() for one in ((reward, name), (other, stored[final])))
        cosine = float(torch.nn.functional.cosine_similarity(a, b, dim=0))
        if cosine < ALIKE:
            LOG.warning(
                "%s: its head tensor %s has cosine %.3f to that of %s: they come of unlike starts, "
                "and their average may be worth less than either (WARM's models share the head "
                "that they were trained from)",
                other.model,
                stored[final],
                cosine,
                reward.model,
            )


def _read(anatomy: Anatomy, stored: str) -> torch.Tensor:
    tensor: torch.Tensor = anatomy.checkpoint.loader.get_tensor(stored)
    return tensor


def _shown(tensor: torch.Tensor) -> str:
    values = tensor.flatten().tolist()
    return ", ".join(f"{value:g}" for value in values[:4]) + (" ..." if len(values) > 4 else "")
