# SPDX-License-Identifier: Apache-2.0
"""What memory a sweep takes: one live model and about one shard, not three models.

    python tests/benchmarks/sweep_memory.py --layers 22 --hidden 2048 [--vocab 32000] [--folder DIR]

Makes a Llama reward model and a language model of random bfloat16 numbers in a temporary folder,
sets a loaded model to merges of them in a new process (load, check λ = 0, two λs, a few made-up
rows), and prints that process's memory in each step. Files that are mapped count as resident while
they are read, and the system can take them back at any time; what it can't is the anonymous memory.
Linux; the pair of the command above takes 4.6 GB of disk, the run two minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MIB = 1 << 20
LAMBDAS = (0.3, 0.7)
ROWS = [
    {"prompt": f"What is {n} + {n}?", "chosen": f"It is {2 * n}.", "rejected": f"It is {n}."}
    for n in range(4)
]
TASK = """task: made_up_pairs
class: !function harness.own_data.OwnPreferences
dataset_path: {}
test_split: test
"""
RECIPE = """merge_method: reward_preserving_linear
base_model: {0}/reward
models:
  - model: {0}/domain
    parameters: {{weight: 0.5}}
"""


def make_pair(folder: Path, args: argparse.Namespace) -> None:
    """The two models, a task with rows, and a recipe."""
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

    sizes = {
        "vocab_size": args.vocab,
        "hidden_size": args.hidden,
        "intermediate_size": args.intermediate or 11 * args.hidden // 4,
        "num_hidden_layers": args.layers,
        "num_attention_heads": max(1, args.hidden // 64),
        "pad_token_id": 0,
        "dtype": "bfloat16",
    }
    reward = LlamaConfig(**sizes, num_labels=1, architectures=["LlamaForSequenceClassification"])
    write_model(folder / "reward", LlamaForSequenceClassification, reward, 0, args.shard)
    domain = LlamaConfig(**sizes, architectures=["LlamaForCausalLM"])
    write_model(folder / "domain", LlamaForCausalLM, domain, 1, args.shard)
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    (folder / "task.yaml").write_text(TASK.format(rows), encoding="utf-8")
    (folder / "recipe.yml").write_text(RECIPE.format(folder), encoding="utf-8")


def write_model(folder: Path, kind: Any, config: Any, seed: int, shard: int) -> None:
    """A random base and noise of its own, in shards of so many MiB, written one by one."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir()
    config.save_pretrained(folder)
    write_tokenizer(folder)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in kind(config).state_dict().items()}
    base, own = (
        torch.randn(1 << 20, generator=torch.Generator().manual_seed(one)) for one in (0, 1 + seed)
    )
    noise = (0.02 * base + 0.001 * own).bfloat16()
    shards: list[dict[str, Any]] = [{}]
    for name, shape in shapes.items():
        if sum(2 * one.numel() for one in shards[-1].values()) + 2 * shape.numel() > shard * MIB:
            shards.append({})
        shards[-1][name] = shape
    where = {}
    for number, names in enumerate(shards):
        file = f"model-{number + 1:05d}-of-{len(shards):05d}.safetensors"
        where.update(dict.fromkeys(names, file))
        tensors = {name: filled(noise, shape) for name, shape in names.items()}
        save_file(tensors, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def filled(noise: Any, shape: Any) -> Any:
    """The noise, repeated, in this shape: as many random numbers would take minutes to draw."""
    repeats = -(-shape.numel() // noise.numel())
    return noise.repeat(repeats)[: shape.numel()].reshape(shape)


def write_tokenizer(folder: Path) -> None:
    """A tokenizer of bytes with a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["<pad>", "<s>", "</s>", *letters]
    backend = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    tokenizer.save_pretrained(folder)


class Memory:
    """The memory of this process, step by step (Linux: from /proc/self)."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Note the seconds and the largest resident and anonymous memory of the block."""
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # forget the peak so far
        done, anonymous = threading.Event(), [0]

        def sample() -> None:
            while not done.wait(0.002):
                anonymous[0] = max(anonymous[0], status()["RssAnon"])

        thread = threading.Thread(target=sample, daemon=True)
        began = time.perf_counter()
        thread.start()
        yield
        seconds = time.perf_counter() - began
        done.set()
        thread.join()
        now = status()
        self.steps.append(
            {
                "step": name,
                "seconds": seconds,
                "resident": now["VmHWM"],
                "anonymous": max(anonymous[0], now["RssAnon"]),
                "kept": now["VmRSS"],
            }
        )


def status() -> dict[str, int]:
    """The sizes in /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    pairs = (line.split() for line in lines if line.endswith(" kB"))
    return {name.rstrip(":"): int(size) * 1024 for name, size, _ in pairs}


def measure(folder: Path, dtype: str) -> dict[str, Any]:
    """Measure merges in this process: its steps, and the bytes of the live model."""
    memory = Memory()
    with memory.step("import the libraries"):
        from harness.models.live import LiveMerge  # noqa: F401  (transformers and all that it needs)
        from harness.runs.quiet import quiet
        from harness.study import recipe_file
        from harness.study.merged_model import MergedModel
        from harness.study.spec import Settings, Spec
        from harness.study.worker import Job, Worker
    settings = Settings({"dtype": dtype, "device": "cpu"}, batch_size="1")
    with quiet():
        with memory.step("lay out the recipe"):
            spec = Spec(
                recipe_file.read(folder / "recipe.yml"), settings, (str(folder / "task.yaml"),)
            )
            model = MergedModel(spec.recipe, settings)
            worker = Worker(spec, model)
        with memory.step("load, check λ = 0"):
            size = model.bytes()
        for weight in LAMBDAS:
            point = spec.recipe.point({"weight": [weight]})
            with memory.step(f"write λ = {weight}"):
                model.set(point)
            with memory.step(f"score λ = {weight}"):
                outcome = worker.run(Job(f"{weight}", point))
                assert outcome.error is None, outcome.error
    return {"model": size, "steps": memory.steps}


def table(found: dict[str, Any], shard: int) -> str:
    """What was measured, in MiB."""
    steps = found["steps"]
    lines = [f"{'':22} seconds  peak resident  peak anonymous  resident after"]
    lines += [
        f"{one['step']:22} {one['seconds']:7.1f}  {one['resident'] // MIB:13,}  "
        f"{one['anonymous'] // MIB:14,}  {one['kept'] // MIB:14,}"
        for one in steps
    ]
    model, libraries = found["model"], steps[0]
    lines += ["", f"MiB; live model {model // MIB:,}, largest shard {shard // MIB:,}"]
    for kind in ("resident", "anonymous"):
        peak = max(one[kind] for one in steps) - libraries[kind]
        lines.append(
            f"peak {kind} beyond the libraries: {peak // MIB:,} = {peak / model:.2f} x the live "
            f"model = live model {(peak - model) / shard:+.2f} shards"
        )
    return "\n".join(lines)


def main() -> None:
    """Make the pair, run the bench in a process of its own, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=22)
    parser.add_argument("--hidden", type=int, default=2048, help="a multiple of 64")
    parser.add_argument("--intermediate", type=int, help="default: 2.75 x hidden")
    parser.add_argument("--vocab", type=int, default=32000)
    parser.add_argument("--shard", type=int, default=500, help="MiB")
    parser.add_argument("--dtype", default="bfloat16", help="that the live model is loaded in")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure, args.dtype)))
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        make_pair(folder, args)
        shard = max(file.stat().st_size for file in folder.glob("*/*.safetensors"))
        child = [sys.executable, __file__, "--measure", name, "--dtype", args.dtype]
        done = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True)
    print(table(json.loads(done.stdout.splitlines()[-1]), shard))


if __name__ == "__main__":
    main()
