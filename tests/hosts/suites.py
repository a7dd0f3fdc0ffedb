"""The hosts' own tests, out of their source archives, with the hook on and off."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

COMMON = Path(__file__).with_name("mergekit_common.py")
OUTCOMES = Path(__file__).with_name("outcomes.py")
REMEMBERED = Path(__file__).with_name("remembered.py")


def unpacked(package: str, folder: Path) -> Path:
    """A folder with nothing but the `tests/` of the installed release of a package.

    Not the whole archive: beside the package's own code, that would be imported instead of what is
    installed. Skips where no package index is in reach, unless this is CI.
    """
    wanted = f"{package}=={version(package)}"
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    done = subprocess.run(
        [*fetch, "--no-build-isolation", "--no-binary", ":all:", wanted],
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode:
        if os.environ.get("CI") != "true":
            pytest.skip(f"no package index within reach for the source archive of {wanted}")
        raise RuntimeError(f"{wanted}: {done.stderr}")
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as held:
        root = held.getnames()[0].split("/")[0]
        members = [m for m in held.getmembers() if m.name.startswith(f"{root}/tests/")]
        held.extractall(folder, members, filter="data")
    return folder / root


def compared(
    folder: Path, *plugins: Path, without: Sequence[str] = ()
) -> tuple[dict[str, str], dict[str, str]]:
    """What becomes of each test of `folder`/tests with the hook on, and with it off.

    passed, failed, error or skipped. With the hook on all of them run; with it off all of them
    are collected, and those run that did not pass with it on: what passes with the hook is as its
    host wants it.

    Args:
        folder: as `unpacked` gives it.
        plugins: of pytest, that the runs have besides.
        without: names of files that are left out.
    """
    run = [sys.executable, "-m", "pytest", "tests", "-q", "-p", "no:cacheprovider"]
    run += ["--tb=native"]  # the only kind that does not parse a failing test's file
    for plugin in (OUTCOMES, *plugins):
        shutil.copy(plugin, folder)
        run += ["-p", plugin.stem]
    run += [f"--ignore=tests/{name}" for name in without]
    on = _outcomes(folder, run, "1", {})
    return on, _outcomes(folder, run, "0", on)


def _outcomes(folder: Path, run: list[str], hook: str, known: dict[str, str]) -> dict[str, str]:
    """Of one run, where DOGERM_AUTOLOAD is `hook`; what passed in `known` is not run."""
    written, read = folder / f"hook-{hook}.json", folder / f"known-{hook}.json"
    read.write_text(json.dumps(known), "utf-8")
    done = subprocess.run(
        run,
        cwd=folder,
        env={
            **os.environ,
            **{"DOGERM_AUTOLOAD": hook, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
            **{"OUTCOMES": str(written), "KNOWN": str(read)},
        },
        capture_output=True,
        text=True,
    )
    assert written.exists(), done.stdout[-2000:] + done.stderr[-2000:]
    return dict(json.loads(written.read_text("utf-8")))
