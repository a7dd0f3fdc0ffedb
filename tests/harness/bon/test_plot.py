"""Curves out of lm-eval's results, as a table and as a picture."""

from __future__ import annotations

import builtins
import errno
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.bon.curves import Mean, read_curves
from harness.bon.show import plot, table
from harness.errors import HarnessError

Write = Callable[..., Path]


@pytest.fixture
def write_results(tmp_path: Path) -> Write:
    """Writes what lm-eval writes for a reward model on bon_gsm8k, with N = 1, 2, 16."""

    def write(model: str, best: float, **changes: Any) -> Path:
        metrics: dict[str, Any] = {
            "name": "bon_gsm8k",
            "alias": "bon_gsm8k",
            "sample_len": 10,
            "random,none": 0.25,
            "random_stderr,none": 0.1,
            "truncated,none": 0,
            "truncated_stderr,none": "N/A",
        }
        for size, share in ((16, 1.0), (1, 0.0), (2, 0.5)):  # lm-eval sorts by name
            for kind, top in (("best_of_n", best), ("oracle", 0.75), ("longest", 0.5)):
                metrics[f"{kind}@{size},none"] = 0.25 + share * (top - 0.25)
                metrics[f"{kind}_stderr@{size},none"] = "not a key of lm-eval's"
                metrics[f"{kind}@{size}_stderr,none"] = 0.01 * size
        metrics.update(changes.pop("metrics", {}))
        results = {
            "results": {"bon_gsm8k": metrics, "other": {"alias": "other", "accuracy,none": 1.0}},
            "n-samples": {"bon_gsm8k": {"original": 20, "effective": 10}},
            "model_name": f"models/{model}",
            **changes,
        }
        path = tmp_path / model / "models__x" / "results_2026-01-02T03-04-05.000001.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(results))
        return path

    return write


def test_curves_are_read_by_n(write_results: Write, tmp_path: Path) -> None:
    """From a file, and from a folder with the file somewhere below; labels are the models'."""
    tasks = read_curves(
        [str(write_results("base", 0.45)), str(write_results("m", 0.65).parents[1])]
    )
    (task,) = tasks
    curves = tasks[task]
    assert (task, curves.questions) == ("bon_gsm8k", 10)
    assert list(curves.models) == ["base", "m"]
    assert list(curves.models["m"]) == [1, 2, 16]
    assert curves.models["m"][16] == (pytest.approx(0.65), 0.16)
    assert curves.models["base"][2] == (pytest.approx(0.35), 0.02)
    assert curves.baselines["oracle"][16] == (0.75, 0.16)
    assert curves.baselines["random"] == dict.fromkeys([1, 2, 16], Mean(0.25, 0.1))
    assert "majority" not in curves.baselines
    both = read_curves([str(tmp_path)])["bon_gsm8k"]
    assert set(both.models) == {"base", "m"}


def test_labels_can_be_given_and_say_what_kind_of_score_chose(write_results: Write) -> None:
    one = write_results("same", 0.5)
    two = write_results("lm", 0.5, metrics={"alias": "bon_gsm8k [likelihood]"})
    curves = read_curves([f"λ=0.3={one}".replace("λ=", "λ "), f"policy={two.parent}"])["bon_gsm8k"]
    assert list(curves.models) == ["λ 0.3", "policy [likelihood]"]


def test_a_path_with_an_equals_sign_is_a_path(write_results: Write) -> None:
    path = write_results("lambda=0.3", 0.5)
    assert list(read_curves([str(path)])["bon_gsm8k"].models) == ["lambda=0.3"]


def test_results_that_cannot_be_compared_are_refused(write_results: Write) -> None:
    base = str(write_results("base", 0.5))
    other = str(write_results("other", 0.5, metrics={"oracle@2,none": 0.6}))
    with pytest.raises(HarnessError, match="not about the same candidates of bon_gsm8k"):
        read_curves([base, other])
    fewer = str(write_results("few", 0.5, **{"n-samples": {"bon_gsm8k": {"effective": 9}}}))
    with pytest.raises(HarnessError, match="not about the same candidates of bon_gsm8k"):
        read_curves([base, fewer])
    copy = Path(base).with_name("results_2026-01-02T03-04-06.000001.json")
    copy.write_text(Path(base).read_text())
    with pytest.raises(HarnessError, match=r"both have results of bon_gsm8k for base; .*LABEL="):
        read_curves([base, str(copy)])
    copy.unlink()
    for again in (base, f"{Path(base).parents[1]}/../base"):
        with pytest.raises(HarnessError, match=r"^\S+json is given twice, .*; give it once$"):
            read_curves([base, again])
    assert len(read_curves([base, f"again={base}"])["bon_gsm8k"].models) == 2


