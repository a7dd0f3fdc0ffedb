# SPDX-License-Identifier: Apache-2.0
"""The frame of tests/benchmarks: its measuring, its table, its options (no figure is measured)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.benchmarks.measure import Pairs, alternate, in_process
from tests.benchmarks.table import Figures, amount, as_markdown

pytest_plugins = ["pytester"]

ABOUT = {
    "date": "2026-01-01",
    "machine": {"cpu": "a CPU", "cores": 4, "threads": 2, "memory": 8e9},
    "versions": {"python": "3.11"},
}
MIB = 1 << 20


def test_the_ratio_is_the_median_of_the_pairs() -> None:
    """And not the ratio of medians: a slow minute slows both of a pair."""
    pairs = Pairs([1.0, 20.0, 3.0], [2.0, 10.0, 3.0])
    assert (pairs.ratio, pairs.low, pairs.high) == (1.0, 0.5, 2.0)
    assert Pairs([1.0], [4.0]).swapped.ratio == 4.0
    assert Pairs([1.0], [4.0]).swapped.swapped.ratio == 0.25


def test_both_sides_run_in_turn_after_a_warm_up() -> None:
    """A B, then A B for every pair."""
    ran: list[str] = []
    clock = iter(range(100))
    pairs = alternate(
        lambda: ran.append("ours"), lambda: ran.append("peer"), 2, lambda: float(next(clock))
    )
    assert ran == ["ours", "peer"] * 3
    assert pairs == Pairs([1.0, 1.0], [1.0, 1.0])
    alternate(lambda: ran.append("ours"), lambda: ran.append("peer"), 1, warm_up=False)
    assert ran == ["ours", "peer"] * 4


def test_a_child_s_peak_is_its_own() -> None:
    """What this process holds is not counted, what the child holds is."""
    held = b"x" * (300 * MIB)
    assert in_process("pass").peak_bytes < 100 * MIB
    assert in_process("b'x' * (150 * 2**20)").peak_bytes > 150 * MIB
    assert len(held) == 300 * MIB


def test_a_child_takes_arguments_and_variables(tmp_path: Path) -> None:
    """Code or a command, its output, and the end of what it wrote where it fails."""
    code = "import os, sys; print(sys.argv[1], os.environ['WORD'], os.getcwd())"
    child = in_process(code, "one", env={"WORD": "two"}, cwd=tmp_path)
    assert child.output.split() == ["one", "two", str(tmp_path)]
    assert in_process([sys.executable, "-c", "print(3)"]).output == "3\n"
    with pytest.raises(RuntimeError, match=r"ended with 7(.|\n)*the reason"):
        in_process("import sys; print('the reason', file=sys.stderr); sys.exit(7)")
    with pytest.raises(RuntimeError, match="no-such-command"):
        in_process(["no-such-command"])


def test_the_table_says_which_bars_hold() -> None:
    """A section's rows stand together, whatever their order; a bar is on one side or the other."""
    figures = Figures()
    pairs = Pairs([1.0, 2.0], [4.0, 5.0])
    figures.add("One", "speed | peer", 3.25, 2.5, "at least", "×", pairs=pairs.swapped)
    figures.add("Two", "peak", 2.1e9, 1e9, "at most", "bytes", "two\nlines")
    figures.add("One", "count", 84190, None, "at most", "tokens", dtype="bfloat16")
    assert [row.holds for row in figures.rows] == [True, False, None]
    assert figures.rows[0].pairs == 2 and figures.rows[0].ours == 1.5
    text = as_markdown(figures, ABOUT)
    one, two = text.partition("## One")[2].split("## Two")
    assert r"| speed \| peer | 1.5 s / 4.5 s | 3.25× (2.5–4) | at least 2.5× | yes |  |" in one
    assert "| count (bfloat16) |  | 84,190 tokens |" in one
    assert "| peak |  | 2.1 GB | at most 1 GB | **no** | two lines |" in two
    assert "a CPU, 4 cores, 2 threads, 8 GB" in text
    assert amount(0.01234, "s") == "0.0123 s"
    with pytest.raises(ValueError, match="at most, at least"):
        figures.add("One", "count", 1, 1, "below", "×")  # type: ignore[arg-type]


def test_a_run_writes_both_files_and_prints_the_table(
    pytester: pytest.Pytester, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machine, threads and versions are in them, and a bar that does not hold fails nothing."""
    pytester.makepyfile(
        """
        def test_one(table, data, smollm2):
            table.add("A section", "what", 3.0, 2.0, "at most", "x", detail={"profile": [1]})
        """
    )
    for name in ("reward-model", "maths-model"):
        (pytester.mkdir(name) / "config.json").write_text("{}", "utf-8")
    monkeypatch.setenv("DOGERM_DEMO", str(pytester.path))
    monkeypatch.setenv("DOGERM_DATA_DIR", str(pytester.path))
    monkeypatch.setenv("PYTHONPATH", str(pytestconfig.rootpath))
    options = ("-p", "tests.benchmarks.conftest", "--benchmarks-out=out", "--benchmarks-threads=1")
    done = pytester.runpytest_subprocess(*options)
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["benchmarks: threads 1", "*A section*", "*|*at most 2 x*no*"])
    written = json.loads((pytester.path / "out/benchmarks.json").read_text("utf-8"))
    assert written["machine"]["threads"] == 1 and "torch" in written["versions"]
    assert [(row["holds"], row["detail"]) for row in written["rows"]] == [(False, {"profile": [1]})]
    assert (pytester.path / "out/benchmarks.md").read_text("utf-8").count("| what |") == 2


def test_a_run_is_not_divided_over_processes(
    pytester: pytest.Pytester, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would be measured beside one another, and the rows lost with the workers."""
    monkeypatch.setenv("PYTHONPATH", str(pytestconfig.rootpath))
    done = pytester.runpytest_subprocess("-p", "tests.benchmarks.conftest", "-n", "2")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["*leave out -n*"])
