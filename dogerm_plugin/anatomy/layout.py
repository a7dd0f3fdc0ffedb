"""Lays the merge out: each tensor of the output, and the tensor of each model that goes into it.

The output has the reward model's own tensor names. The other models are shown
to mergekit through a `ModelView`, which gives their tensors the reward model's names and hides
their heads. What does not fit is refused here, before a weight is read.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mergekit.options import MergeOptions

from dogerm_plugin.anatomy.body_and_head import Anatomy
from dogerm_plugin.anatomy.config_differences import check_configs
from dogerm_plugin.anatomy.head import is_single
from dogerm_plugin.anatomy.heads import Heads
from dogerm_plugin.anatomy.joined_heads import JoinedHead, join
from dogerm_plugin.errors import MergeError

LOG = logging.getLogger("dogerm")


@dataclass
class Layout:
    """Where every output tensor comes from.

    Attributes:
        body: output names of the tensors that are interpolated.
        kept: output names of body tensors that only the reward model has (a vision tower).
        head: output names of the reward head; the same as on the reward model's disk.
        sources: for each model, output name → names on that model's disk: one name, or several
            that transformers' own conversion joins into the output tensor.
        vocabulary: output names whose axis 0 is the vocabulary.
        joined: the head that is made of several models' heads; None where it is the reward model's.
    """

    reward: Anatomy
    others: list[Anatomy]
    body: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    head: list[str] = field(default_factory=list)
    sources: dict[Any, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    vocabulary: set[str] = field(default_factory=set)
    joined: JoinedHead | None = None

    def check_inputs(self) -> None:
        """Hold the models' files against their state when they were examined.

        Raises:
            MergeError: one has changed.
        """
        for anatomy in (self.reward, *self.others):
            anatomy.checkpoint.stamps.check()

    @contextmanager
    def inputs_unchanged(self) -> Iterator[None]:
        """`check_inputs` after the work, and before any error of it, which may come of a change."""
        try:
            yield
        except Exception:
            self.check_inputs()
            raise
        self.check_inputs()

    def keep_what_not_all_have(self) -> None:
        """Let tensors that a model lacks stay the reward model's own (a vision tower).

        For methods of task vectors: where the base or a domain model lacks it, there is none.
        """
        others = [self.sources[other.model] for other in self.others]
        lacking = [name for name in self.body if any(name not in one for one in others)]
        for name in lacking:
            self.body.remove(name)
            self.kept.append(name)
            for one in others:
                one.pop(name, None)
        if lacking:
            _warn_of_kept(self.reward, lacking, "not all models have")

    def shape(self, anatomy: Anatomy, name: str) -> tuple[int, ...] | None:
        """Shape of an output tensor in one model; None where a conversion makes it."""
        stored = self.sources[anatomy.model].get(name, ())
        return anatomy.checkpoint.tensors[stored[0]].shape if len(stored) == 1 else None


def lay_out(
    reward: Anatomy,
    others: list[Anatomy],
    options: MergeOptions,
    heads: Heads = Heads.KEPT,
    order: Sequence[Any] = (),
) -> Layout:
    """Match the models' tensors: for each of the output, one of every model.

    Args:
        reward: the reward model, by which the output is laid out.
        others: the other models.
        options: mergekit's.
        heads: what becomes of the others' heads.
        order: all models as the recipe has them, where they become a part of the output's.

    Raises:
        MergeError: no reward head; unlike model type, width or depth; a body tensor that one
            side lacks; unlike shapes (vocabulary rows aside: see `vocabulary`); heads that don't
            go together.
    """
    _check_reward_model(reward, others)
    # a head in a file of its own is copied with that file
    head = [name for name in reward.head if name in reward.checkpoint.tensors]
    layout = Layout(reward, others, head=head)
    layout.sources[reward.model] = {name: (name,) for name in head}
    for other in others:
        layout.sources[other.model] = {}
        check_configs(reward, other, options)
        inside = _place(reward, other) or ("", "")
        if other.reward_head and heads is Heads.KEPT:
            LOG.warning(
                "%s: its own head (%s) is ignored; the output has the reward model's",
                other.model,
                ", ".join(other.reward_head),
            )
        _match(layout, other, inside)
    if not others:  # the reward model by itself, its layers perhaps in another order
        layout.sources[reward.model] |= {name: (name,) for name in reward.body.values()}
    body = {name for other in others for name in layout.sources[other.model]}
    body = body or set(reward.body.values())
    layout.body = sorted(body)
    merged = {stored for name in body for stored in layout.sources[reward.model][name]}
    for _, stored in sorted(reward.body.items()):
        if stored not in merged:
            layout.kept.append(stored)
            layout.sources[reward.model][stored] = (stored,)
    if layout.kept:
        _warn_of_kept(reward, layout.kept, "no other model has")
    by_stored = {stored: relative for relative, stored in reward.body.items()}
    layout.vocabulary = {
        name
        for name, (stored, *rest) in layout.sources[reward.model].items()
        if not rest and by_stored.get(stored) in reward.vocabulary
    }
    _check_shapes(layout)
    if heads is not Heads.KEPT:
        layout.joined = join(heads, reward, others, order)
    if layout.joined and heads is Heads.AVERAGED:  # each shows its own, and the method merges them
        for model, own in layout.joined.sources.items():
            layout.sources[model] |= {name: (stored,) for name, stored in own.items()}
    return layout


def _warn_of_kept(reward: Anatomy, names: list[str], why: str) -> None:
    LOG.warning(
        "%s: %d tensors that %s stay as they are: %s",
        reward.model,
        len(names),
        why,
        ", ".join(sorted({".".join(name.split(".")[:2]) for name in names})),
    )


def _check_reward_model(reward: Anatomy, others: Iterable[Anatomy]) -> None:
    if reward.reward_head:
        _warn_of_several_outputs(reward)
        return
    class_name = type(reward.network).__name__
    outside = ", ".join(list(reward.head)[:4])
    if len(reward.head) > 4:
        outside += f" and {len(reward.head) - 4} more"
    swapped = [other for other in others if other.reward_head]
    hint = (
        f"{swapped[0].model} has one: base_model and models look swapped"
        if swapped
        else "base_model must be the reward model, such as a LlamaForSequenceClassification"
    )
    raise MergeError(
        f"base_model {reward.model} ({class_name}) has no reward head, which is linear layers "
        f"from the hidden size to one number and nothing else beside trunk and LM head (found "
        f"outside the trunk: {outside or 'nothing'}); {hint}"
    )


def _warn_of_several_outputs(reward: Anatomy) -> None:
    """Say that a classifier gives several labels; code of its own may sum objectives up."""
    tensors = [reward.stored[name] for name in reward.reward_head]
    if reward.network.is_custom_code() or any(is_single(tensor) for tensor in tensors):
        return
    LOG.warning(
        "%s: its head (%s) gives several numbers, and a reward model one: the output will have "
        "that head too, and --model reward takes it with combine= alone",
        reward.model,
        ", ".join(reward.reward_head),
    )


def _place(reward: Anatomy, other: Anatomy) -> tuple[str, str] | None:
    """Where one trunk sits inside the other: (prefix in reward, prefix in other).

    A multimodal model wraps the text model that a plain language model is. ("", "") when both
    trunks have the same names, None when neither contains the other.
    """
    mine, theirs = set(reward.fused.values()), set(other.fused.values())
    if mine == theirs:
        return "", ""
    for outer, inner in ((reward, theirs), (other, mine)):
        for path, module in outer.trunk.named_modules():
            needed = {name for name, _ in module.named_parameters()}
            if path and needed and needed <= inner <= set(module.state_dict()):
                return (f"{path}.", "") if outer is reward else ("", f"{path}.")
    return None


def _match(layout: Layout, other: Anatomy, inside: tuple[str, str]) -> None:
    """Pair the two bodies' stored tensors; where they are stored unlike, pair what they become."""
    reward = layout.reward
    mine = _group(reward, inside[0])
    theirs = _group(other, inside[1])
    missing = sorted(set(mine) - set(theirs))
    extra = sorted(set(theirs) - set(mine))
    for names, lacks, has in ((missing, other, reward), (extra, reward, other)):
        if names:
            where = next(iter((mine if has is reward else theirs)[names[0]].values()))
            raise MergeError(
                f"{lacks.model} lacks body tensor {where}, which {has.model} has"
                f"{f' (and {len(names) - 1} more)' if len(names) > 1 else ''}: both must come "
                "from one pretrained base"
            )
    for final, stored in mine.items():
        if set(stored) == set(theirs[final]):
            for relative, name in stored.items():
                _pair(layout, other, name, (name,), (theirs[final][relative],))
        else:  # one side stores experts apart, the other joined: the class's own form is common
            name = f"{reward.prefix}{inside[0]}{final}"
            _pair(layout, other, name, tuple(stored.values()), tuple(theirs[final].values()))


