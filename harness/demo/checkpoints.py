"""The demo's checkpoints: the base model with each of the shipped adapters merged into it."""

from __future__ import annotations

from pathlib import Path

from harness.training.export import export_checkpoint

ADAPTERS = Path(__file__).parent / "adapters"


def make_reward_model(base: Path, target: Path, adapter: str = "reward") -> Path:
    """Write a reward model to `target`, unless it is there; see `export_checkpoint`."""
    return _make(base, adapter, target)


def make_language_model(base: Path, target: Path, adapter: str = "maths") -> Path:
    """Write a domain model to `target`, unless it is there; see `export_checkpoint`."""
    return _make(base, adapter, target)


def _make(base: Path, adapter: str, target: Path) -> Path:
    if (target / "config.json").is_file() and (target / "model.safetensors").is_file():
        return target
    return export_checkpoint(base, ADAPTERS / adapter, target)
