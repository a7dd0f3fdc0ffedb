# SPDX-License-Identifier: Apache-2.0
"""Likelihoods of this project's rows by lm-eval's ``hf``, what they begin with computed once.

lm-eval computes each row by itself, prompt and all, and the whole vocabulary's logits for each
token of it. Here the rows of a prompt are a tree, as for a reward model; what counts as context and
response, what is cut off and in which dtype the softmax runs stay lm-eval's. Rows of other tasks,
and all with ``--batch_size 1``, are left to lm-eval; so is a model that does not allow it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM

from harness.models.score import progress
from harness.models.score.batches import Row
from harness.models.score.encoder import Encoded
from harness.models.score.log_probs import Forward, SharedLogProbs
from harness.models.score.passes import Passes
from harness.models.truncation import Request, is_ours, with_truncation

# A likelihood, and whether the response is what the model would have chosen itself.
Likelihood = tuple[float, bool]

# Where a model's `SharedLikelihoods` is kept.
_KEPT = "_dogerm_shared_likelihoods"


def answers(
    lm: Any,
    requests: Sequence[Request],
    by_lm_eval: Callable[..., list[Likelihood]],
    *args: Any,
    **kwargs: Any,
) -> list[tuple[Any, ...]]:
    """The likelihoods of all requests, in their order; see `with_truncation`.

    Args:
        lm: lm-eval's ``hf`` model, or a class made from it.
        requests: as `HFLM._loglikelihood_tokens` gets them.
        by_lm_eval: its own way, for what can't be shared.
        args: more arguments for that.
        kwargs: the same; ``disable_tqdm`` is heard here, too.

    Raises:
        HarnessError: a response is longer than the model's context.
    """
    hidden = bool(kwargs.get("disable_tqdm"))

    def rest(left: list[Request]) -> list[Likelihood]:
        return by_lm_eval(left, *args, **kwargs)

    return with_truncation(lm, requests, lambda: _likelihoods(lm, requests, rest, hidden))


def _likelihoods(
    lm: Any,
    requests: Sequence[Request],
    rest: Callable[[list[Request]], list[Likelihood]],
    hidden: bool,
) -> list[Likelihood]:
    # A response without tokens is left to lm-eval to refuse.
    ours = [n for n, request in enumerate(requests) if is_ours(request) and request[2]]
    if not ours or not _may_be_shared(lm):
        return rest(list(requests))
    if not hasattr(lm, _KEPT):
        setattr(lm, _KEPT, SharedLikelihoods(lm))
    shared: SharedLikelihoods = getattr(lm, _KEPT)
    found: list[Likelihood | None] = [None] * len(requests)
    for number, answer in zip(
        ours, shared([requests[number] for number in ours], hidden), strict=True
    ):
        found[number] = answer
    left = [request for request, answer in zip(requests, found, strict=True) if answer is None]
    of_left = iter(rest(left) if left else ())
    return [next(of_left) if answer is None else answer for answer in found]


def _may_be_shared(lm: Any) -> bool:
    """Whether a model is a decoder run as ``hf`` runs it, on several rows at a time."""
    own = type(lm)._model_call is HFLM._model_call
    return own and lm.backend == "causal" and str(lm.batch_size) != "1"


class SharedLikelihoods:
    """Scores the rows of one ``hf`` model.

    Args:
        lm: the model.
    """

    def __init__(self, lm: Any) -> None:
        self._lm = lm
        run = Forward(lm.model, lm.device, autocast=lm.mixed_precision_dtype)
        self._sharing = SharedLogProbs(run)
        self._sharing.read = self._read
        self.may_share_beginning = self._sharing.may_share
        self.may_share_batch = run.may_share_batch
        self._passes = Passes(self, reads_every_token=True)

    @property
    def batch_size(self) -> Any:
        """Rows of a pass, or ``auto``."""
        return self._lm.batch_size

    @property
    def max_batch_size(self) -> Any:
        """Rows of a pass with ``auto``."""
        return self._lm.max_batch_size

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return torch.device(self._lm.device)

    def __call__(self, requests: Sequence[Request], hidden: bool) -> list[Likelihood | None]:
        """The likelihoods; None of a row that can't be in a pack."""
        lm = self._lm
        made: list[Likelihood | None] = [None] * len(requests)
        if not self._sharing.works:
            return made
        rows = [_encoded(request, lm.max_length) for request in requests]
        packed = self._passes.of(
            [len(row.ids) for row in rows],
            [tuple(context) for _, context, _ in requests],
            lambda number: rows[number].ids,
            _none,
        )
        with progress.bar(len(rows), hidden=hidden or lm.rank != 0) as bar:
            for groups in packed:
                numbers = [row.number for group in groups for row in group]
                scores = self._passes.score([[rows[row.number] for row in g] for g in groups])
                for number, score in zip(numbers, scores, strict=True):
                    made[number] = score
                    lm.cache_hook.add_partial("loglikelihood", requests[number][0], score)
                bar.update(len(numbers))
        return made

    def tree_scores(self, groups: Sequence[Sequence[Encoded]]) -> list[list[Likelihood]]:
        """The likelihoods of groups of rows that begin alike."""
        return [
            [(float(one[:, 0].sum()), bool(one[:, 1].all())) for one in rows]
            for rows in self._sharing(groups)
        ]

    def _read(self, logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Of each token its log-probability, and 1 where no other one has a larger."""
        chances = logits.log_softmax(-1, dtype=self._lm.softmax_dtype)
        of_tokens = chances.gather(1, tokens[:, None])
        greedy = (chances.argmax(-1) == tokens)[:, None]
        return torch.cat([of_tokens, greedy.to(of_tokens.dtype)], dim=1)


def _encoded(request: Request, most: int) -> Encoded:
    """A row as lm-eval cuts it: its last token is predicted and not read."""
    _, context, response = request
    ids = [*context, *response][-(most + 1) :]
    return Encoded(ids, False, len(ids) - len(response))


def _none(rows: list[Row]) -> Iterator[list[Row]]:
    """No batch: what can't be in a pack is lm-eval's."""
    return iter(())
