# SPDX-License-Identifier: Apache-2.0
"""Rewards of rows that begin alike, their beginning computed once, where the model allows it.

Whether it does is tried out when the model is loaded. The rows of a pack must not see one another:
the reward of one is asked for beside different others, and may not change. And it must be the
reward of the row alone. State-space and linear-attention layers, positions that are counted through
the sequence, attention that transformers does not dispatch by name fail one or the other, and are
scored row by row as ever. Attention that reaches back a limited number of tokens is as good as full
for shorter rows; longer ones are scored alone.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from harness.models.score.own_forward import takes
from harness.models.score.packed_attention import EAGER, SDPA, attention_within
from harness.models.score.tree import Pack, Rows, common_beginning

if TYPE_CHECKING:
    from harness.models.score.scorer import Scorer

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

# How much other rows may change a reward, relative to the tolerance between two ways to compute it:
# what a token sees is the same then, so only the kernels' choice of blocks is left.
_LEAK = 0.1

# Tokens of the rows that are tried. An ending behind a long one shows positions that are counted
# through the tree (ALiBi's distances): they are off by that one's length.
_LONGEST, _SHORTEST = 64, 16


# Endings of names that count layers, not tokens: Qwen's max_window_layers, and
# sliding_window_pattern, which says every how many layers one sees everything.
_COUNTS = ("layers", "pattern")


class SharedPrefixes:
    """Scores packs of trees with a scorer's body and head.

    Args:
        scorer: whose model it is; it runs body and head apart and takes padded batches.
        tolerance: between two ways to compute a reward.

    Attributes:
        works: packs give the rewards of single rows.
        reach: rows up to so many tokens; None where every token sees all before it.
    """

    def __init__(self, scorer: Scorer, tolerance: float) -> None:
        self._scorer = scorer
        self.reach = reach(getattr(scorer.model, "config", None))
        reason = self._try_out(tolerance)
        self.works = reason is None
        if reason:
            name = type(scorer.model).__name__
            logger.info("%s: rows that begin alike are scored apart (%s)", name, reason)

    def may_share(self, lengths: Sequence[int]) -> bool:
        """Whether rows of these lengths (in tokens) may be in one pack."""
        longest = max(lengths)
        if not self.works or (self.reach is not None and longest > self.reach):
            return False
        return all(self._scorer.may_share_batch(longest, length) for length in lengths)

    def __call__(self, groups: Sequence[Rows]) -> list[list[Any]]:
        """The rewards of each group's rows; each group is a tree, and all are one pack."""
        with torch.inference_mode():
            rewards = self._rewards(groups)
        return [one.double().cpu().tolist() for one in rewards]

    def _rewards(self, groups: Sequence[Rows]) -> list[torch.Tensor]:
        scorer = self._scorer
        every = [row for rows in groups for row in rows]
        # Chat templates put the same tokens before all conversations.
        pack = Pack.of(groups, common_beginning(every) if len(groups) > 1 else 0)
        with attention_within(pack.trees):
            states = scorer.states(
                torch.tensor([pack.ids]),
                position_ids=torch.tensor([pack.positions], device=scorer.device),
                # Of four dimensions, so that transformers makes none; it is not looked at.
                attention_mask=torch.zeros(1, 1, 1, 1, device=scorer.device),
            )
        places = [
            tree.place(number, scorer.pooled(row))
            for tree, rows in zip(pack.trees, groups, strict=True)
            for number, row in enumerate(rows)
        ]
        rewards = scorer.reward_of(states[0, torch.tensor(places, device=states.device)])
        return list(rewards.split([len(rows) for rows in groups]))

    def _try_out(self, tolerance: float) -> str | None:
        """Why packs can't be had; None if they can."""
        scorer = self._scorer
        body: Any = scorer.body
        if not (takes(body, "position_ids") and takes(body, "attention_mask")):
            return "its body takes no positions"
        config: Any = getattr(body, "config", None)
        text = config.get_text_config() if hasattr(config, "get_text_config") else config
        if getattr(text, "attn_temperature_tuning", False):  # of Llama 4, from 8,192 tokens on
            return "its attention is scaled by the place in the sequence"
        attention = getattr(config, "_attn_implementation", None)
        if attention not in (SDPA, EAGER):
            return f"its attention is {attention}, not {SDPA} or {EAGER}"
        limits = [limit for limit in (self.reach, scorer.rope.limit) if limit is not None]
        longest = min([_LONGEST, *limits])
        if longest < _SHORTEST:
            return f"rows of more than {longest} tokens can't go together"
        vocabulary = scorer.vocab_size
        start = [(7919 * index + 13) % vocabulary for index in range(5)]
        one = start + [(104729 * index + 7) % vocabulary for index in range(longest - 5)]
        other = start + [(15485863 * index + 29) % vocabulary for index in range(longest - 5)]
        last = start + [(611953 * index + 3) % vocabulary for index in range(6)]
        try:
            with torch.inference_mode():
                beside_one = torch.cat(self._rewards([[one, last], [other]]))
                beside_other = torch.cat(self._rewards([[other, last], [one]]))
                alone = torch.stack([scorer.rewards([row])[0] for row in (one, last, other)])
        except Exception as error:  # a structure not ours to know
            return f"its body can't be told what a token sees: {type(error).__name__}"
        if not bool(((beside_one[1] - beside_other[1]).abs() <= _LEAK * tolerance).all()):
            return "one row changes another's reward"
        if not bool(((beside_one - alone).abs() <= tolerance).all()):
            return "a pack does not give the single rows' rewards"
        return None


def reach(config: Any) -> int | None:
    """The shortest distance that a config limits attention to, by a window or by chunks."""
    text: Any = config.get_text_config() if hasattr(config, "get_text_config") else config
    limits = [
        value
        for name, value in vars(text).items()
        if ("window" in name or "chunk" in name)
        and not name.endswith(_COUNTS)
        and isinstance(value, int)
        and not isinstance(value, bool)
        and value > 0
    ]
    return min(limits, default=None)
