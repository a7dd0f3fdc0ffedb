"""mergekit's own tests: the same outcome with the hook on and off."""

import shutil
from pathlib import Path

import pytest
from merging import METHOD

from tests.hosts.suites import COMMON, compared, unpacked


@pytest.mark.slow
def test_outcomes_are_the_same(tmp_path: Path) -> None:
    """Other merge methods, the planner, the readers and writers are as they were.

    Tests that go over all registered methods meet ours, too, and give every model a weight of 1,
    which ours refuses: λs are shares.
    """
    folder = unpacked("mergekit", tmp_path)
    shutil.copy(COMMON, folder / "tests" / "common.py")
    on, off = compared(folder)
    assert {name: outcome for name, outcome in on.items() if METHOD not in name} == off
    assert list(off.values()).count("passed") > 500 and set(off.values()) == {"passed", "skipped"}
