# SPDX-License-Identifier: Apache-2.0
"""The ways to compute attention in packs, against each other and against padded rows.

    python -m tests.benchmarks.kernels MODEL DATA_DIR [--attention flash_attention_2]

Scores pairs of RewardBench and questions with 16 candidates by ``--model reward`` with each
``share_prefix=``, in turn, as often as ``--rounds`` says, and prints a table: rows a second, by the
clock, the device waited for. What cannot run here says why. The first round of each is not counted:
flex_attention is compiled in it, which took 80 s on a busy CPU. Rewards are held against those of
padded rows: in float32 they differ by 1e-5, in bfloat16 by its rounding.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from harness.errors import HarnessError
from harness.models.score.tree_kernels import KERNELS
from tests.benchmarks.rows import read, requests

PADDED = "False"  # as share_prefix says it
SETS = ("llmbar", "hep", "gsm8k_pairs", "bon_humaneval")


def load(args: argparse.Namespace, share_prefix: str) -> Any:
    """The model that ``lm_eval --model reward`` makes.

    Raises:
        HarnessError: the kernel can't run.
    """
    from harness.models.reward import Reward

    given = {"pretrained": args.model, "dtype": args.dtype, "share_prefix": share_prefix}
    if args.attention:
        given["attn_implementation"] = args.attention
    options = {"batch_size": "auto", "device": args.device}
    return Reward.create_from_arg_obj(given, options)


def seconds(model: Any, asked: Sequence[Any]) -> tuple[float, list[float]]:
    """What scoring took by the clock, and the rewards."""
    _wait(model)
    began = time.perf_counter()
    rewards = [answer[0] for answer in model.loglikelihood(asked, disable_tqdm=True)]
    _wait(model)
    return time.perf_counter() - began, rewards


def _wait(model: Any) -> None:
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="Ways to compute attention in packs.")
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--attention", help="attn_implementation; transformers' choice without it")
    parser.add_argument("--items", type=int, default=200, help="the first so many of each set")
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    models: dict[str, Any] = {}
    for name in (PADDED, *KERNELS):
        try:
            models[name] = load(args, name)
        except HarnessError as error:
            print(f"{name}: {error}")
    where = torch.cuda.get_device_name() if args.device.startswith("cuda") else "CPU"
    print(f"\n{where}, {args.dtype}, torch {torch.__version__}; rows a second\n")
    print(f"| set | rows | {' | '.join(models)} | largest difference |")
    print("|---|--:|" + "--:|" * (len(models) + 1))
    for name in args.sets:
        asked = requests(read(args.data, name)[: args.items])
        taken: dict[str, list[float]] = {kind: [] for kind in models}
        rewards: dict[str, list[float]] = {}
        for number in range(args.rounds + 1):
            for kind, model in models.items():
                took, rewards[kind] = seconds(model, asked)
                if number:
                    taken[kind].append(took)
        off = max(
            abs(a - b)
            for kind in models
            for a, b in zip(rewards[kind], rewards[PADDED], strict=True)
        )
        speeds = [f"{len(asked) / statistics.median(times):.1f}" for times in taken.values()]
        print(f"| {name} | {len(asked)} | {' | '.join(speeds)} | {off:.2g} |", flush=True)


if __name__ == "__main__":
    main()
