# SPDX-License-Identifier: Apache-2.0
"""A server tried out on known conversations: one that changes rewards, or texts, is refused.

vLLM puts a sigmoid on a single label unless it is told otherwise, and a request can tell it by a
key that other versions ignore. Such rewards keep their order and lose their differences, so nothing
else would show it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from harness.errors import HarnessError
from harness.models.remote.client import OutOfReach
from harness.models.remote.protocols import Row, Vllm
from harness.models.remote.server import Server
from harness.models.score.encoder import Encoded
from harness.rows.conversation import Turns

# Unlike one another, so that a reward model finds some good and some bad.
TRIED = tuple(
    Turns([{"role": "user", "content": prompt}, {"role": "assistant", "content": response}])
    for prompt, response in (
        ("Which river flows through Paris?", "The Seine flows through Paris."),
        ("Which river flows through Paris?", "bananas bananas bananas"),
        ("What is 17 + 25?", "17 + 25 = 42."),
        ("What is 17 + 25?", "It is 3, or 9. I don't care."),
        ("Write a line about rain.", "Rain taps a patient song upon the tin."),
        ("How do I boil an egg?", "No."),
        ("How do I boil an egg?", "Put it into boiling water for eight minutes, then cool it."),
        ("Translate 'good morning' into French.", "zzzz 0000 ????"),
    )
)

# By how much two computations of a reward may differ, in half precision.
CLOSE = 0.02


def try_out(server: Server, rows: Sequence[Row], pretrained: str | None, eos: str | None) -> None:
    """Refuse a server that has no rewards for known conversations, or none but squashed ones.

    Args:
        server: it.
        rows: the conversations of `TRIED`.
        pretrained: the model; its weights, where they are here, tell what a reward is without a
            sigmoid. None: rewards that all are in 0..1 are meant so.
        eos: the tokenizer's end of sequence.

    Raises:
        HarnessError: the server does not what it is meant to; says what to do.
    """
    rewards = _rewards(server, rows)
    if server.protocol.SENDS_TEXT and eos:
        _refuse_stripping(server, rows[0], eos)
    inside = all(0 <= reward <= 1 for reward in rewards)
    if pretrained is None or not inside or _obeys(server, rows, rewards):
        return
    known = known_rewards(pretrained, rows[:2])
    if known is not None and _alike(rewards, known):
        return
    several = ", ".join(f"{reward:.3g}" for reward in rewards[:4])
    raise OutOfReach(
        f"{server.client.url}: the rewards of {len(rows)} unlike conversations all are in 0..1 "
        f"({several}, ...){_beside(rewards, known)}: {_why(rewards, known)}"
    )


def known_rewards(pretrained: str, rows: Sequence[Row]) -> list[float] | None:
    """The rewards of rows by the weights in a folder; None where there are none, or too large."""
    import psutil

    from harness.models.reward import Reward

    folder = Path(pretrained)
    weights = [*folder.glob("*.safetensors"), *folder.glob("*.bin")] if folder.is_dir() else []
    size = sum(file.stat().st_size for file in weights)
    if not size or 3 * size > psutil.virtual_memory().available:  # float32 of bfloat16, and room
        return None
    try:
        model = Reward(pretrained, device="cpu", dtype="float32", share_prefix=False)
    except HarnessError:  # of a kind that only the server can load
        return None
    return [float(model.scores([Encoded(row.ids, False)])[0]) for row in rows]  # type: ignore[arg-type]


def _rewards(server: Server, rows: Sequence[Row]) -> list[float]:
    found = server.score(rows)
    for one in found:
        if isinstance(one, str):
            raise OutOfReach(f"a trial of {len(rows)} short conversations: {one}")
    return [float(one) for one in found]


def _refuse_stripping(server: Server, row: Row, eos: str) -> None:
    """Refuse a server that takes the letters of its EOS token away from a text's end."""
    longer = row._replace(text=row.text + eos[-1])
    if _rewards(server, [row]) == _rewards(server, [longer]):
        raise OutOfReach(
            f"{server.client.url} gives a text and the same with {eos[-1]!r} behind it one reward: "
            f"it strips the letters of {eos!r} from texts, as OpenRLHF's earlier versions do, and "
            "scores other conversations than it was sent; take a later version"
        )


def _obeys(server: Server, rows: Sequence[Row], plain: Sequence[float]) -> bool:
    """Whether a vLLM does without the sigmoid when it is told to: it shows when it is not told."""
    if not isinstance(server.protocol, Vllm):
        return False
    activated = _rewards(server.otherwise(Vllm(activated=True)), rows)
    return _alike(activated, list(map(_sigmoid, plain))) and not _alike(activated, plain)


def _sigmoid(number: float) -> float:
    return 1 / (1 + math.exp(-number)) if number >= 0 else 1 - _sigmoid(-number)


def _alike(rewards: Sequence[float], known: Sequence[float]) -> bool:
    pairs = zip(rewards, known, strict=False)
    return all(math.isclose(a, b, rel_tol=CLOSE, abs_tol=CLOSE) for a, b in pairs)


def _beside(rewards: Sequence[float], known: Sequence[float] | None) -> str:
    if known is None:
        return ""
    logits = " and ".join(f"{one:.3g}" for one in known)
    return f", and of the first two pretrained= gives {logits}"


def _why(rewards: Sequence[float], known: Sequence[float] | None) -> str:
    meant = "if they are meant so, give raw=True"
    if len(set(rewards)) == 1:
        return f"all alike, as a softmax of a single label makes them; {meant}"
    if known is not None and not _alike(rewards, list(map(_sigmoid, known))):
        return f"it has another model than pretrained=, or changes its rewards; {meant}"
    return (
        "it puts a sigmoid on them; vLLM leaves it out with problem_type: regression in the "
        f"model's config.json; {meant}"
    )
