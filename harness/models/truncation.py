# SPDX-License-Identifier: Apache-2.0
"""What lm-eval's ``hf`` model does not say of a likelihood: whether its row was truncated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.rows.answer import LIKELIHOOD, Answer
from harness.rows.conversation import Conversation

# As HFLM._loglikelihood_tokens gets them: (context, continuation), and the tokens of both.
Request = tuple[Any, list[int], list[int]]


def is_ours(request: Request) -> bool:
    """Whether a request is one of this project's tasks; of a text alone it is under no key."""
    key = request[0]
    return isinstance(key, tuple) and isinstance(key[0], Conversation)


def with_truncation(
    lm: Any, requests: Sequence[Request], compute: Callable[[], list[tuple[float, bool]]]
) -> list[tuple[Any, ...]]:
    """The likelihoods that `compute` gives; those of this project's tasks as an `Answer`.

    lm-eval cuts the beginning off a row that does not fit, logs that much, and stops with a bare
    ``AssertionError`` where the response alone does not fit. It counts nothing.

    Raises:
        HarnessError: a response is longer than the model's context.
    """
    ours = [is_ours(request) for request in requests]
    for mine, (key, _, response) in zip(ours, requests, strict=True):
        if mine and len(response) > lm.max_length:
            raise HarnessError(
                f"a response of {len(response)} tokens ({str(key[1])[:60]!r}, prompt "
                f"{str(key[0])[:60]!r}) does not fit into the model's {lm.max_length} tokens; "
                "leave the row out, or give max_length= where the model can take more"
            )
    answers: list[tuple[Any, ...]] = []
    for mine, answer, (_, prompt, response) in zip(ours, compute(), requests, strict=True):
        # A decoder reads prompt and response but for the last token; an encoder the prompt.
        length = len(prompt) + len(response) - 1 if lm.backend == "causal" else len(prompt)
        details = {"kind": LIKELIHOOD, "truncated": length > lm.max_length}
        answers.append(tuple(Answer(answer[0], answer[1], details)) if mine else tuple(answer))
    return answers
