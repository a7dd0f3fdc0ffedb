"""The hosts' own tests, out of their source archives, with the hook on and off."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

COMMON = Path(__file__).with_name("mergekit_common.py")


def unpacked(package: str, folder: Path) -> Path:
    """A folder with nothing but the `tests/` of the installed release of a package.

    Not the whole archive: beside the package's own code, that would be imported instead of what is
    installed. Skips where no package index is in reach, unless this is CI.
    """
    wanted = f"{package}=={version(package)}"
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    done = subprocess.run(
        [*fetch, "--no-binary", ":all:", wanted], capture_output=True, text=True, timeout=600
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


def outcomes(folder: Path, hook: str, without: Sequence[str] = ()) -> dict[str, str]:
    """What became of each test of `folder`/tests: passed, failure, error or skipped.

    Args:
        folder: as `unpacked` gives it.
        hook: the value of DOGERM_AUTOLOAD.
        without: names of files that are left out.
    """
    report = folder / f"hook-{hook}.xml"
    run = [sys.executable, "-m", "pytest", "tests", "-q", "-p", "no:cacheprovider"]
    ignored = [f"--ignore=tests/{name}" for name in without]
    done = subprocess.run(
        [*run, *ignored, f"--junit-xml={report}"],
        cwd=folder,
        env={**os.environ, "DOGERM_AUTOLOAD": hook, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert report.exists(), done.stdout[-2000:] + done.stderr[-2000:]
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        found[f"{case.get('classname')}::{case.get('name')}"] = (kinds or ["passed"])[0]
    return found
