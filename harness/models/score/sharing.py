# SPDX-License-Identifier: Apache-2.0
"""Rows that begin alike scored together, their beginning computed once, where the model allows it.

Whether it does is tried out when the model is loaded. The rows of a pack must not see one another:
the score of one is asked for beside different others, and may not change. And it must be the score
of the row alone. State-space and linear-attention layers, positions that are counted through the
sequence, attention that transformers does not dispatch by name fail one or the other, and are
scored row by row as ever. Attention that reaches back a limited number of tokens, or chooses as
many of them, is as good as full for shorter rows; longer ones are scored alone.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import torch
from torch import nn

from harness.errors import HarnessError
from harness.models.score.own_forward import takes
from harness.models.score.packed_attention import attention_within, can_pack, choices
from harness.models.score.tree import Pack, common_beginning
from harness.models.score.tree_kernels import KERNELS, PARTS

if TYPE_CHECKING:
    from harness.models.score.rope import Rope
    from harness.models.score.scorer import Scorer

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

# How much other rows may change a score, relative to the tolerance between two ways to compute it:
# what a token sees is the same then, so only the kernels' choice of blocks is left.
_LEAK = 0.1

# Tokens of the rows that are tried. An ending behind a long one shows positions that are counted
# through the tree (ALiBi's distances): they are off by that one's length.
_LONGEST, _SHORTEST = 64, 16


# Endings of names that count layers, not tokens: Qwen's max_window_layers, and
# sliding_window_pattern, which says every how many layers one sees everything.
_COUNTS = ("layers", "pattern")

# Words of names that limit what a token sees; the last two are of sparse attention, whose index
# chooses so many tokens or blocks (index_topk of DeepSeek V3.2 and its kin, Qwen's indexer_budget).
_LIMITS = re.compile("window|chunk|^index.*(topk|budget)")


class Runner(Protocol):
    """What runs a model's forward.

    Attributes:
        model: with adapters and all.
        body: what takes token ids, positions and a mask, and has a config.
        device: where ids go.
        rope: the model's rotary embeddings.
        vocab_size: ids below it are tokens.
    """

    model: nn.Module
    body: Any
    device: torch.device
    rope: Rope
    vocab_size: int

    def may_share_batch(self, length: int, other: int) -> bool:
        """Whether rows of these lengths (in tokens) may be scored in one pass."""


Row = TypeVar("Row")


class SharedPrefixes(Generic[Row]):
    """Scores packs of trees; a subclass says of what rows, and how states become scores.

    Args:
        runner: whose model it is.
        tolerance: between two ways to compute a score.
        kernel: of `tree_kernels.KERNELS`, how attention is computed; by default the first that
            works of those that suit model and device.

    Attributes:
        works: packs give the scores of single rows.
        kernel: how attention is computed.
        reach: rows up to so many tokens; None where every token sees all before it.

    Raises:
        HarnessError: the kernel that was asked for does not work.
    """

    def __init__(self, runner: Runner, tolerance: float, kernel: str | None = None) -> None:
        self._runner = runner
        self.reach = reach(getattr(runner.model, "config", None))
        self.kernel = PARTS
        reason = self._choose(tolerance, kernel)
        self.works = reason is None
        if reason and kernel:
            raise HarnessError(
                f"share_prefix={kernel}: {type(runner.model).__name__} can't be scored so "
                f"({reason}); share_prefix=True chooses what works"
            )
        if reason:
            name = type(runner.model).__name__
            logger.info("%s: rows that begin alike are scored apart (%s)", name, reason)

    def may_share(self, lengths: Sequence[int]) -> bool:
        """Whether rows of these lengths (in tokens) may be in one pack."""
        longest = max(lengths)
        if not self.works or (self.reach is not None and longest > self.reach):
            return False
        return all(self._runner.may_share_batch(longest, length) for length in lengths)

    def tokens(self, row: Row) -> Sequence[int]:
        """What of a row is computed."""
        raise NotImplementedError

    def made_up(self, ids: list[int]) -> Row:
        """A row of these tokens, to try."""
        raise NotImplementedError

    def of_pack(
        self, pack: Pack, groups: Sequence[Sequence[Row]], inputs: dict[str, torch.Tensor]
    ) -> list[list[torch.Tensor]]:
        """The scores of each group's rows; attention keeps to the pack's trees already.

        Args:
            pack: the groups' trees.
            groups: of rows.
            inputs: for the model's forward: positions and a mask.
        """
        raise NotImplementedError

    def alone(self, row: Row) -> torch.Tensor:
        """The score of a row by itself."""
        raise NotImplementedError

    def scores(self, groups: Sequence[Sequence[Row]]) -> list[list[torch.Tensor]]:
        """The scores of each group's rows; each group is a tree, and all are one pack."""
        rows = [[self.tokens(row) for row in group] for group in groups]
        every = [row for group in rows for row in group]
        # Chat templates put the same tokens before all conversations.
        pack = Pack.of(rows, common_beginning(every) if len(groups) > 1 else 0)
        device = self._runner.device
        inputs = {
            "position_ids": torch.tensor([pack.positions], device=device),
            # Of four dimensions, so that transformers makes none; it is not looked at.
            "attention_mask": torch.zeros(1, 1, 1, 1, device=device),
        }
        with attention_within(pack.trees, self.kernel):
            return self.of_pack(pack, groups, inputs)

    def _choose(self, tolerance: float, kernel: str | None) -> str | None:
        """Set the kernel; why packs can't be had, or None if they can."""
        runner = self._runner
        if not (takes(runner.body, "position_ids") and takes(runner.body, "attention_mask")):
            return "its body takes no positions"
        config: Any = getattr(runner.body, "config", None)
        text = config.get_text_config() if hasattr(config, "get_text_config") else config
        if getattr(text, "attn_temperature_tuning", False):  # of Llama 4, from 8,192 tokens on
            return "its attention is scaled by the place in the sequence"
        attention = getattr(config, "_attn_implementation", None)
        if not can_pack(attention):
            return f"its attention is {attention}, which is not known here"
        limits = [limit for limit in (self.reach, runner.rope.limit) if limit is not None]
        longest = min([_LONGEST, *limits])
        if longest < _SHORTEST:
            return f"rows of more than {longest} tokens can't go together"
        reason = None
        for self.kernel in (kernel,) if kernel else choices(attention, runner.device):
            reason = self._try_out(longest, tolerance)
            if reason is None:
                break
            logger.info("attention in packs, %s: %s", self.kernel, reason)
        return reason

    def _try_out(self, longest: int, tolerance: float) -> str | None:
        """Why packs can't be had with this kernel; None if they can."""
        vocabulary = self._runner.vocab_size
        start = [(7919 * index + 13) % vocabulary for index in range(5)]
        one, other, last = (
            self.made_up(start + [(factor * index + add) % vocabulary for index in range(count)])
            for factor, add, count in (
                (104729, 7, longest - 5),
                (15485863, 29, longest - 5),
                (611953, 3, 6),
            )
        )
        try:
            with torch.inference_mode():
                (one_, beside_one), (other_,) = self.scores([[one, last], [other]])
                (_, beside_other), _ = self.scores([[other, last], [one]])
                packed = [one_, beside_one, other_]
                alone = [self.alone(row) for row in (one, last, other)]
        except Exception as error:  # a structure not ours to know
            return f"its body can't be told what a token sees: {type(error).__name__}"
        if not _close(beside_one, beside_other, _LEAK * tolerance):
            return "one row changes another's score"
        if not all(_close(*pair, tolerance) for pair in zip(packed, alone, strict=True)):
            return "a pack does not give the single rows' scores"
        return None


