# SPDX-License-Identifier: Apache-2.0
"""A chat template tried on two prompts and two responses before anything is scored with it.

A template that leaves the response out gives every response of a prompt one reward: all ties, and
an accuracy of 0 that looks like a bad model. One that leaves the prompt out may be meant so.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

from harness.errors import HarnessError
from harness.models.score.rendering import OutOfBounds, Rendering
from harness.rows.conversation import Message

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

# Letters, digits and spaces alone, so that no escaping changes them; none is in another.
_EARLIER = ("Is the harbour still frozen in April", "No, the ice has gone by then")
_PROMPTS = ("Which river flows through Paris", "How many apples are on the table")
_RESPONSES = ("It must be the Seine, I believe", "There are seventeen, and two pears")
_SYSTEM = "You answer briefly"

# A function or a generator that a template prints instead of calling it or making it a list.
_OBJECT = re.compile(r"<[^<>]* at 0x[0-9a-fA-F]+>")


# What stands before the prompt of a trial.
_SHORT: list[Message] = []
_WITH_SYSTEM: list[Message] = [{"role": "system", "content": _SYSTEM}]
_LONG: list[Message] = [
    {"role": "user", "content": _EARLIER[0]},
    {"role": "assistant", "content": _EARLIER[1]},
]


def try_out(rendering: Rendering, model: str) -> None:
    """Refuse a template that renders no response; warn of one that renders no prompt.

    Nothing is said of a template that takes none of the conversations tried here: it may want tools
    or a role of its own, and the rows have them. What it refuses in a row is told with the row.

    Args:
        rendering: the template.
        model: whose it is, for messages.

    Raises:
        HarnessError: unlike responses are rendered alike, or a Python object is printed.
    """
    try:
        _try_out(rendering, f"{model}: the chat template ({rendering.source})")
    except OutOfBounds:
        return  # so it will be with the first row, and that is told with the row


def _try_out(rendering: Rendering, about: str) -> None:
    way_out = "give the one that the model was trained with by --model_args chat_template="
    for before in (_SHORT, _WITH_SYSTEM, _LONG):
        texts = _rendered(rendering, before)
        if texts is None:
            continue
        _refuse_objects(texts, about, way_out)
        one, other_response, other_prompt = texts
        if one == other_response:
            raise HarnessError(
                f"{about} renders unlike responses to the same text ({_shown(one)}), so every "
                f"response would have one reward; {way_out}"
            )
        if not _is_in(_RESPONSES[0], one) or not _is_in(_RESPONSES[1], other_response):
            raise HarnessError(
                f"{about} does not render the response {_RESPONSES[0]!r} as it is, but "
                f"{_shown(one)}; {way_out}"
            )
        if one == other_prompt or not _is_in(_PROMPTS[0], one):
            logger.warning(
                "%s leaves the prompt out: rewards are those of responses to nothing; if that is "
                "not meant, %s",
                about,
                way_out,
            )
        elif before is not _LONG:
            _warn_of_lost_turns(rendering, before, about)
        return


def _warn_of_lost_turns(rendering: Rendering, before: list[Message], about: str) -> None:
    texts = _rendered(rendering, [*before, *_LONG])
    lost = [] if texts is None else [turn for turn in _EARLIER if not _is_in(turn, texts[0])]
    if lost:
        logger.warning(
            "%s leaves earlier turns of a conversation out (%s of four turns): rows of several "
            "turns are scored without them",
            about,
            "two" if len(lost) > 1 else "one",
        )


def _rendered(rendering: Rendering, before: list[Message]) -> tuple[str, str, str] | None:
    """The first prompt with both responses, and the second with the first; None if it refuses."""

    def texts() -> Iterator[str]:
        for prompt, response in ((0, 0), (0, 1), (1, 0)):
            asked = {"role": "user", "content": _PROMPTS[prompt]}
            answer = {"role": "assistant", "content": _RESPONSES[response]}
            yield rendering.text([*before, asked, answer])

    try:
        one, two, three = texts()
    except OutOfBounds:
        raise
    except HarnessError:
        return None
    return one, two, three


def _refuse_objects(texts: tuple[str, ...], about: str, way_out: str) -> None:
    printed = next(filter(None, map(_OBJECT.search, texts)), None)
    if printed:
        raise HarnessError(
            f"{about} prints the Python object {printed[0]}, whose address is another one in every "
            f"run; {way_out}"
        )


def _is_in(part: str, text: str) -> bool:
    """Whether a text has a part, whatever the template does to case, blanks and punctuation."""
    return _letters(part) in _letters(text)


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:40]} ... {text[-40:]}")
