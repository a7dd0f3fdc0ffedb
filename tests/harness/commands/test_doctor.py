"""`dogerm doctor`: what it says when all is well, and when something is not."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import harness.tasks
from harness.commands import doctor
from harness.commands.doctor import BENCHMARKS


def report() -> tuple[int, str]:
    done = CliRunner().invoke(doctor.doctor)
    return done.exit_code, done.output


def test_all_good() -> None:
    """A working installation: exit status 0, and the names of what is registered."""
    status, text = report()
    assert status == 0, text
    for word in ("mergekit 0.1", "reward_preserving_linear", "model: reward", "rewardbench", "CPU"):
        assert word in text
    assert "mergekit-moe keeps the head" in text
    assert "reward_preserving_ties (base_model: the pretrained base; " in text
    assert "reward_preserving_nuslerp (base_model: the pretrained base, or none; " in text
    for name in ("model: reward-ensemble", "model: reward-implicit", "tasks: bon", *BENCHMARKS):
        assert name in text
    assert text.endswith("all good\n")


def test_heavy_libraries_come_with_what_is_told_of_them() -> None:
    """Versions and the hook are told without them: also where torch itself can't be imported."""
    code = (
        "import sys; from harness.commands import doctor\n"
        "for title in ('Packages', 'Hook'): assert doctor.findings(doctor.CHECKS[title])\n"
        "print([m for m in (*doctor.REQUIRED, *doctor.OPTIONAL) if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_every_benchmark_is_looked_for() -> None:
    folders = {path.parent.name for path in Path(harness.tasks.__file__).parent.glob("*/task.py")}
    assert folders | {"rewardbench", "minipref", "panel"} == {*BENCHMARKS}


def test_a_data_folder_that_is_not_there_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOGERM_DATA_DIR", "/nowhere")
    last = doctor.findings(doctor.CHECKS["Evaluation"])[-1]
    assert last.state == "broken" and "DOGERM_DATA_DIR names /nowhere" in last.what


def test_missing_method_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the method the exit status is 1, and the way out is named."""
    from mergekit.merge_methods import registry

    kept = {k: v for k, v in registry._METHODS.items() if not k.startswith("reward_preserving")}
    monkeypatch.setattr(registry, "_METHODS", kept)
    status, text = report()
    assert status == 1
    assert "does not know reward_preserving_linear" in text and "python -m dogerm_plugin" in text


def test_switched_off_hook_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """DOGERM_AUTOLOAD=0 is the user's choice: named, not broken."""
    monkeypatch.setenv("DOGERM_AUTOLOAD", "0")
    (finding,) = doctor.findings(doctor.CHECKS["Hook"])
    assert finding.state == "missing" and "DOGERM_AUTOLOAD=0" in finding.what
    assert doctor._not_registered("the method").state == "missing"
    status, text = report()
    assert status == 0 and "all good" not in text and "don't know this project" in text


def test_a_check_that_fails_is_a_finding() -> None:
    """A broken library is reported in one line, with what was found before it."""

    def check() -> Iterator[doctor.Finding]:
        yield doctor.Finding("ok", "first")
        raise ImportError("libfoo.so:\nnot found")

    first, second = doctor.findings(check)
    assert first.what == "first"
    assert second.state == "broken" and "ImportError: libfoo.so: not found" in second.what


def test_a_release_out_of_range_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The range comes from this project's own requirements; the way out is a pip command."""
    monkeypatch.setattr(doctor, "version", lambda _: "0.0.1")
    found = {f.what.split()[0]: f for f in doctor.findings(doctor.CHECKS["Packages"])}
    assert found["mergekit"].state == "broken"
    assert found["mergekit"].advice.startswith("pip install 'mergekit")


def test_absent_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A required package that is missing is broken, an optional one is only missing."""
    monkeypatch.setattr(doctor, "REQUIRED", ("surely-not-installed",))
    monkeypatch.setattr(doctor, "OPTIONAL", {"nor-this-one": "pip install it"})
    _, required, optional = doctor.findings(doctor.CHECKS["Packages"])
    assert (required.state, optional.state) == ("broken", "missing")
    assert "pip install" in required.advice and optional.advice == "pip install it"
