# SPDX-License-Identifier: Apache-2.0
"""The whole `mergekit-yaml` of a pair, beside mergekit's own `linear` and a copy of the bytes.

    python -m tests.benchmarks.near_copy 1.1B 3B --rounds 5 --folder DIR [--warm] [--only ours]

Makes the pairs in DIR (10 GB of disk for 1.1B, 20 GB for 3B; what is there is used again), runs the
sides in turn, each in a process of its own, and prints time, processor time and peak memory of each
run, and the medians of the ratios. The models' pages are dropped from the page cache before each
run, with ``--warm`` they are not: only theirs, by `posix_fadvise`, so that nothing else on the
machine is disturbed, the libraries stay cached, and nobody needs to be root.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import yaml
from safetensors import safe_open

from tests.benchmarks.measure import Child, Pairs, in_process
from tests.benchmarks.synthetic import as_language_model, synthetic, weights

WEIGHT = 0.4
COMMAND = Path(sys.executable).with_name("mergekit-yaml")
COPY = Path(__file__).parent / "peers" / "copying.py"
ENV = {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
SIDES = ("ours", "linear", "copy")
BARS = {"linear": 0.7, "copy": 1.5}


class Pair:
    """A reward model and a language model near it.

    Args:
        folder: where they are, or are made.
        size: of `SHAPES`.
    """

    def __init__(self, folder: Path, size: str) -> None:
        self.folder, self.size = folder / size, size
        self.reward, self.domain = self.folder / "reward", self.folder / "domain"
        if not (self.folder / "linear.yml").exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            synthetic(self.reward, size, 0, reward=True)
            synthetic(self.domain, size, 1)
            twin = as_language_model(self.reward, self.domain, self.folder / "twin")
            domain = {"model": str(self.domain), "parameters": {"weight": WEIGHT}}
            base = {"base_model": str(self.reward), "models": [domain]}
            pair = [{"model": str(twin), "parameters": {"weight": 1 - WEIGHT}}, domain]
            for name, content in (
                ("ours", {"merge_method": "reward_preserving_linear", **base}),
                ("linear", {"merge_method": "linear", "models": pair, "dtype": "bfloat16"}),
            ):
                text = yaml.safe_dump(content)
                (self.folder / f"{name}.yml").write_text(text, encoding="utf-8")

    @property
    def files(self) -> list[Path]:
        return [*weights(self.reward), *weights(self.domain)]

    @property
    def largest(self) -> int:
        """Bytes of the largest tensor."""
        sizes = []
        for file in weights(self.reward):
            with safe_open(str(file), framework="pt") as opened:
                shapes = [opened.get_slice(name).get_shape() for name in opened.keys()]  # noqa: SIM118
                sizes += [2 * torch.Size(shape).numel() for shape in shapes]
        return max(sizes)

    def out(self, side: str) -> Path:
        return self.folder / f"out-{side}"

    def run(self, side: str, warm: bool) -> Child:
        """Run a side, and leave its output."""
        out = self.out(side)
        first, second = map(weights, (self.reward, self.domain))
        command: Sequence[str | Path] = [COMMAND, self.folder / f"{side}.yml", out, "--quiet"]
        if side == "copy":
            command = [sys.executable, "-I", "-S", COPY, out, *first, "--", *second]
        os.sync()  # else a run waits for the disk to take what was written before it
        for file in () if warm else self.files:
            drop(file)
        alone = {} if side == "ours" else {"DOGERM_AUTOLOAD": "0"}
        return in_process(command, env={**ENV, **alone}, timeout=900)

    def check(self) -> None:
        """Our output is the formula's, tensor by tensor, the head the reward model's."""
        own, other, merged = (Tensors(one) for one in (self.reward, self.domain, self.out("ours")))
        assert set(merged.files) == set(own.files)
        for name in own.files:
            expected = own[name]
            if name in other.files:
                share = expected.float() * (1 - WEIGHT)
                expected = (share + other[name].float() * WEIGHT).to(expected.dtype)
            assert torch.equal(merged[name], expected), name


class Tensors:
    """A model's tensors by name, each read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.files: dict[str, Path] = {}
        for file in weights(folder):
            with safe_open(str(file), framework="pt") as opened:
                self.files |= dict.fromkeys(opened.keys(), file)

    def __getitem__(self, name: str) -> torch.Tensor:
        with safe_open(str(self.files[name]), framework="pt") as opened:
            tensor: torch.Tensor = opened.get_tensor(name)
        return tensor


def drop(file: Path) -> None:
    """Let the system forget a file's pages; it must have been written to the disk."""
    if hasattr(os, "posix_fadvise"):
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def measure(
    pair: Pair, rounds: int, warm: bool, sides: Sequence[str] = SIDES, say: bool = False
) -> dict[str, list[Child]]:
    """Run all sides in turn; our first output is checked."""
    taken: dict[str, list[Child]] = {side: [] for side in sides}
    for number in range(rounds):
        for side in sides:
            child = pair.run(side, warm)
            taken[side].append(child)
            if side == "ours" and number == 0:
                pair.check()
            shutil.rmtree(pair.out(side))
            if say:
                print(
                    f"{pair.size} {side}: {child.seconds:.2f} s, {child.processor:.2f} s of the "
                    f"processor, {child.peak_bytes / 1e9:.2f} GB",
                    flush=True,
                )
    return taken


def ratios(taken: dict[str, list[Child]], peer: str) -> dict[str, Pairs]:
    """Ours by a peer's: the seconds, the processor's seconds, the peak memory."""
    ours, theirs = taken["ours"], taken[peer]
    return {
        "time": Pairs([c.seconds for c in ours], [c.seconds for c in theirs]),
        "processor time": Pairs([c.processor for c in ours], [c.processor for c in theirs]),
        "peak memory": Pairs(
            [float(c.peak_bytes) for c in ours], [float(c.peak_bytes) for c in theirs], "bytes"
        ),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("sizes", nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--warm", action="store_true")
    parser.add_argument("--only", choices=SIDES, help="this side alone")
    given = parser.parse_args()
    for size in given.sizes:
        pair = Pair(given.folder.resolve(), size)
        sides = [given.only] if given.only else SIDES
        taken = measure(pair, given.rounds, given.warm, sides, say=True)
        for peer in BARS if not given.only else ():
            for what, found in ratios(taken, peer).items():
                mine, theirs = map(statistics.median, (found.ours, found.peer))
                print(
                    f"{size} {'warm' if given.warm else 'cold'}, {what} by {peer}'s: "
                    f"{found.ratio:.3f} ({found.low:.3f} to {found.high:.3f}); medians "
                    f"{mine:.4g} and {theirs:.4g} {found.unit}"
                )


if __name__ == "__main__":
    main()
