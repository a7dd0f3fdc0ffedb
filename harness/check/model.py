# SPDX-License-Identifier: Apache-2.0
"""What a model would see of the rows: rendered and counted with its tokenizer, nothing scored."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, first_line
from harness.rows.conversation import Turns
from harness.rows.differences import differ_in_blanks, differing_keys
from harness.rows.faults import Fault, Faults
from harness.rows.hidden import HiddenParts
from harness.rows.markup import Markup

# Where configs say how many tokens a model takes, as lm-eval looks for it.
LENGTHS = ("n_positions", "max_position_embeddings", "n_ctx")
UNKNOWN = 2048  # lm-eval's, where nothing says it
ENDLESS = 10**29  # a tokenizer's way of saying that it has no limit


class SeenByModel:
    """Looks at conversations as a model's tokenizer and chat template have them.

    Args:
        name: folder or Hub id of the model.
        chat_template: as in ``--model_args``.
        allow_markup: special tokens may stand in texts.

    Raises:
        HarnessError: there is no such tokenizer, or no such template.
    """

    def __init__(self, name: str, chat_template: str | None, allow_markup: bool) -> None:
        from harness.models.score import template_trial
        from harness.models.score.chat_template import choose_template
        from harness.models.score.encoder import Encoder

        tokenizer, longest = _load(name)
        template = choose_template(tokenizer, chat_template)
        self.encoder = Encoder(tokenizer, template, ENDLESS)  # to count what would be cut off
        template_trial.try_out(self.encoder.rendering, name)
        self.max_length = longest
        self.allow_markup = allow_markup
        self.markup = Markup(tokenizer, self.encoder.render)
        self.hidden = HiddenParts(self.encoder.render)
        self.refused = Faults()
        self.marked = Faults()
        self.same = Faults()
        self.alike = Fault("the two answers look the same to the model")
        self.lengths: Counter[int] = Counter()
        self.cut = 0
        self.first: tuple[str, str] | None = None

    def see(self, place: str, both: list[Turns]) -> None:
        """Render and measure the conversations of a row, and note what is wrong with them."""
        try:
            texts = [self.encoder.render(turns) for turns in both]
            marks = [mark for turns in both if (mark := self.markup.find(turns)) is not None]
            for turns in both:
                self.hidden.see(turns)
                self._measure(turns)
        except HarnessError as error:
            self.refused.add(str(error), place)
            return
        if marks:
            self.marked.add(f"the {marks[0].role}'s text holds {marks[0].text!r}", place)
        self.first = self.first or (place, texts[0])
        if len(both) == 2 and texts[0] == texts[1] and both[0] != both[1]:
            if differ_in_blanks(*both):
                self.alike.add(place)
            else:
                self.same.add(f"they differ in {', '.join(differing_keys(*both))}", place)

    def _measure(self, turns: Turns) -> None:
        ids, _ = self.encoder.encode(turns)
        self.lengths[len(ids)] += 1
        self.cut += len(ids) > self.max_length

    def faults(self) -> int:
        """In how many rows a task would stop."""
        marked = 0 if self.allow_markup else self.marked.rows
        return self.refused.rows + self.same.rows + marked

    def median(self) -> int:
        """How many tokens the conversation in the middle has, of all by length."""
        half = (sum(self.lengths.values()) + 1) // 2
        for length in sorted(self.lengths):
            half -= self.lengths[length]
            if half <= 0:
                return length
        return 0


def _load(name: str) -> tuple[Any, int]:
    """A model's tokenizer, and how many tokens it takes."""
    from transformers import AutoConfig, AutoTokenizer

    from harness.models.load.folder_check import check_folder

    if not Path(name).is_dir() and name.count("/") != 1:
        raise HarnessError(f"--model {name}: there is no such folder, and it is no Hub id")
    if Path(name).is_dir():
        check_folder(Path(name))
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        config = AutoConfig.from_pretrained(name)
    except Exception as error:  # tokenizers raises bare ones for files that it doesn't know
        raise HarnessError(f"--model {name}: can't be loaded ({first_line(error)})") from error
    config = config.get_text_config()
    longest = next((getattr(config, key) for key in LENGTHS if getattr(config, key, None)), 0)
    if not longest:
        limit = tokenizer.model_max_length
        longest = limit if limit and limit < ENDLESS else UNKNOWN
    return tokenizer, int(longest)
