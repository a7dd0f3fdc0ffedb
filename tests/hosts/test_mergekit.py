"""mergekit's own tests: the same outcome with the hook on and off."""

import shutil
from pathlib import Path

import pytest
from merging import METHOD

from dogerm_plugin.methods.declaration import AVERAGE
from tests.hosts.suites import COMMON, compared, unpacked


@pytest.mark.slow
def test_outcomes_are_the_same(tmp_path: Path) -> None:
    """Other merge methods, the planner, the readers and writers are as they were.

    Tests that go over all registered methods meet ours, too, and give every model a weight of 1,
    which ours refuse: λs are shares, and so are an average's weights.
    """
    folder = unpacked("mergekit", tmp_path)
    shutil.copy(COMMON, folder / "tests" / "common.py")
    on, off = compared(folder)
    shared = {n: o for n, o in on.items() if not any(one in n for one in (METHOD, AVERAGE))}
    assert shared == off
    assert list(off.values()).count("passed") > 500 and set(off.values()) == {"passed", "skipped"}
