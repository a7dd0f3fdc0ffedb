# SPDX-License-Identifier: Apache-2.0
"""Refuses checkpoints that transformers would load as a reward model and that are none.

``AutoModelForSequenceClassification.from_pretrained`` gives a language model a new random head and
goes on with a warning. Its rewards would be noise that looks like a result.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from harness.errors import HarnessError, first_line


class RecordingLoader:
    """Stands in for an Auto class: the same ``from_pretrained``, and a note of what was not found.

    Args:
        auto_class: the Auto class.
        options: further arguments for its ``from_pretrained``.

    Attributes:
        missing: names of parameters that the checkpoint does not hold.
        mismatched: names of parameters whose shape is another one.
        unexpected: names of tensors that the last model loaded has no place for.
    """

    def __init__(self, auto_class: Any, **options: Any) -> None:
        self.auto_class = auto_class
        self.options = options
        self.missing: list[str] = []
        self.mismatched: list[str] = []
        self.unexpected: list[str] = []

    def from_pretrained(self, *args: Any, **kwargs: Any) -> Any:
        """The loaded model, as from the Auto class."""
        loaded = self.auto_class.from_pretrained(
            *args, output_loading_info=True, **kwargs, **self.options
        )
        # A class that comes with its checkpoint may have a from_pretrained of its own.
        model, report = loaded if isinstance(loaded, tuple) else (loaded, {})
        mismatched = report.get("mismatched_keys", ())
        self.missing += sorted(map(str, report.get("missing_keys", ())))
        self.mismatched += sorted(str(k[0] if isinstance(k, tuple) else k) for k in mismatched)
        self.unexpected = sorted(map(str, report.get("unexpected_keys", ())))
        return model


def refuse_if_incomplete(
    pretrained: str,
    architectures: Iterable[str] | None,
    missing: Iterable[str],
    body_prefix: str,
    supplied: Iterable[str] = (),
) -> None:
    """Refuse a model with parameters that nothing has set.

    Args:
        pretrained: path or Hub id, for the message.
        architectures: the config's own.
        missing: parameters that the checkpoint does not hold.
        body_prefix: the class's ``base_model_prefix``.
        supplied: parameters that an adapter brings.

    Raises:
        HarnessError: a head or body parameter would keep its random start.
    """
    left = sorted(set(missing) - set(supplied))
    if not left:
        return
    kinds = ", ".join(architectures or ()) or "unknown architecture"
    head = [name for name in left if not name.startswith(f"{body_prefix}.")]
    if not head:
        raise HarnessError(
            f"{pretrained} ({kinds}) lacks {len(left)} tensors of the model's body, among them "
            f"{left[0]}; they would be random: the checkpoint is incomplete, or its config names "
            "another model type"
        )
    what = (
        "a language model, not a reward model"
        if any("CausalLM" in name or "LMHead" in name for name in architectures or ())
        else "not a reward model"
    )
    raise HarnessError(
        f"{pretrained} ({kinds}) is {what}: it holds no {', '.join(head)}, and a random head would "
        "give random rewards; use --model hf to compare likelihoods, merge it with a reward model "
        "first (mergekit-yaml), or give the adapter that holds the head with peft="
    )


def explain_loading_error(pretrained: str, error: Exception) -> HarnessError | None:
    """The one-line form of an error that transformers raises for a checkpoint that does not fit.

    None for any other error, which then stays as it is.
    """
    if isinstance(error, HarnessError):
        return None  # in one line already
    text = str(error)
    if "Unrecognized configuration class" in text:
        return HarnessError(
            f"{pretrained}: transformers has no sequence-classification class for this model type; "
            "a reward model is one (architectures: ...ForSequenceClassification in config.json)"
        )
    if "trust_remote_code" in text:
        return HarnessError(
            f"{pretrained} comes with its own code (auto_map in config.json); to run that code "
            "give --model_args trust_remote_code=True"
        )
    if "size mismatch" in text or "ignore_mismatched_sizes" in text:
        return HarnessError(
            f"{pretrained}: shapes in the checkpoint differ from its config (for a reward head: "
            f"config.json must say num_labels=1): {first_line(error)}"
        )
    return None
