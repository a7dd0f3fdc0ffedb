"""Runs mergekit's own command in this process or in a new one, and looks at what came out."""

import functools
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import tiny
import torch
import yaml
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

METHOD = "reward_preserving_linear"
HEAD = "score.weight"
SPECIAL = ["<pad>", "<s>", "</s>"]
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"


class Trio(NamedTuple):
    """Folders of a reward model and two language models of the same base."""

    rm: Path
    lm: Path
    other: Path


def recipe(rm: Path, *models: tuple[Path, object], **more: object) -> dict:
    """The recipe for these models and λs, as a dict; `more` are top-level keys."""
    return {
        "merge_method": METHOD,
        "base_model": str(rm),
        "models": [{"model": str(m), "parameters": {"weight": weight}} for m, weight in models],
        **more,
    }


def write(folder: Path, content: object) -> Path:
    """Write a recipe, given as a dict or as text."""
    path = folder / "recipe.yml"
    path.write_text(
        content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    )
    return path


def command(
    folder: Path, content: object, out: Path | str, *options: str, quiet: bool = True
) -> Result:
    """`mergekit-yaml recipe.yml out options` in this process."""
    from mergekit.scripts.run_yaml import main

    args = [str(write(folder, content)), str(out), *["--quiet"] * quiet, *options]
    return CliRunner().invoke(main, args)


def merged(folder: Path, content: object, *options: str) -> dict[str, torch.Tensor]:
    """Merge, insist on success, and return the output's tensors."""
    result = command(folder, content, folder / "out", *options)
    assert result.exit_code == 0, result.output
    assert "Traceback" not in result.output
    return tensors(folder / "out")


def refused(folder: Path, content: object, *options: str, out: Path | str | None = None) -> str:
    """Merge, insist on exactly one error line and no traceback, and return that line."""
    result = command(folder, content, out or folder / "out", *options)
    assert result.exit_code != 0
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    lines = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, result.output
    assert "Traceback" not in result.output
    return lines[0]


def process(*args: object, **environment: str) -> subprocess.Popen:
    """`mergekit-yaml ...` in a new process, its output captured."""
    executable = Path(sys.executable).with_name("mergekit-yaml")
    return subprocess.Popen(
        [str(executable), *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DOGERM_AUTOLOAD": "1", **environment},
        # a shell's background job, as CI may be, starts with Ctrl-C ignored, and hands that on
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint, whatever its format."""
    found: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= load_file(file)
    for file in sorted(folder.glob("*.bin")):
        found |= torch.load(file, weights_only=True)
    return found


def edit(folder: Path, **changes: torch.Tensor | None) -> None:
    """Replace tensors of a single-file checkpoint; None removes one. `__` stands for a dot."""
    state = load_file(folder / "model.safetensors")
    for key, tensor in changes.items():
        name = key.replace("__", ".")
        if tensor is None:
            del state[name]
        else:
            state[name] = tensor
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def digest(folder: Path) -> dict[str, str]:
    """sha256 of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def save_tokenizer(folder: Path, words: list[str], added: tuple[str, ...] = ()) -> None:
    """A BPE tokenizer whose ids follow `words`; `added` tokens come after them.

    The embedding's rows follow `words`, too: a token's row is the base's, whatever its id.
    """
    vocabulary = {word: number for number, word in enumerate(words)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<pad>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    tokenizer.add_tokens(list(added))
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    _seat(folder, words)


def shrink(tuned: torch.nn.Module) -> None:
    """Make a random adapter as small a change as training makes."""
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            parameter.data *= 0.02


def _seat(folder: Path, words: list[str]) -> None:
    """Give every word the row that the base has for it: w7's is the tenth."""
    ids = [SPECIAL.index(w) if w in SPECIAL else int(w[1:]) + len(SPECIAL) for w in words]
    if ids == list(range(len(ids))):
        return
    state = load_file(folder / "model.safetensors")
    name = next(name for name in state if name.endswith("embed_tokens.weight"))
    own = state[name]
    ids = ids[: len(own)]
    rows = tiny.base(name, torch.zeros(max(ids) + 1, own.shape[1]))[ids]
    noise = tiny.NOISE * torch.randn(rows.shape, generator=torch.Generator().manual_seed(len(ids)))
    state[name] = torch.cat([(rows + noise).to(own.dtype), own[len(ids) :]])
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def words(count: int, first: int = 0) -> list[str]:
    """`count` tokens: three special ones, then w0, w1, ... from `first` on."""
    return SPECIAL + [f"w{number}" for number in range(first, first + count - len(SPECIAL))]


def interpolated(rm: dict, *others: tuple[dict, float]) -> dict:
    """Σλ·domain + (1 − Σλ)·reward by name, in float32; the head as it is."""
    share = 1 - sum(weight for _, weight in others)
    result = {}
    for name, tensor in rm.items():
        if name == HEAD:
            result[name] = tensor
            continue
        total = share * tensor.float()
        for other, weight in others:
            total = total + weight * other[name].float()
        result[name] = total
    return result


def same(out: dict, expected: dict) -> bool:
    return set(out) == set(expected) and all(torch.equal(out[n], expected[n]) for n in out)