class SharedRewards(SharedPrefixes[Sequence[int]]):
    """Rewards, by a scorer's body and head; it runs them apart and takes padded batches."""

    _runner: Scorer

    def __call__(self, groups: Sequence[Sequence[Sequence[int]]]) -> list[list[Any]]:
        """The rewards of each group's rows, of token ids; a list of them with several heads."""
        with torch.inference_mode():
            rewards = torch.stack([one for group in self.scores(groups) for one in group])
        values = iter(rewards.double().cpu().tolist())
        return [[next(values) for _ in group] for group in groups]

    def tokens(self, row: Sequence[int]) -> Sequence[int]:
        """All of them."""
        return row

    def made_up(self, ids: list[int]) -> Sequence[int]:
        """The ids."""
        return ids

    def of_pack(
        self,
        pack: Pack,
        groups: Sequence[Sequence[Sequence[int]]],
        inputs: dict[str, torch.Tensor],
    ) -> list[list[torch.Tensor]]:
        """See `SharedPrefixes`."""
        scorer = self._runner
        states = scorer.states(torch.tensor([pack.ids]), **inputs)
        places = [
            tree.place(number, scorer.pooled(row))
            for tree, rows in zip(pack.trees, groups, strict=True)
            for number, row in enumerate(rows)
        ]
        rewards = scorer.reward_of(states[0, torch.tensor(places, device=states.device)])
        return [list(one) for one in rewards.split([len(rows) for rows in groups])]

    def alone(self, row: Sequence[int]) -> torch.Tensor:
        """See `SharedPrefixes`."""
        return self._runner.rewards([row])[0]


def share_prefix_of(value: Any) -> tuple[bool, str | None]:
    """What the argument ``share_prefix`` says: whether to share, and by which kernel.

    Raises:
        HarnessError: neither a truth value nor a kernel.
    """
    text = str(value).lower()
    if text in KERNELS:
        return True, text
    if text not in ("true", "false"):
        raise HarnessError(
            f"share_prefix={value} is unknown; it is True, False, {', '.join(KERNELS)}"
        )
    return text == "true", None


def kernel_of(sharing: SharedPrefixes[Any] | None) -> str | None:
    """How attention in packs is computed, for the results; None where there are none."""
    return sharing.kernel if sharing is not None and sharing.works else None


def reach(config: Any) -> int | None:
    """The fewest tokens that a config limits attention to, by a window, chunks or an index."""
    text: Any = config.get_text_config() if hasattr(config, "get_text_config") else config
    limits = [
        value
        for name, value in vars(text).items()
        if _LIMITS.search(name)
        and not name.endswith(_COUNTS)
        and isinstance(value, int)
        and not isinstance(value, bool)
        and value > 0
    ]
    return min(limits, default=None)


def _close(one: torch.Tensor, other: torch.Tensor, tolerance: float) -> bool:
    return bool(((one - other).abs() <= tolerance).all())