def test_what_holds_no_best_of_n_is_named(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"there is no .*nowhere"):
        read_curves([str(tmp_path / "nowhere")])
    with pytest.raises(HarnessError, match=r"no results of best-of-N .searched 0 "):
        read_curves([str(tmp_path)])
    file = tmp_path / "results_1.json"
    file.write_text(json.dumps({"results": {"minipref-math": {"accuracy,none": 1}}}))
    with pytest.raises(HarnessError, match=r"no results of best-of-N .searched 1 "):
        read_curves([str(file)])
    file.write_text("{")
    with pytest.raises(HarnessError, match="is not JSON"):
        read_curves([str(file)])
    file.write_text("[1]")
    with pytest.raises(HarnessError, match=r"a JSON list, expected an object"):
        read_curves([str(file)])
    file.write_text('{"results": []}')
    with pytest.raises(HarnessError, match="no key results"):
        read_curves([str(file)])


def test_the_table_has_every_n_in_order(write_results: Write) -> None:
    curves = read_curves([str(write_results("base", 0.45, metrics={"random_stderr,none": "N/A"}))])
    curves["bon_gsm8k"].baselines["majority"] = {2: Mean(0.3, math.nan)}
    lines = table("bon_gsm8k", curves["bon_gsm8k"]).splitlines()
    assert lines[0].split() == ["bon_gsm8k", "(10", "questions)", "N=1", "N=2", "N=16"]
    assert lines[2].split() == ["base", "0.250", "±0.010", "0.350", "±0.020", "0.450", "±0.160"]
    assert [line.split()[0] for line in lines[3:]] == ["oracle", "majority", "longest", "random"]
    assert lines[4].split() == ["majority", "-", "0.300", "-"]
    assert lines[6].split() == ["random", "0.250", "0.250", "0.250"]


def test_weighted_votes_are_the_models_own(write_results: Write, tmp_path: Path) -> None:
    """A second line of each model that has them, in the table and the picture."""
    weighed = {"weighted_best_of_n@2,none": 0.4, "weighted_best_of_n@2_stderr,none": 0.02}
    given = [write_results("base", 0.45), write_results("m", 0.65, metrics=weighed)]
    curves = read_curves([str(one) for one in given])
    task = curves["bon_gsm8k"]
    assert task.weighted == {"m": {2: Mean(0.4, 0.02)}}
    assert set(task.baselines) == {"oracle", "longest", "random"}
    lines = table("bon_gsm8k", task).splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["base", "m", "m,"]
    assert lines[4].split() == ["m,", "weighted", "votes", "-", "0.400", "±0.020", "-"]
    plot(curves, tmp_path / "bon.svg")
    assert "m, weighted votes" in (tmp_path / "bon.svg").read_text()


def test_the_picture_has_a_line_for_each(
    write_results: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at through matplotlib's own objects, then as a file."""
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    save = Figure.savefig

    def note(figure: Figure, *args: Any, **kwargs: Any) -> None:
        drawn.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", note)
    tasks = read_curves([str(write_results("base", 0.45)), str(write_results("merged", 0.65))])
    path = tmp_path / "bon.png"
    plot(tasks, path)
    assert path.read_bytes().startswith(b"\x89PNG") and not list(tmp_path.glob("*.partial*"))
    (axes,) = drawn[0].axes
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert list(lines) == ["base", "merged", "oracle", "longest", "random"]
    assert lines["merged"] == pytest.approx([0.25, 0.45, 0.65])
    assert lines["random"] == [0.25] * 3
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "16"]
    assert axes.get_xscale() == "log" and len(axes.collections) == 5  # a band each
    assert axes.get_title() == "bon_gsm8k, 10 questions"


def test_an_ending_that_is_no_picture_leaves_the_old_file(
    write_results: Write, tmp_path: Path
) -> None:
    path = tmp_path / "bon.txt"
    path.write_text("before")
    with pytest.raises(HarnessError, match=r"bon.txt: the name must end with .*png"):
        plot(read_curves([str(write_results("base", 0.5))]), path)
    assert path.read_text() == "before" and not list(tmp_path.glob("*.partial*"))


def test_a_picture_that_fails_half_way_leaves_nothing(
    write_results: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    def fill_the_disk(figure: Figure, path: Path, **kwargs: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fill_the_disk)
    with pytest.raises(HarnessError, match=r"bon.png can't be written .No space left on device."):
        plot(read_curves([str(write_results("base", 0.5))]), tmp_path / "bon.png")
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def test_without_matplotlib_the_message_says_how_to_get_it(
    write_results: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "matplotlib", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(HarnessError, match="pip install matplotlib"):
        plot(read_curves([str(write_results("base", 0.5))]), tmp_path / "bon.png")
