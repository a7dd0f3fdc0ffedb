"""Saving the trained adapter: small, finite, its base model named as in the configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dogerm_plugin.files.atomic import replacing
from harness.errors import HarnessError


def save_adapter(model: Any, base_model: str, folder: Path) -> int:
    """Write the LoRA matrices in bf16 and any trained head in fp32; return the file's bytes.

    The adapter is written beside its place and moved there, so that a file of that name is whole.

    Args:
        model: a PEFT model.
        base_model: what `base_model_name_or_path` shall say; never where this machine had it.
        folder: where `adapter_model.safetensors` and `adapter_config.json` go.

    Raises:
        HarnessError: a weight is NaN or infinite.
    """
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    tensors = {}
    for name, tensor in get_peft_model_state_dict(model, save_embedding_layers=False).items():
        if not bool(torch.isfinite(tensor).all()):
            raise HarnessError(f"training has diverged: {name} is not finite; lower learning_rate")
        dtype = torch.bfloat16 if ".lora_" in name else torch.float32
        tensors[name] = tensor.detach().to("cpu", dtype).contiguous()
    settings = model.peft_config["default"].to_dict()
    settings["base_model_name_or_path"] = base_model
    settings["inference_mode"] = True
    text = json.dumps(settings, indent=2, sort_keys=True, default=_plain)
    (folder / "adapter_config.json").write_text(text + "\n", encoding="utf-8")
    file = folder / "adapter_model.safetensors"
    with replacing(file, folder / ".adapter_model.partial") as stage:
        save_file(tensors, stage, metadata={"format": "pt"})
    return file.stat().st_size


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)
