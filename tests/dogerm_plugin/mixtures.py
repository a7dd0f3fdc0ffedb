"""Tiny reward models of one base whose rewards differ clearly, and `mergekit-moe` on them."""

import functools
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import merging
import tiny
import torch
import yaml
from click.testing import CliRunner, Result
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
)

# Of a change by fine-tuning, beside the base's weights: a cosine above .99.
CHANGE = 0.1
TEXTS = [" ".join(f"w{(7 * row + 3 * i * i) % 90}" for i in range(9 + row)) for row in range(6)]


def save(path: Path, model_type: str, seed: int, auto: type, **changes: object) -> Path:
    """A model of the base, changed by this seed; weights so large that rewards are, too."""
    config = tiny.tiny_config(model_type, **changes)
    if auto is AutoModelForSequenceClassification:
        config.num_labels = 1
    model = auto.from_config(config)
    own = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            base = torch.Generator().manual_seed(zlib.crc32(name.encode()))
            noise = torch.randn(parameter.shape, generator=base)
            noise += CHANGE * torch.randn(parameter.shape, generator=own)
            if parameter.ndim > 1:
                parameter.copy_(1.2 * noise / parameter.shape[-1] ** 0.5)
            else:
                parameter += 0.1 * noise
    model.save_pretrained(path)
    save_tokenizer(path, merging.words(96))
    return path


def save_tokenizer(path: Path, words: list[str]) -> None:
    """One that reads the words: an id for each, in their order."""
    vocabulary = {word: number for number, word in enumerate(words)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    made.chat_template = merging.TEMPLATE
    made.save_pretrained(path)


def reward_models(
    folder: Path, model_type: str = "llama", count: int = 3, **changes: object
) -> list[Path]:
    """Reward models of one base."""
    auto = AutoModelForSequenceClassification
    return [save(folder / f"rm{i}", model_type, i, auto, **changes) for i in range(count)]


def language_model(folder: Path, model_type: str = "llama", **changes: object) -> Path:
    """A language model of the same base."""
    return save(folder / "lm", model_type, 10, AutoModelForCausalLM, **changes)


def recipe(base: Path, *experts: Path, gate_mode: str = "random", **more: object) -> dict:
    """A recipe; with a prompted gate mode, each expert has a prompt of its own."""
    entries: list[dict] = [{"source_model": str(path)} for path in experts]
    if gate_mode not in ("random",):
        for number, entry in enumerate(entries):
            entry["positive_prompts"] = [TEXTS[number]]
    return {"base_model": str(base), "gate_mode": gate_mode, "experts": entries, **more}


def command(folder: Path, content: object, out: Path, *options: str) -> Result:
    """`mergekit-moe recipe.yml out options` in this process."""
    from mergekit.scripts.moe import main

    return CliRunner().invoke(main, [str(write(folder, content)), str(out), *options])


def made(folder: Path, content: object, *options: str) -> Path:
    """Make a mixture, insist on success, and return its folder."""
    result = command(folder, content, folder / "out", *options)
    assert result.exit_code == 0, f"{result.output} {result.exception!r}"
    return folder / "out"


def refused(folder: Path, content: object, *options: str) -> str:
    """Try, insist on exactly one error line, no traceback and no output; return that line."""
    result = command(folder, content, folder / "out", *options)
    assert result.exit_code != 0 and isinstance(result.exception, SystemExit), repr(result)
    lines = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1 and "Traceback" not in result.output, result.output
    assert not (folder / "out").exists()
    return lines[0]


def write(folder: Path, content: object) -> Path:
    """Write a recipe, given as a dict or as text."""
    path = folder / "more.yml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def process(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
    """`mergekit-moe ...` in a new process."""
    executable = Path(sys.executable).with_name("mergekit-moe")
    return subprocess.run(
        [str(executable), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "DOGERM_AUTOLOAD": "1", **environment},
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        check=False,
    )


def rewards(folder: Path) -> torch.Tensor:
    """What plain transformers gives for the texts, in float32; nothing missing, nothing left."""
    model, report = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        return torch.cat([model.eval()(input_ids=ids(text)[None]).logits for text in TEXTS])


def ids(text: str) -> torch.Tensor:
    """The tokens of a text, as `save_tokenizer` numbers them."""
    return torch.tensor([merging.words(96).index(word) for word in text.split()])
