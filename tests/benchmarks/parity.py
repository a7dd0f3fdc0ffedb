# SPDX-License-Identifier: Apache-2.0
"""The same rewards as transformers alone, on real rows.

    python tests/benchmarks/parity.py MODEL DATA_DIR [--peft ADAPTER] [--limit N] [--dtype float32]

Scores llmbar-* and hep-python of DATA_DIR/rewardbench.jsonl twice: with ``lm_eval --model reward``
(padded batches, float32 head), and with an independent loop over ``model(**inputs).logits``, one
unpadded conversation at a time. Prints the largest difference; for half-precision dtypes also the
pairs whose decision differs, beside the noise of that dtype (its own loop against float32's).
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

SUBSETS = (
    "llmbar-natural",
    "llmbar-adver-neighbor",
    "llmbar-adver-GPTInst",
    "llmbar-adver-GPTOut",
    "llmbar-adver-manual",
    "hep-python",
)

Pairs = list[tuple[float, float]]


def by_lm_eval(args: argparse.Namespace, dtype: str) -> tuple[list[dict[str, Any]], Pairs]:
    """Rows and rewards (chosen, rejected), out of a real lm-eval run."""
    import lm_eval

    from harness.tasks.base.task_index import task_manager

    manager = task_manager(metadata={"data_dir": str(args.data_dir)})
    results = lm_eval.simple_evaluate(
        "reward",
        model_args=model_arguments(args, dtype),
        tasks=[f"rewardbench-{subset}" for subset in SUBSETS],
        task_manager=manager,
        batch_size=args.batch_size,
        device="cpu",
        limit=args.limit,
        bootstrap_iters=0,
    )
    assert results is not None
    samples = [s for subset in SUBSETS for s in results["samples"][f"rewardbench-{subset}"]]
    pairs = [tuple(answer[0] for answer in sample["filtered_resps"]) for sample in samples]
    return [sample["doc"] for sample in samples], pairs


def model_arguments(args: argparse.Namespace, dtype: str) -> dict[str, Any]:
    """--model_args for both dtypes."""
    arguments = {"pretrained": str(args.model), "dtype": dtype}
    return {**arguments, "peft": str(args.peft)} if args.peft else arguments


def by_transformers(args: argparse.Namespace, dtype: str, rows: list[dict[str, Any]]) -> Pairs:
    """Rewards (chosen, rejected) by the loop that anyone would write."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForSequenceClassification.from_pretrained(
        args.model, dtype=getattr(torch, dtype), num_labels=1
    )
    if args.peft:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, args.peft)
    model.eval()
    pairs: Pairs = []
    for row in rows:
        values = []
        for side in ("chosen", "rejected"):
            turns = [
                {"role": "user", "content": row["prompt"]},
                {"role": "assistant", "content": row[side]},
            ]
            inputs = tokenizer.apply_chat_template(turns, return_dict=True, return_tensors="pt")
            with torch.no_grad():
                values.append(float(model(**inputs).logits))
        pairs.append((values[0], values[1]))
    return pairs


def largest(ours: Pairs, theirs: Pairs) -> float:
    """The largest absolute difference of a reward."""
    pairs = zip(ours, theirs, strict=True)
    return max(max(abs(a[0] - b[0]), abs(a[1] - b[1])) for a, b in pairs)


def report_decisions(ours: Pairs, theirs: Pairs, exact: Pairs) -> None:
    """Pairs decided otherwise, and whether their exact margin is within the dtype's noise."""
    errors = [(a - b) - (c - d) for (a, b), (c, d) in zip(theirs, exact, strict=True)]
    noise = statistics.pstdev(errors)
    print(f"  noise of a margin in this dtype (loop against float32): std {noise:.4f}")
    other = [
        abs(e[0] - e[1])
        for o, t, e in zip(ours, theirs, exact, strict=True)
        if (o[0] > o[1]) != (t[0] > t[1])
    ]
    within = sum(margin <= 3 * noise for margin in other)
    print(f"  decisions that differ: {len(other)} of {len(ours)}, within 3 std of 0: {within}")
    for name, pairs in (("reward", ours), ("loop", theirs)):
        changed = sum((p[0] > p[1]) != (e[0] > e[1]) for p, e in zip(pairs, exact, strict=True))
        ties = sum(p[0] == p[1] for p in pairs)
        print(f"  {name}: {changed} decisions unlike float32's, {ties} exact ties")


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--peft", type=Path)
    parser.add_argument("--limit", type=int, help="rows per subset")
    parser.add_argument("--batch_size", default="8")
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    args = parser.parse_args()
    exact: Pairs = []
    for dtype in args.dtype:
        start = time.perf_counter()
        rows, ours = by_lm_eval(args, dtype)
        middle = time.perf_counter()
        theirs = by_transformers(args, dtype, rows)
        end = time.perf_counter()
        print(f"{dtype}: {len(rows)} rows, {2 * len(rows)} conversations")
        print(f"  largest difference of a reward: {largest(ours, theirs):.2e}")
        print(f"  seconds: lm_eval {middle - start:.0f}, loop {end - middle:.0f}")
        right = [sum(a > b for a, b in pairs) / len(rows) for pairs in (ours, theirs)]
        print(f"  accuracy: reward {right[0]:.4f}, loop {right[1]:.4f}", flush=True)
        if dtype == "float32":
            exact = theirs
        elif exact:
            report_decisions(ours, theirs, exact)


if __name__ == "__main__":
    main()
