# SPDX-License-Identifier: Apache-2.0
"""What each kind of server is asked for rewards, and where they stand in its answer.

Each is sent what makes it score the tokens that a local model scores. Messages would be rendered by
the server's own template, on its own date; so none is sent them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from harness.errors import HarnessError


class Row(NamedTuple):
    """A conversation for a server.

    Attributes:
        ids: its tokens, whose last is where the reward is read.
        text: what a server's tokenizer makes these tokens of; empty where ids are sent.
    """

    ids: list[int]
    text: str = ""


class Unexpected(HarnessError):
    """An answer that is none to what was asked."""


class Protocol(ABC):
    """A server's way to be asked.

    Attributes:
        PATH: below ``base_url``.
        SENDS_TEXT: the server takes no token ids.
        MAX_LENGTH: tokens that it reads of a conversation unless it is told otherwise; None: what
            the model takes, and more is refused.
    """

    PATH: ClassVar[str]
    SENDS_TEXT: ClassVar[bool] = False
    MAX_LENGTH: ClassVar[int | None] = None

    @abstractmethod
    def asks(self, rows: Sequence[Row], model: str | None) -> dict[str, Any]:
        """The request's JSON."""

    @abstractmethod
    def rewards(self, answer: Any, count: int) -> list[Any]:
        """What the answer's JSON has for each of so many rows, a number if all is well.

        Raises:
            Unexpected: it has another form, or another number of rewards.
        """

    def tokens(self, answer: Any) -> int | None:
        """How many tokens the server has read for an answer; None where it does not say."""
        return None


class Vllm(Protocol):
    """vLLM's ``POST /classify``, as read in vllm 0.33.0, and run with 0.32.0.

    ``entrypoints/pooling/base/protocol.py``: ``input`` takes lists of token ids, and
    ``use_activation`` (whose default puts a sigmoid on a single label, unless config.json says
    ``problem_type: regression``) is off when it is false. Keys that a version does not know are
    ignored (``entrypoints/serve/engine/protocol.py``), so that ``activation``, the key of versions
    before 0.11.2, is sent too. ``entrypoints/pooling/classify/serving.py``: the numbers are called
    ``probs`` whether an activation made them or not.

    Args:
        activated: ask for the activation, to see what the server makes of the key.
    """

    PATH = "/classify"

    def __init__(self, activated: bool = False) -> None:
        self._activated = activated

    def asks(self, rows: Sequence[Row], model: str | None) -> dict[str, Any]:
        """Token ids, and no activation."""
        named = {} if model is None else {"model": model}
        return {
            "input": [row.ids for row in rows],
            "use_activation": self._activated,
            "activation": self._activated,
            "add_special_tokens": False,
            **named,
        }

    def rewards(self, answer: Any, count: int) -> list[Any]:
        """``data``, each with its ``index`` and one of ``probs``."""
        data = _list_of(answer["data"] if _has(answer, "data") else answer, count)
        found = {one.get("index"): one.get("probs") for one in data if isinstance(one, Mapping)}
        if set(found) != set(range(count)):
            raise Unexpected(f"the answer's indices are {sorted(map(str, found))}")
        return [_single(found[number]) for number in range(count)]

    def tokens(self, answer: Any) -> int | None:
        """``usage``, of all rows together."""
        usage = answer.get("usage") if isinstance(answer, Mapping) else None
        return usage.get("prompt_tokens") if isinstance(usage, Mapping) else None


class Sglang(Protocol):
    """SGLang's own ``POST /classify``, as read in sglang 0.5.23.

    ``srt/entrypoints/http_server.py`` and ``srt/managers/io_struct.py`` (``EmbeddingReqInput``):
    ``input_ids`` takes lists of token ids, where ``text`` would get a second first token. The
    answer is a list with an ``embedding`` each, the head's own number. (``POST /v1/classify`` is
    another: ``srt/entrypoints/openai/serving_classify.py`` puts a softmax on the numbers, which
    makes each reward 1.)
    """

    PATH = "/classify"

    def asks(self, rows: Sequence[Row], model: str | None) -> dict[str, Any]:
        """Token ids."""
        return {"input_ids": [row.ids for row in rows]}

    def rewards(self, answer: Any, count: int) -> list[Any]:
        """An ``embedding`` of one number each."""
        data = _list_of(answer, count)
        return [_single(one.get("embedding") if isinstance(one, Mapping) else one) for one in data]

    def tokens(self, answer: Any) -> int | None:
        """``meta_info``, of each row."""
        told = [one.get("meta_info") for one in answer if isinstance(one, Mapping)]
        counts = [one.get("prompt_tokens") for one in told if isinstance(one, Mapping)]
        known = [count for count in counts if isinstance(count, int)]
        return sum(known) if len(known) == len(answer) else None


class Openrlhf(Protocol):
    """OpenRLHF's ``POST /get_reward``, as read in OpenRLHF 0.11.2, and run.

    ``openrlhf/cli/serve_rm.py``: ``query`` is a list of texts, tokenized as they are
    (``add_special_tokens=False``) and cut to ``--data.max_len`` (2048) without a word; the answer
    is ``rewards``, a list. Earlier versions (commit 080b54f) strip the letters of the pad and EOS
    token from both ends of a text and add a first token: `squashed` refuses these.
    """

    PATH = "/get_reward"
    SENDS_TEXT = True
    MAX_LENGTH = 2048

    def asks(self, rows: Sequence[Row], model: str | None) -> dict[str, Any]:
        """Texts."""
        return {"query": [row.text for row in rows]}

    def rewards(self, answer: Any, count: int) -> list[Any]:
        """``rewards``, a list."""
        found = _list_of(answer["rewards"] if _has(answer, "rewards") else answer, count)
        return [_single(one) if isinstance(one, list) else one for one in found]


# What ``api=`` takes.
PROTOCOLS: dict[str, type[Protocol]] = {"vllm": Vllm, "sglang": Sglang, "openrlhf": Openrlhf}


def _has(answer: Any, key: str) -> bool:
    return isinstance(answer, Mapping) and key in answer


def _list_of(found: Any, count: int) -> list[Any]:
    if not isinstance(found, list):
        raise Unexpected(f"the answer is {str(found)[:80]!r}, no list of rewards")
    if len(found) != count:
        raise Unexpected(f"{len(found)} rewards came back for {count} conversations")
    return found


def _single(numbers: Any) -> Any:
    """The one number of a list; several are of a classifier."""
    if isinstance(numbers, list) and len(numbers) > 1:
        raise Unexpected(
            f"{len(numbers)} numbers came back for a conversation: the server has a classifier, or "
            "a model that gives each token its own, and not one reward"
        )
    return numbers[0] if isinstance(numbers, list) and numbers else numbers
