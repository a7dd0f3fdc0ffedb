"""An adapter and its base model made one checkpoint, which mergekit and lm-eval take as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dogerm_plugin.output import check_target, staged
from harness.errors import HarnessError


def export_checkpoint(base: str | Path, adapter: Path, target: Path) -> Path:
    """Merge a LoRA adapter into its base and write the full checkpoint; return `target`.

    The body is stored in bf16. A reward head (`score.weight`, shape [1, hidden]) keeps the dtype
    that the adapter stores it in. The tokenizer is the base's.

    Args:
        base: folder or Hub id of the model that the adapter was trained on.
        adapter: the folder with adapter_config.json, whose task_type tells a reward model
            (SEQ_CLS) from a language model (CAUSAL_LM).
        target: the output folder; it appears, or replaces an earlier one, when it is complete.

    Raises:
        HarnessError: `adapter` is no LoRA adapter of these two kinds.
        MergeError: `target` can't be written or holds an input.
    """
    import torch
    import transformers
    from peft import PeftModel

    try:
        settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HarnessError(f"{adapter}: no readable adapter_config.json ({error})") from None
    task = settings.get("task_type")
    if task not in ("SEQ_CLS", "CAUSAL_LM"):
        raise HarnessError(f"{adapter}: task_type is {task}, expected SEQ_CLS or CAUSAL_LM")
    check_target(str(target), [Path(base), adapter])
    kind: Any = transformers.AutoModelForCausalLM
    arguments: dict[str, Any] = {}
    if task == "SEQ_CLS":
        kind, arguments = transformers.AutoModelForSequenceClassification, {"num_labels": 1}
    # In fp32 the adapter is added exactly, and each weight is rounded to bf16 once.
    plain = kind.from_pretrained(base, dtype=torch.float32, **arguments)
    model = PeftModel.from_pretrained(plain, str(adapter)).merge_and_unload().eval()
    model.base_model.to(torch.bfloat16)  # the body; a head beside it keeps its dtype
    if task == "CAUSAL_LM":
        model.to(torch.bfloat16)
    model.config.dtype = torch.bfloat16
    with staged(str(target)) as stage:
        model.save_pretrained(stage)
        transformers.AutoTokenizer.from_pretrained(base).save_pretrained(stage)
    return target
