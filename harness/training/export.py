"""An adapter and its base model made one checkpoint, which mergekit and lm-eval take as it is."""

from __future__ import annotations

from pathlib import Path

from dogerm_plugin.anatomy import adapted_model
from dogerm_plugin.anatomy.adapter import LANGUAGE_MODEL, read
from dogerm_plugin.run.output import check_target, staged
from harness.training.carried_head import carry_head


def export_checkpoint(
    base: str | Path,
    adapter: Path,
    target: Path,
    dtype: str = "bfloat16",
    *,
    with_language_head: bool = False,
) -> Path:
    """Merge a LoRA adapter into its base and write the full checkpoint; return `target`.

    A reward head (`score.weight`, shape [1, hidden]) keeps the dtype
    that the adapter stores it in. Tokenizer and chat template are the adapter's where its folder
    has them, else the base's.

    Args:
        base: folder or Hub id of the model that the adapter was trained on.
        adapter: the folder with adapter_config.json, whose task_type tells a reward model
            (SEQ_CLS) from a language model (CAUSAL_LM).
        target: the output folder; it appears, or replaces an earlier one, when it is complete.
        dtype: what the body is stored in, by torch's name.
        with_language_head: keep the base's, where it is not tied, in a reward model's checkpoint.

    Raises:
        MergeError: `adapter` is no adapter of these two kinds, or does not fit; `target` can't be
            written or holds an input.
    """
    import torch

    lora = read(str(adapter))
    check_target(str(target), [Path(base), adapter])
    tokenizer = adapted_model.tokens(str(base), lora)
    stored = getattr(torch, dtype)
    # In fp32 the adapter is added exactly, and each weight is rounded once.
    model = adapted_model.merged(str(base), lora, dtype=torch.float32, tokenizer=tokenizer)
    model.base_model.to(stored)  # the body; a head beside it keeps its dtype
    if with_language_head:
        carry_head(model, str(base))
    if lora.task == LANGUAGE_MODEL:
        model.to(stored)
    model.config.dtype = stored
    with staged(str(target)) as stage:
        model.save_pretrained(stage)
        tokenizer.save_pretrained(stage)
    return target
