# SPDX-License-Identifier: Apache-2.0
"""Which class loads a reward model: transformers' own, a body and a head, or its own code."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.models.load import body_and_head, published, remote_code, stored_head
from harness.models.load.completeness import RecordingLoader
from harness.models.load.head import has_own_code
from harness.models.load.published_head import PublishedHead
from harness.models.load.stored_tensors import Shape, beside, stored_shapes

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

# Buffers that classes of older releases stored and today's compute, and LM heads.
_UNUSED = re.compile(
    r"(^|\.)(inv_freq|masked_bias|(\w*attn|attention)\.bias|causal_mask|position_ids)$"
    r"|(^|\.)(lm_head|embed_out)\."
)


class RewardLoader(RecordingLoader):
    """Loads a whole reward model: the head with all its digits, and nothing of the body left out.

    Args:
        auto_class: the Auto class.
        head: a head that no class of transformers has.
        beside: the head's parameters that come from a file beside the checkpoint.
        options: further arguments for its ``from_pretrained``.
    """

    def __init__(
        self,
        auto_class: Any,
        head: PublishedHead | None = None,
        beside: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(auto_class, **options)
        self.head = head
        self.beside = beside or {}

    def from_pretrained(self, pretrained: str, **kwargs: Any) -> Any:
        """The loaded model.

        Raises:
            HarnessError: the checkpoint holds more of a body than the class knows.
        """
        model = super().from_pretrained(pretrained, **kwargs)
        if self.head is not None and self.beside:
            body_and_head.put_head(model, self.head, self.beside)
        if self.missing or self.mismatched:
            return model  # refused by the caller, for a plainer reason
        left_out = refuse_left_out(pretrained, model, self.unexpected)
        # What stands beside a published head has been judged when that head was found.
        if left_out and self.head is None:
            logger.warning(
                "%s: %s has its head and does not use %s, which the checkpoint holds too",
                pretrained,
                type(model).__name__,
                ", ".join(left_out[:4]) + (" and more" if len(left_out) > 4 else ""),
            )
        on_disk = self.head.on_disk() if self.head is not None else {}
        stored_head.restore(model, pretrained, on_disk, **kwargs)
        return model


def loader_for(
    pretrained: str,
    config: Any,
    default: Any,
    activation: str | None = None,
    adapter: Path | None = None,
    **options: Any,
) -> RecordingLoader:
    """Choose what loads a checkpoint: a class of transformers', a body and a head, or its own code.

    Args:
        pretrained: path or Hub id.
        config: its config.
        default: the Auto class of transformers' own reward models.
        activation: the user's ``head_activation``, or None.
        adapter: the folder of an adapter that will be put onto the model; a head in a file of its
            own may lie there.
        options: what ``from_pretrained`` will be given, ``trust_remote_code`` among it.

    Raises:
        HarnessError: code of its own that is not trusted, or a head that is none; see
            `harness.models.load.published`.
    """
    trusted = options.get("trust_remote_code") is True
    own = remote_code.auto_class(pretrained, config, trusted)
    if own is not None:
        if activation is not None:
            raise HarnessError(
                f"head_activation={activation} has no effect: the checkpoint's own code has it"
            )
        return RewardLoader(own)
    stored = stored_shapes(pretrained, **options)
    if not stored:
        return RewardLoader(default)
    head_tensors = beside(pretrained, stored, adapter, **options).tensors
    extra = {name: tensor for name, tensor in head_tensors.items() if name not in stored}
    stored = stored | {name: tuple(tensor.shape) for name, tensor in extra.items()}
    head = published.find_head(pretrained, config, stored, activation)
    if head is None:
        return RewardLoader(default, **_as_stored(pretrained, config, stored))
    made = body_and_head.reward_class(config, head)
    put = {name: extra[disk] for name, disk in head.on_disk().items() if disk in extra}
    made._keys_to_ignore_on_load_missing = [f"^{re.escape(name)}$" for name in put]
    return RewardLoader(
        body_and_head.auto_class(config, made),
        head=head,
        beside=put,
        key_mapping=head.key_mapping(),
    )


def _as_stored(pretrained: str, config: Any, stored: Mapping[str, Shape]) -> dict[str, Any]:
    """What to tell from_pretrained of a checkpoint of transformers' own class.

    That is how its names begin, and the number of labels where config.json says another one.
    """
    wrapper, single = published.own_head(config, stored)
    options: dict[str, Any] = {"key_mapping": {f"^{re.escape(wrapper)}": ""}} if wrapper else {}
    if single and config.num_labels != 1:
        options["num_labels"] = 1
        logger.warning(
            "%s: its config.json says num_labels=%d (transformers' default is 2), and its head "
            "gives one number: taken as a reward",
            pretrained,
            config.num_labels,
        )
    return options


def refuse_left_out(pretrained: str, model: Any, unexpected: Iterable[str]) -> list[str]:
    """Refuse a checkpoint whose body has more to it than the class that loaded it.

    from_pretrained leaves such tensors out, and the rewards would be those of another model. What
    the class itself declares as needless (``_keys_to_ignore_on_load_unexpected``) is not among
    them. A checkpoint's own code knows best, and quantized ones store scales: those are let pass.

    Args:
        pretrained: path or Hub id, for the message.
        model: the loaded model.
        unexpected: names of the tensors left out, as the model would have them.

    Returns:
        What was left out beside the body, for a warning.

    Raises:
        HarnessError: tensors of the body were left out.
    """
    names = [name for name in unexpected if not _UNUSED.search(name)]
    prefix = getattr(model, "base_model_prefix", "") or "_"
    body = getattr(model, prefix, None)
    parts = {prefix, *(name for name, _ in body.named_children())} if body is not None else {prefix}
    inside = [name for name in names if name.split(".")[0] in parts]
    quantized = getattr(model.config, "quantization_config", None) is not None
    if inside and not has_own_code(model) and not quantized:
        raise HarnessError(
            f"{pretrained}: {type(model).__name__} has no place for {_few(inside)} of its body and "
            "would leave them out, so the rewards would be those of another model; if the "
            "checkpoint comes with its own code, give --model_args trust_remote_code=True"
        )
    return [name for name in names if name not in inside]


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
