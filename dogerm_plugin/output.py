"""A finished merge or none: output is made beside the target and takes its place when verified."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dogerm_plugin.errors import MergeError

try:
    import fcntl
except ImportError:  # not on Windows: there, nothing is locked and nothing left over is removed
    fcntl = None  # type: ignore[assignment]

# A folder being replaced keeps files that a user put there, but none of these: a weight shard, a
# tokenizer file or a config of an earlier merge would be read together with the new ones.
TOKENIZER = ("tokenizer*", "vocab.*", "*.tiktoken", "spiece.model", "sentencepiece*.model")
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


def check_target(target: str, inputs: list[Path]) -> None:
    """Refuse a target that can't be replaced as a whole.

    Args:
        target: the output folder as the user names it.
        inputs: the folders of the models that are merged.

    Raises:
        MergeError: it is a file, a mount point, the current folder or one above it, or it is or
            holds an input model.
    """
    final = Path(os.path.realpath(target))
    if final.exists() and not final.is_dir():
        raise MergeError(f"{target}: is a file; name a folder for the merged model")
    here = Path.cwd()
    if final == here or final in here.parents or os.path.ismount(final):
        what = "a mount point" if os.path.ismount(final) else "the current folder or one above it"
        raise MergeError(
            f"{target}: is {what}, and the output folder is replaced as a whole; name a folder "
            f"inside it, such as {os.path.join(target, 'merged')}"
        )
    for folder in inputs:
        if not folder.exists():
            continue  # a Hub id
        if final in (real := Path(os.path.realpath(folder)), *real.parents):
            raise MergeError(
                f"{target}: holds the input model {folder}, which the output would replace; name "
                "another folder"
            )


@contextmanager
def staged(target: str) -> Iterator[Path]:
    """Yield a new folder to write the output to; on success it takes the target's place.

    The folder lies beside the target (`.NAME.merging-XXXX/NAME`), so that the last step is a
    rename. When the body raises, or the process is told to stop, it is removed and the target
    stays as it was. What a killed process left behind is removed by the next merge to the same
    target.

    Raises:
        MergeError: the parent folder can't be written.
    """
    final = Path(os.path.realpath(target))
    prefix = f".{final.name}.merging-"
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with _locked(final.parent):
            _clean_up(final, prefix)
            work = Path(tempfile.mkdtemp(prefix=prefix, dir=final.parent))
            lock = _lock(work)
    except OSError as error:
        raise MergeError(
            f"{final.parent}: can't write the output there ({error}); name a folder elsewhere"
        ) from None
    try:
        with _stop_signals_raise():
            stage = work / final.name
            stage.mkdir()
            yield stage
            with _locked(final.parent):
                _swap(stage, final)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _swap(stage: Path, final: Path) -> None:
    """Put the stage in the target's place, and the target's old content into the stage's folder."""
    if not final.exists():
        stage.rename(final)
        return
    _copy_foreign_files(final, stage)
    if _exchange(stage, final):
        return
    old = _old(final)
    final.rename(old)
    try:
        stage.rename(final)
    except BaseException:
        old.rename(final)
        raise
    shutil.rmtree(old)


def _exchange(a: Path, b: Path) -> bool:
    """Swap two folders in one step, where the system can: no moment without an output."""
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return renameat2(here, os.fsencode(a), here, os.fsencode(b), exchange) == 0


def _old(final: Path) -> Path:
    return final.parent / f".{final.name}.replaced"


def _copy_foreign_files(old: Path, new: Path) -> None:
    """Before the swap, so that a kill at any moment loses none of them."""
    for path in old.iterdir():
        target = new / path.name
        of_a_model = not path.is_dir() and any(path.match(p) for p in OF_A_MODEL)
        if of_a_model or target.exists():
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, target, symlinks=True, copy_function=_link)
        else:
            _link(path, target)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target, follow_symlinks=False)


def _clean_up(final: Path, prefix: str) -> None:
    """Undo what a killed process left: its half-made output, a half-done swap."""
    old = _old(final)
    if old.exists() and not final.exists():
        old.rename(final)
    shutil.rmtree(old, ignore_errors=True)
    for left in final.parent.iterdir():
        if left.name.startswith(prefix) and (lock := _lock(left)) is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(lock)


def _lock(folder: Path, wait: bool = False) -> int | None:
    """Lock a folder until the descriptor is closed or the process ends, however it ends.

    None where another process holds it, or the file system has no locks.
    """
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time: the moments of clean-up and of the swap."""
    descriptor = _lock(folder, wait=True)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def _stop_signals_raise() -> Iterator[None]:
    """Let SIGTERM unwind like Ctrl-C, so that the staged folder is removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _frame: Any) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        with suppress(TypeError):  # None: a handler that was not set from Python
            signal.signal(signal.SIGTERM, before)
