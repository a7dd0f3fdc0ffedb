# SPDX-License-Identifier: Apache-2.0
"""A reward model as a function of prompts and completions, as training loops call for rewards.

TRL's trainers score with a checkpoint that they are given by its path, too: each completion with
its prompt by itself, padded to the longest of the batch, and with whatever head and dtype
transformers makes of it. Here the completions of one prompt are one tree, whose prompt is computed
once, and the number is the one that ``lm_eval --model reward`` and ``dogerm score`` give.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, at
from harness.models.load.arguments import number, parameters, refuse_misspelt
from harness.models.reward import Reward
from harness.models.routing.scale import Scale
from harness.rows.conversation import Conversation, as_response, messages_of, plain_text
from harness.rows.forms import TRANSCRIPT, read_prompt
from harness.rows.messages import is_messages, messages
from harness.rows.text import shown
from harness.runs.quiet import at_level

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

Text = str | Sequence[Mapping[str, Any]]


class RewardFunction:
    """What TRL's GRPO, RLOO and online-DPO trainers take as ``reward_funcs``.

    A reward goes through these in this order, each of which is off unless it is given.

    Args:
        pretrained: folder or Hub id of the reward model.
        calibration: a file with the mean and standard deviation of the model's rewards, as ``dogerm
            score --calibration`` and ``dogerm train router`` write it: rewards are then in standard
            deviations from the mean.
        expert: whose scale it is, where the file has several.
        clip: rewards are at most this far from 0, before anything is taken off for length.
        length_penalty: taken off for each token of a completion, by the reward model's tokenizer.
        batch_size: lm-eval's.
        arguments: of `Reward`: ``dtype``, ``max_length``, ``chat_template``, ``peft``, ...

    Raises:
        HarnessError: the model or the file can't be read, or an argument makes no sense.
    """

    def __init__(
        self,
        pretrained: str | Path,
        *,
        calibration: str | Path | None = None,
        expert: str | None = None,
        clip: float | None = None,
        length_penalty: float = 0.0,
        batch_size: int | str = "auto",
        **arguments: Any,
    ) -> None:
        from lm_eval.models.huggingface import HFLM

        own, its = parameters(RewardFunction, RewardFunction), parameters(Reward, HFLM)
        refuse_misspelt(arguments, own | its)
        self.scale = None if calibration is None else read_scale(Path(calibration), expert)
        self.clip = None if clip is None else number(clip, "clip", positive=True)
        self.length_penalty = number(length_penalty, "length_penalty", positive=False)
        # TRL logs the rewards as rewards/NAME
        self.__name__ = Path(str(pretrained)).name or "reward"
        self.model = Reward(str(pretrained), batch_size=batch_size, **arguments)
        self._called = False

    def __call__(
        self, prompts: Sequence[Text], completions: Sequence[Text], **columns: Any
    ) -> list[float]:
        """The reward of each completion.

        Args:
            prompts: of each completion, a text (one turn of the user's, or a transcript) or
                messages.
            completions: texts, or lists of messages.
            columns: what else a trainer gives a reward function; not looked at.

        Raises:
            HarnessError: they are not as many, one is no conversation, or a reward is NaN.
        """
        from lm_eval.api.instance import Instance

        if len(prompts) != len(completions):
            raise HarnessError(f"{len(prompts)} prompts for {len(completions)} completions")
        requests = []
        for place, pair in enumerate(zip(prompts, completions, strict=True)):
            with at(f"completion {place}"):
                context, answer = _conversation(*pair)
            requests.append(Instance("loglikelihood", {}, (context, answer), 0, ("", place, 1)))
        # What is to be said of the template is said at the first step.
        level = logging.ERROR if self._called else logging.getLogger("lm_eval").level
        cut = self.model.truncated_rows
        with at_level("lm_eval", level):
            answers = self.model.loglikelihood(requests, disable_tqdm=True)
        if self._called and not cut and self.model.truncated_rows:
            logger.warning(
                "completions %s: with their prompts longer than max_length=%d tokens, they lost "
                "their beginning; later ones are not told",
                ", ".join(str(at) for at, one in enumerate(answers) if one[2]["truncated"]),
                self.model.max_length,
            )
        self._called = True
        texts = [str(request.args[1]) for request in requests]
        return [
            self._adjusted(float(answer[0]), text)
            for answer, text in zip(answers, texts, strict=True)
        ]

    def _adjusted(self, reward: float, text: str) -> float:
        if self.scale is not None:
            reward = self.scale.standard(reward)
        if self.clip is not None:
            reward = max(-self.clip, min(self.clip, reward))
        if self.length_penalty:
            tokens = self.model.tokenizer(text, add_special_tokens=False)["input_ids"]
            reward -= self.length_penalty * len(tokens)
        return reward


def _conversation(prompt: Text, completion: Text) -> tuple[Conversation, str]:
    """A prompt as a context, and a completion as an answer to it; texts as `dogerm score` reads."""
    transcript = False
    if isinstance(prompt, str):
        parsed = read_prompt(prompt)
        turns, transcript = parsed.turns, parsed.form == TRANSCRIPT
    else:
        turns = [dict(turn) for turn in prompt]
    # the assistant's turn that the completion goes on from, as TRL has it too
    begun = bool(turns) and turns[-1].get("role") == "assistant"
    read = messages(turns) if begun else messages_of(turns)
    context = Conversation(plain_text(read), read)
    if isinstance(completion, str):
        return context, completion.strip() if transcript else completion
    if not is_messages(completion):
        raise HarnessError(f"is {shown(completion)}, expected a text or messages")
    answer = messages(completion)
    if len(answer) == 1 and answer[0].keys() == {"role", "content"}:
        return context, str(answer[0]["content"])
    return context, as_response(answer)


def read_scale(path: Path, expert: str | None = None) -> Scale:
    """The scale in a calibration file: one alone, or one of several by name.

    Raises:
        HarnessError: it holds none, or several and nobody says which.
    """
    import yaml

    try:
        content = yaml.safe_load(path.expanduser().read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise HarnessError(f"{path} can't be read: {' '.join(str(error).split())}") from error
    scales = content.get("calibration", content) if isinstance(content, Mapping) else None
    if (
        isinstance(scales, Mapping)
        and scales
        and all(isinstance(s, Mapping) for s in scales.values())
    ):
        names = [str(name) for name in scales]
        if expert is None and len(names) > 1:
            raise HarnessError(f"{path} has the scales of {', '.join(names)}; say expert=")
        if expert is not None and expert not in names:
            raise HarnessError(f"{path} has no scale of {expert}, but of {', '.join(names)}")
        scales = scales[expert or names[0]]
    elif expert is not None:
        raise HarnessError(f"{path} has one scale and no names, so expert={expert} has no meaning")
    try:
        mean, deviation = float(scales["mean"]), float(scales["std"])  # type: ignore[index]
    except (TypeError, KeyError, ValueError):
        mean = deviation = math.nan
    if not (math.isfinite(mean) and 0 < deviation < math.inf):
        raise HarnessError(f"{path} holds no mean and std of rewards, as in mean: 0.5, std: 2")
    return Scale(mean=mean, std=deviation)
