# SPDX-License-Identifier: Apache-2.0
"""A checkpoint's folder, looked at before anything opens it: plain files, and JSON that is JSON."""

from __future__ import annotations

from pathlib import Path

from harness.errors import HarnessError


def check_folder(folder: Path) -> None:
    """Refuse a folder whose reading would hang or end in a traceback; others are let pass.

    Args:
        folder: of a model, an adapter or a tokenizer.

    Raises:
        HarnessError: a FIFO, device, folder or dangling link in place of a file; a config or index
            that is no JSON object; an index that names files elsewhere, or that are missing.
    """
    from dogerm_plugin.errors import MergeError
    from dogerm_plugin.files import json_file, plain_files, weight_files

    try:
        plain_files.require_plain_settings(folder)
        for name in ("config.json", "adapter_config.json"):
            if (folder / name).exists():
                json_file.read_object(folder / name)
        weight_files.check(folder)
    except MergeError as error:
        raise HarnessError(str(error)) from None


def refuse_adapter_alone(folder: Path) -> None:
    """Refuse a folder that holds an adapter and no model: transformers would not know what it is.

    Raises:
        HarnessError: names the base model that the adapter says, and how the two are given.
    """
    file = folder / "adapter_config.json"
    if not file.exists() or (folder / "config.json").exists():
        return
    from dogerm_plugin.files import json_file

    base = json_file.read_object(file).get("base_model_name_or_path")
    raise HarnessError(
        f"pretrained={folder} is an adapter (of {base}): give its base model too, as in "
        f"--model_args pretrained=BASE,peft={folder}"
    )
