# SPDX-License-Identifier: Apache-2.0
"""One training run of a reward model in a process of its own, by us or by TRL alone.

    python -m tests.benchmarks.train_once SIDE MODEL ROWS.jsonl MAX_LENGTH STEPS BATCH

Both sides get the same rows as the same token ids, the same adapter and the same settings; a side
names what it has of ours (`SIDES`). Prints JSON: the seconds and the processor's seconds of the
training alone, the positions that the trunk computed, the process's peak memory, and each step's
loss.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# What each side has: our dtype (TRL's own is bf16 autocast, with gradient checkpointing), our
# allocator's settings, our order of rows, our sharing of beginnings.
SIDES = {
    "ours": {"dtype", "allocator", "order", "sharing"},
    "ours, nothing shared": {"dtype", "allocator", "order"},
    "trl, our order and allocator": {"dtype", "allocator", "order", "trl"},
    "trl, our allocator": {"dtype", "allocator", "trl"},
    "trl in float32": {"dtype", "trl"},
    "trl as it comes": {"trl"},
}


def rows_of(config: Any, folder: Path, model: str, count: int) -> tuple[Any, Any, list[Any]]:
    """The tokenizer, so many pairs as token ids, and validation rows, which nobody looks at."""
    from harness.training.reward import gather_pairs
    from harness.training.trainer import load_tokenizer

    tokenizer = load_tokenizer(model, may_pad_with_end=False)
    parts, held_out = gather_pairs(config, tokenizer, model, folder)
    ids = [row for part in parts for row in part.ids][:count]
    if len(ids) < count:
        raise SystemExit(f"{len(ids)} pairs, expected {count}")
    return tokenizer, held_out, ids


def main(side: str, model: str, rows: str, longest: str, steps: str, batch: str) -> None:
    """Train and print."""
    has = SIDES[side]
    from harness.training.config import Config

    count = int(steps) * int(batch)
    file = Path(rows)
    config = Config.model_validate(
        {
            "model": model,
            "max_length": int(longest),
            "data": [{"file": file.name, "rows": 4 * count}],
            "lora": {"rank": 8},
            "training": {"batch_size": int(batch), "dtype": "float32"},
            "validation": {"share": 0.1, "rows": 8},
        }
    )
    if "allocator" in has:
        from harness.training.machine import settle

        settle("float32")
    tokenizer, held_out, ids = rows_of(config, file.parent, model, count)
    with tempfile.TemporaryDirectory() as folder:
        trainer = made(config, model, tokenizer, held_out, ids, Path(folder), has)
        trunk = trainer.model.base_model.model.model
        seen: list[int] = []
        trunk.embed_tokens.register_forward_hook(
            lambda _m, given, _o: seen.append(given[0].numel())
        )
        began = time.perf_counter(), time.process_time()
        trainer.train()
        wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
    found = {
        "side": side,
        "seconds": wall,
        "cpu_seconds": cpu,
        "pairs": count,
        "tokens": sum(len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in ids),
        "positions": sum(seen),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "losses": [one["loss"] for one in trainer.state.log_history if "loss" in one],
    }
    print(json.dumps(found))


def made(
    config: Any,
    model: str,
    tokenizer: Any,
    held_out: Any,
    ids: list[Any],
    folder: Path,
    has: set[str],
) -> Any:
    """A trainer, before its first step; it neither validates nor saves."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, set_seed
    from trl import RewardConfig, RewardTrainer

    from harness.training.order import ordered
    from harness.training.reward import RewardTraining
    from harness.training.trainer import lora_settings, trainer_arguments

    given = trainer_arguments(config, folder, len(ids), "float32", config.training.batch_size)
    given |= {"eval_strategy": "no", "save_strategy": "no", "logging_steps": 1}
    given |= {"logging_nan_inf_filter": False, "disable_tqdm": True}
    if "dtype" not in has:  # TRL's own defaults
        del given["bf16"], given["gradient_checkpointing"]
    set_seed(0)
    if "trl" not in has:
        from harness.training import reward

        if "sharing" not in has:
            reward.share_prefix = reward.share_prompts = lambda _: None
        one = RewardTraining(config, folder, model, "float32")
        one.tokenizer, one.validation = tokenizer, held_out
        return one.trainer(one.load(), given, ids, folder)
    load = AutoModelForSequenceClassification.from_pretrained
    network = load(model, num_labels=1, dtype=torch.float32)
    lengths = [row["length"] for row in ids]
    kind = ordered(RewardTrainer, lengths) if "order" in has else RewardTrainer
    return kind(
        model=network,
        args=RewardConfig(remove_unused_columns=False, **given),
        train_dataset=Dataset.from_list(ids),
        processing_class=tokenizer,
        peft_config=lora_settings(config.lora, network, "SEQ_CLS"),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
