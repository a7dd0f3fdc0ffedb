# SPDX-License-Identifier: Apache-2.0
"""How often each stage's model prefers the chosen answer, on rows that no stage has learned.

A reward model goes by its rewards, a language model by the mean log-probability of an answer's
tokens. A tie is wrong. A prompt counts once, by the share of its pairs that are right: the pairs of
a prompt share answers, so they are not independent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dogerm_plugin.files import digests
from dogerm_plugin.files.atomic import write_text
from harness.models.language_model import LanguageModelLoader, refuse_random_head
from harness.models.load import stored_head
from harness.training.gather import Part
from harness.training.language_head import LanguageHead
from harness.training.rewards import score, score_in_fp32
from harness.training.shared_prefix import share_prefix
from harness.training.split import prompt_key
from harness.training.tokens import answer_ids
from harness.training.trainer import load_model
from harness.training.turns import parse_turns

LANGUAGE_MODEL, GENERAL, CUSTOMIZED = "language model", "general", "customized"


@dataclass(frozen=True)
class Scored:
    """What a stage's model has right.

    Attributes:
        stage: language model, general or customized.
        name: the domain's, of a customised model; else the stage's.
        model: the folder or Hub id of the whole model.
        right: by set of rows, each prompt's share of pairs that are right.
        pairs: by set of rows, how many pairs.
    """

    stage: str
    name: str
    model: str
    right: dict[str, list[float]]
    pairs: dict[str, int]


def score_stage(
    stage: str,
    name: str,
    model: str,
    held_out: Mapping[str, Part],
    tokenizer: Any,
    dtype: str,
    batch_size: int,
    keep: Path,
) -> Scored:
    """Score a stage's model, or take what was kept of the same model and rows.

    Args:
        stage: see `Scored`.
        name: see `Scored`.
        model: folder or Hub id.
        held_out: rows by set.
        tokenizer: the models'.
        dtype: to compute in.
        batch_size: conversations.
        keep: a file for the result.
    """
    parts = list(held_out.values())
    ids = [[one["chosen_ids"], one["rejected_ids"]] for part in parts for one in part.ids]
    weights = digests.of_model(Path(model)) if Path(model).is_dir() else model
    told = [stage, weights, dtype, list(held_out), digests.of_text(json.dumps(ids))]
    of = digests.of_text(json.dumps(told))
    kept = json.loads(keep.read_text("utf-8")) if keep.is_file() else {}
    if kept.get("of") != of:
        scores = _by_language if stage == LANGUAGE_MODEL else _by_reward
        chosen, rejected = scores(model, parts, tokenizer, dtype, batch_size)
        kept = {"of": of, "right": _by_prompt(held_out, chosen, rejected)}
        keep.parent.mkdir(parents=True, exist_ok=True)
        write_text(keep, json.dumps(kept))
    pairs = {name: len(part.rows) for name, part in held_out.items()}
    return Scored(stage, name, model, kept["right"], pairs)


def _by_prompt(
    held_out: Mapping[str, Part], chosen: Sequence[float], rejected: Sequence[float]
) -> dict[str, list[float]]:
    right = iter([float(one > other) for one, other in zip(chosen, rejected, strict=True)])
    made = {}
    for name, part in held_out.items():
        prompts: dict[str, list[float]] = {}
        for row in part.rows:
            prompts.setdefault(prompt_key(row["prompt"]), []).append(next(right))
        made[name] = [sum(values) / len(values) for values in prompts.values()]
    return made


def _by_reward(
    model: str, parts: Sequence[Part], tokenizer: Any, dtype: str, batch_size: int
) -> tuple[list[float], list[float]]:
    from transformers import AutoModelForSequenceClassification

    network = load_model(AutoModelForSequenceClassification, model, dtype)
    stored_head.restore(network, model, {})
    # a reward is read before it; a model that is given may say nothing, or another token
    network.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    score_in_fp32(network)
    share_prefix(network)
    network.to(_device())
    sides = [
        [tuple(ids[key]) for part in parts for ids in part.ids]
        for key in ("chosen_ids", "rejected_ids")
    ]
    distinct = list(dict.fromkeys(sides[0] + sides[1]))  # an answer may stand in many pairs
    rewards = score(network, [list(one) for one in distinct], tokenizer.pad_token_id, batch_size)
    by_ids = dict(zip(distinct, rewards, strict=True))
    chosen, rejected = ([by_ids[one] for one in side] for side in sides)
    return chosen, rejected


def _by_language(
    model: str, parts: Sequence[Part], tokenizer: Any, dtype: str, batch_size: int
) -> tuple[list[float], list[float]]:
    import torch
    from torch.nn.utils.rnn import pad_sequence
    from transformers import AutoModelForCausalLM

    loader = LanguageModelLoader(AutoModelForCausalLM)
    causal = load_model(loader, model, dtype).to(_device()).eval()
    refuse_random_head(loader, causal.config, model, "start from a language model", {})
    trunk = getattr(causal, causal.base_model_prefix)
    head = LanguageHead(causal)
    rows = [row for part in parts for row in part.rows]
    asked = [(parse_turns(row["prompt"]), row[side]) for side in _SIDES for row in rows]
    given = [answer_ids(tokenizer, *one) for one in asked]
    means = [0.0] * len(given)
    order = sorted(range(len(given)), key=lambda i: len(given[i][0]))
    for start in range(0, len(order), batch_size):
        at = order[start : start + batch_size]
        ids, labels = (
            pad_sequence([torch.tensor(given[i][n]) for i in at], True, fill).to(_device())
            for n, fill in ((0, tokenizer.pad_token_id), (1, -100))
        )
        lengths = torch.tensor([len(given[i][0]) for i in at], device=ids.device)
        mask = (torch.arange(ids.shape[1], device=ids.device)[None] < lengths[:, None]).long()
        with torch.no_grad():
            states = trunk(input_ids=ids, attention_mask=mask).last_hidden_state
            sums = head.token_log_probs(states, labels).sum(dim=1)
        counts = (labels[:, 1:] != -100).sum(dim=1)
        for i, mean in zip(at, (sums / counts).tolist(), strict=True):
            means[i] = mean
    return means[: len(rows)], means[len(rows) :]


_SIDES = ("chosen", "rejected")


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
