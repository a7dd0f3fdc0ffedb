"""Names of the files of a checkpoint."""

from __future__ import annotations

from pathlib import Path

from dogerm_plugin.files import head_files

TOKENIZER = ("tokenizer*", "vocab.*", "*.tiktoken", "spiece.model", "sentencepiece*.model")

# What a checkpoint is made of, as patterns: to know one from another, never to remove anything.
OF_A_MODEL = (
    *TOKENIZER,
    "model*.safetensors",
    "model.safetensors.index.json",
    "pytorch_model*.bin",
    "pytorch_model.bin.index.json",
    "adapter_config.json",
    "adapter_model.*",
    "config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "chat_template*",
    "*preprocessor_config.json",
    "processor_config.json",
    "mergekit_config.yml",
)

# What transformers and peft read of a folder without being told to, by exact name: beside a new
# model, such a file of another one would be loaded with it or instead of it.
READ_UNASKED = frozenset(
    {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
        "adapter_config.json",
        "adapter_model.safetensors",
        "adapter_model.bin",
        *head_files.FILES,
        "tokenizer.json",
        "tokenizer_config.json",
        "tokenizer.model",
        "tokenizer.model.v3",
        "tekken.json",
        "spiece.model",
        "sentencepiece.model",
        "sentencepiece.bpe.model",
        "qwen.tiktoken",
        "vocab.json",
        "vocab.txt",
        "merges.txt",
        "special_tokens_map.json",
        "added_tokens.json",
        "chat_template.jinja",
        "chat_template.json",
        "processor_config.json",
        "preprocessor_config.json",
        "image_preprocessor_config.json",
        "video_preprocessor_config.json",
    }
)
# The same, every file of a folder.
TEMPLATES = "additional_chat_templates"


def holds_tokenizer(folder: Path) -> bool:
    """Whether a model comes with tokenizer files; assumed of a Hub model."""
    return not folder.is_dir() or any(next(folder.glob(pattern), None) for pattern in TOKENIZER)