def _pair(
    layout: Layout, other: Anatomy, name: str, mine: tuple[str, ...], theirs: tuple[str, ...]
) -> None:
    layout.sources[layout.reward.model][name] = mine
    layout.sources[other.model][name] = theirs


def _group(anatomy: Anatomy, inside: str) -> dict[str, dict[str, str]]:
    """Class's tensor name → {relative stored name: name on disk}, below the prefix `inside`."""
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    for relative, stored in anatomy.body.items():
        final = anatomy.fused[relative]
        if final.startswith(inside):
            groups[final.removeprefix(inside)][relative.removeprefix(inside)] = stored
    return dict(groups)


def _check_shapes(layout: Layout) -> None:
    reward = layout.reward
    for other in layout.others:
        for name in layout.sources[other.model]:
            mine, theirs = layout.shape(reward, name), layout.shape(other, name)
            if name in layout.vocabulary and mine and theirs:
                mine, theirs = mine[1:], theirs[1:]
            if mine is not None and theirs is not None and mine != theirs:
                mine, theirs = layout.shape(reward, name), layout.shape(other, name)
                raise MergeError(
                    f"{name} has shape {list(mine or ())} in the reward model {reward.model} and "
                    f"{list(theirs or ())} in {other.model}: both must come from one "
                    "pretrained base"
                )
