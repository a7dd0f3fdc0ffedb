"""What the hook adds to lm-eval, and what it leaves alone."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from lm_eval.api.registry import get_model
from lm_eval.tasks import TaskManager
from lm_eval.tasks import manager as host

from dogerm_plugin import _autoload
from harness import patches
from harness.tasks import FOLDER
from tests import warm


def test_model_is_registered() -> None:
    """`--model reward` leads to the class, and lm-eval's own models are still there."""
    assert get_model("reward").__name__ == "Reward"
    assert get_model("hf").__name__ == "HFLM"


@pytest.mark.parametrize("form", ["one", "list", "tuple", "none"])
def test_a_callers_paths_are_left_alone(tmp_path: Path, form: str) -> None:
    """`include_path` is what the caller gave, and brings what lies there and nothing else."""
    (tmp_path / "mine.yaml").write_text(
        "task: my_own_task\ndataset_path: none\noutput_type: multiple_choice\n"
    )
    path = str(tmp_path)
    given = {"one": path, "list": [path], "tuple": (tmp_path,), "none": None}[form]
    manager = TaskManager(include_path=given, include_defaults=False)
    assert manager.include_path == given
    assert manager.all_tasks == ([] if form == "none" else ["my_own_task"])


def test_ours_stand_beside_lm_evals_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the defaults are, ours are; of one name, ours before theirs, the user's before ours."""
    theirs, users = tmp_path / "lm_eval", tmp_path / "users"
    for folder, names in ((theirs, ["of_lm_eval", "minipref-math"]), (users, ["minipref-code"])):
        folder.mkdir()
        for name in names:
            (folder / f"{name}.yaml").write_text(f"task: {name}\ndataset_path: none\n")
    monkeypatch.setattr(host, "__file__", str(theirs / "manager.py"))
    monkeypatch.setattr(host, "TaskIndex", patches._with_our_tasks(host))
    index = TaskManager(include_path=str(users)).task_index
    assert index["of_lm_eval"].yaml_path.parent == theirs
    assert index["minipref-math"].yaml_path.parent.parent == FOLDER
    assert index["minipref-code"].yaml_path.parent == users
    assert sum("overrides existing" in line for line in caplog.messages) == 2


def test_sections_are_what_the_glob_selects(tasks: Callable[..., Any]) -> None:
    """`rewardbench_*` is exactly the four sections: no group together with one of its leaves."""
    assert sorted(tasks().match_tasks(["rewardbench_*"])) == [
        "rewardbench_chat",
        "rewardbench_chat_hard",
        "rewardbench_reasoning",
        "rewardbench_safety",
    ]


@pytest.mark.parametrize("mistake", ["no head", "no tokenizer"])
def test_a_mistake_is_one_line(mistake: str, tmp_path: Path, language_model: Path) -> None:
    """A language model given as a reward model: the reason, the way out, no traceback."""
    lm = language_model if mistake == "no head" else tiny.save_pair(tmp_path, "llama")[0]
    command = ["run", "--model", "reward", "--limit", "1"]
    command += ["--tasks", "minipref-chat", "--model_args", f"pretrained={lm}"]
    done = warm.run("lm_eval", *command)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert str(lm) in line


def test_other_errors_keep_their_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """Only a `HarnessError` is shortened: a fault of ours or of lm-eval is shown in full."""
    before = sys.excepthook
    try:
        patches._tell_users_in_one_line()
        try:
            raise KeyError("a fault")
        except KeyError as error:
            sys.excepthook(KeyError, error, error.__traceback__)
    finally:
        sys.excepthook = before
    assert "Traceback" in capsys.readouterr().err


def test_untested_release_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An lm-eval outside the tested range is told in one line, and is not patched."""
    import lm_eval.models

    monkeypatch.setattr(patches, "version", lambda _: "1.0")
    _autoload._run("harness.patches:register_models", lm_eval.models)
    _autoload._refused.discard("lm_eval")
    (line,) = capsys.readouterr().err.splitlines()
    assert "lm-eval 1.0 is installed" in line and "pip install" in line
