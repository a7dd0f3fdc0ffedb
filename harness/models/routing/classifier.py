# SPDX-License-Identifier: Apache-2.0
"""A text-classification checkpoint as a router: its labels are the experts' names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, first_line
from harness.models.load.arguments import folder_or_hub_id
from harness.models.score.chat_template import ChatTemplate, choose_template
from harness.models.score.encoder import Encoder
from harness.rows.conversation import PLAIN_TEMPLATE, Turns

PLAIN = "plain"
LONGEST = 2048  # tokens of a prompt, where the model does not take fewer


def template_of(
    tokenizer: Any,
    wanted: str | None,
    router: str,
    way_out: str = "router_template=FILE (Jinja), or router_template=plain",
) -> ChatTemplate:
    """What renders a router's prompts.

    Raises:
        HarnessError: the tokenizer has no chat template and the user names none: a router reads a
            prompt rightly only in the form that it was trained on.
    """
    if wanted == PLAIN:
        return ChatTemplate(PLAIN_TEMPLATE, "plain format", True)
    if wanted is None and not getattr(tokenizer, "chat_template", None):
        raise HarnessError(
            f"router={router}: its tokenizer has no chat template, so nothing says in what form it "
            f"reads a prompt; give {way_out}, for lines of 'User: ...'"
        )
    return choose_template(tokenizer, wanted, "router_template")


def takes(tokenizer: Any, config: Any) -> int:
    """The tokens of a prompt that a model reads; a longer one loses its beginning."""
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    places = getattr(text, "max_position_embeddings", None)  # BLOOM's and T5's know no end
    limits = (getattr(tokenizer, "model_max_length", None), places)
    return min([LONGEST, *(int(one) for one in limits if one)])


def padded(
    rows: Sequence[Sequence[int]], pad: int, batch_size: int, device: Any
) -> Iterator[tuple[list[int], Any, Any]]:
    """Batches of rows of like length, padded on the right.

    Yields:
        The rows' places, their ids [rows, tokens] and the attention mask [rows, tokens].
    """
    import torch

    order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        lengths = torch.tensor([len(rows[place]) for place in places])
        ids = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(rows[place]) for place in places], batch_first=True, padding_value=pad
        )
        mask = (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()
        yield places, ids.to(device), mask.to(device)


def softmax(
    model: Any, batches: Iterable[tuple[list[int], Any, Any]], count: int
) -> list[list[float]]:
    """Each row's probability of each label, by a classifier's own forward; see `padded`."""
    import torch

    made: list[list[float]] = [[]] * count
    for places, ids, mask in batches:
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=mask).logits
        for place, row in zip(places, logits.double().softmax(-1).tolist(), strict=True):
            made[place] = row
    return made


class Classifier:
    """Probabilities by the softmax of a sequence classifier's logits.

    Args:
        place: folder or Hub id.
        template: as `template_of`.
        device: where it runs.
        batch_size: prompts in one batch.

    Attributes:
        labels: by `id2label` of its config.

    Raises:
        HarnessError: no classifier, one label, or no chat template.
    """

    kind = "classifier"

    def __init__(self, place: str, *, template: str | None, device: Any, batch_size: int) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self.place = place = folder_or_hub_id(place, "router")
        if Path(place).is_dir() and not (Path(place) / "config.json").is_file():
            raise HarnessError(
                f"router={place}: it holds no config.json, so it is neither a folder of dogerm "
                "train router nor a text classifier"
            )
        try:
            tokenizer = AutoTokenizer.from_pretrained(place)
            loaded, told = AutoModelForSequenceClassification.from_pretrained(
                place, output_loading_info=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise HarnessError(
                f"router={place}: neither a folder of dogerm train router nor a text classifier "
                f"({first_line(error)})"
            ) from error
        if told["missing_keys"]:
            raise HarnessError(
                f"router={place}: it has no {sorted(told['missing_keys'])[0]}, so its head would "
                "be random; a router is a text classifier (...ForSequenceClassification), or a "
                "folder of dogerm train router"
            )
        config = loaded.config
        self.labels = tuple(str(config.id2label[number]) for number in range(config.num_labels))
        if len(self.labels) < 2:
            raise HarnessError(
                f"router={place}: a classifier of {len(self.labels)} label ({self.labels[0]}) "
                "chooses nothing; a reward model is no router"
            )
        if config.problem_type == "multi_label_classification":
            raise HarnessError(
                f"router={place}: problem_type is multi_label_classification, whose labels do not "
                "exclude each other; a router's probabilities sum to 1"
            )
        self.encoder = Encoder(
            tokenizer, template_of(tokenizer, template, place), takes(tokenizer, config)
        )
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        if config.pad_token_id is None:
            batch_size = 1  # the class pools at the last token that is no padding
        else:
            self.pad = config.pad_token_id
        self.batch_size = batch_size
        self.model = loaded.eval().to(device)

    def probabilities(self, prompts: Sequence[Turns]) -> list[list[float]]:
        """Each prompt's probability of each label."""
        rows = [self.encoder.encode(prompt)[0] for prompt in prompts]
        batches = padded(rows, self.pad, self.batch_size, self.model.device)
        return softmax(self.model, batches, len(rows))

    def identity(self) -> dict[str, str]:
        """What a choice depends on beside the prompt."""
        from harness.models.response_cache import identity_of_model
        from harness.models.score import digests
        from harness.runs.identity import digest

        return {
            **identity_of_model(self.model),
            "tokenizer": digests.of_tokenizer(self.encoder.tokenizer),
            "template": digest(self.encoder.template.text),
        }
