"""lm-eval's own tests: the same outcome with the hook on and off."""

from pathlib import Path

import pytest

from tests.hosts.suites import REMEMBERED, compared, unpacked

# They need the Hub, or modules that the archive leaves out.
NOT_HERE = (
    "test_evaluator.py",
    "test_prompt.py",
    "test_requests_caching.py",
    "test_tasks.py",
    "test_unitxt_tasks.py",
)


@pytest.mark.slow
def test_outcomes_are_the_same(tmp_path: Path) -> None:
    """Tests of files that the archive leaves out fail in both runs alike."""
    folder = unpacked("lm_eval", tmp_path)
    on, off = compared(folder, REMEMBERED, without=NOT_HERE)
    assert on == off
    assert list(off.values()).count("passed") > 500
