"""What the kinds of training share: the model, the adapter's and the trainer's settings."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dogerm_plugin.files.atomic import staging
from harness.errors import HarnessError
from harness.models.load.arguments import folder_or_hub_id
from harness.training import folder as runs
from harness.training.config import Config, Lora

if TYPE_CHECKING:
    from harness.training.language_head import LanguageHead


def trainer_arguments(
    config: Config, output: Path, rows: int, dtype: str, batch_size: int
) -> dict[str, Any]:
    """Keyword arguments that TRL's RewardConfig and SFTConfig share.

    Validation and checkpoints are spread evenly over the steps, the last ones at the end.

    Args:
        config: of the run.
        output: where checkpoints go.
        rows: that are trained on.
        dtype: that it computes in.
        batch_size: of this process.
    """
    import torch

    t = config.training
    steps = math.ceil(rows / (t.batch_size * t.accumulate)) * t.epochs
    on_cpu = not torch.cuda.is_available()
    return {
        "output_dir": str(output),
        "learning_rate": t.learning_rate,
        "num_train_epochs": t.epochs,
        "per_device_train_batch_size": batch_size,
        "per_device_eval_batch_size": batch_size,
        "gradient_accumulation_steps": t.accumulate,
        "warmup_steps": math.ceil(t.warmup * steps),
        "lr_scheduler_type": t.schedule,
        "weight_decay": t.weight_decay,
        "max_grad_norm": t.max_grad_norm,
        "seed": t.seed,
        "data_seed": t.seed,
        "use_cpu": on_cpu,
        "bf16": dtype == "bfloat16",
        "gradient_checkpointing": False,
        "max_length": None,  # the rows are chosen and tokenized before
        "eval_strategy": "steps",
        "eval_steps": max(1, math.ceil(steps / t.evaluations)),
        "save_strategy": "steps",
        "save_steps": max(1, math.ceil(steps / t.checkpoints)),
        "save_total_limit": 2,
        "logging_steps": max(1, math.floor(steps / 50)),
        "dataloader_pin_memory": not on_cpu,
        "report_to": "none",
    }


def lora_settings(lora: Lora | None, model: Any, task: str) -> Any:
    """PEFT's LoraConfig; `layers` becomes layers_to_transform. None trains all weights."""
    from peft import LoraConfig

    if lora is None:
        return None

    layers: dict[str, Any] = {}
    targets: Any = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    if lora.layers:
        first, last = lora.layers
        count = model.config.get_text_config().num_hidden_layers
        if last >= count:
            raise HarnessError(
                f"`layers` ends at {last}, but the model's last layer is {count - 1}"
            )
        layers["layers_to_transform"] = list(range(first, last + 1))
        if targets == "all-linear":  # PEFT takes no layers together with this word
            targets = _linear_names(model)
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        task_type=task,
        **layers,
    )


def keep_dropout(model: Any, lora: Lora | None) -> None:
    """Let an adapter have the dropout of its settings, which TRL's RewardTrainer has switched off.

    The base model's own stays off.
    """
    import torch
    from peft.tuners.lora import LoraLayer

    if lora is None:
        return
    layers = (module for module in model.modules() if isinstance(module, LoraLayer))
    for layer in layers:
        for dropout in layer.lora_dropout.values():
            if isinstance(dropout, torch.nn.Dropout):
                dropout.p = lora.dropout


def _linear_names(model: Any) -> list[str]:
    """The last name parts of all linear modules inside the transformer layers."""
    import torch

    return sorted(
        {
            name.rpartition(".")[2]
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and ".layers." in name
        }
    )


def load_tokenizer(source: str, *, may_pad_with_end: bool) -> Any:
    """The model's tokenizer, with a padding token.

    Args:
        source: folder or Hub id.
        may_pad_with_end: take the end token where there is no padding token. Not for a reward
            model: its reward is read at the last token that is not padding, the adapter does not
            carry the choice, and an evaluator without it would read another token.

    Raises:
        HarnessError: not found or not readable; no padding token where one is needed.
    """
    from transformers import AutoTokenizer

    source = folder_or_hub_id(source, "model")
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise HarnessError(f"{source}: no tokenizer: {' '.join(str(error).split())}") from error
    if tokenizer.pad_token_id is None and not may_pad_with_end:
        raise HarnessError(
            f"{source}: no padding token, and a reward is read at the last token that is not "
            "padding; set pad_token in tokenizer_config.json and pad_token_id in config.json of "
            "a copy of the model (an unused token, not the end token) and train on that"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
        click.echo(
            f"{source}: no padding token; the end token {tokenizer.eos_token!r} pads", err=True
        )
    return tokenizer


def load_model(kind: Any, source: str, dtype: str, **settings: Any) -> Any:
    """`kind.from_pretrained(source)` in `dtype`; what is trained on it is in fp32.

    Raises:
        HarnessError: not found or not readable.
    """
    import torch

    try:
        return kind.from_pretrained(source, dtype=getattr(torch, dtype), **settings)
    except (OSError, ValueError) as error:
        raise HarnessError(f"{source}: no model: {' '.join(str(error).split())}") from error


def train(trainer: Any, checkpoint: Path | None) -> float:
    """Train, from a checkpoint if there is one; gives the seconds that this process took."""
    started = time.monotonic()
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return time.monotonic() - started


def save_model(model: Any, tokenizer: Any, folder: Path, head: LanguageHead | None = None) -> int:
    """Write a whole model that was trained, as it is; return the weights' bytes.

    config.json, which tells a finished run, is moved to its place last.

    Args:
        model: a model of transformers'.
        tokenizer: its.
        folder: the run's.
        head: a language model's, where the reward model has one too.

    Raises:
        HarnessError: a weight is NaN or infinite.
    """
    import torch

    for name, tensor in model.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise HarnessError(f"training has diverged: {name} is not finite; lower learning_rate")
    with staging(folder) as stage:
        model.save_pretrained(stage)
        tokenizer.save_pretrained(stage)
        if head is not None:
            head.declare(stage)
        size = sum(file.stat().st_size for file in stage.glob("*.safetensors"))
        for file in sorted(stage.iterdir(), key=lambda file: file.name == runs.WHOLE_MODEL):
            file.rename(folder / file.name)
    return size
