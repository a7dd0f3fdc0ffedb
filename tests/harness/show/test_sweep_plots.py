"""A sweep's pictures, looked at through matplotlib's own objects and as files."""

from __future__ import annotations

import errno
import math
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.figure import Figure
from PIL import Image

from harness.errors import HarnessError
from harness.show.naming import lambda_is, rows_of, shallow
from harness.show.panels import look
from harness.show.picture import write
from harness.show.study_file import SectionScore, SweepFile
from harness.show.sweep_plots import lambda_figure, margins_figure
from tests.harness.show import example


def figure_of(sweep: dict[str, Any]) -> Figure:
    return lambda_figure(SweepFile.model_validate(sweep))


def margins_of(sweep: dict[str, Any]) -> Figure | None:
    return margins_figure(SweepFile.model_validate(sweep))


def panels(figure: Figure) -> tuple[Axes, Axes]:
    """The panel of the selection rows and that of the report rows."""
    above, below = figure.subfigs
    return above.axes[0], below.axes[0]


def labelled(axes: Axes) -> dict[str, Any]:
    return {str(line.get_label()): line for line in axes.lines}


def test_a_line_for_each_section_against_lambda() -> None:
    """Its values, its band of one standard error, and the mean of both tasks over them."""
    sweep = example.sweep()
    above, _ = panels(figure_of(sweep))
    lines = labelled(above)
    weights = [point["total"] for point in sweep["points"]]
    for index, name in enumerate(("gsm8k_pairs", "minipref-math")):
        found = [point["sections"][index] for point in sweep["points"]]
        assert list(lines[name].get_xdata()) == weights
        assert list(lines[name].get_ydata()) == [section["score"] for section in found]
        (band,) = above.collections[index].get_paths()
        tops = [section["score"] + section["stderr"] for section in found]
        assert band.vertices[:, 1].max() == pytest.approx(max(tops))
    scores = [point["score"] for point in sweep["points"]]
    assert list(lines["all, which chose λ"].get_ydata()) == scores
    assert sum(isinstance(band, PolyCollection) for band in above.collections) == 3


def test_the_chosen_and_the_best_are_marked() -> None:
    sweep = example.sweep()
    assert sweep["best"] != sweep["chosen"]
    above, _ = panels(figure_of(sweep))
    marks = {name: line for name, line in labelled(above).items() if "λ = " in name}
    assert {name: line.get_xdata()[0] for name, line in marks.items()} == {
        "chosen (one-standard-error): λ = 0.2": 0.2,
        "best score: λ = 0.35": 0.35,
    }
    sweep |= {"rule": "best", "chosen": sweep["best"]}
    above, _ = panels(figure_of(sweep))
    assert [name for name in labelled(above) if "λ = " in name] == [
        "chosen (the best score): λ = 0.35"
    ]


def test_selection_and_report_are_apart() -> None:
    """Two panels that say which rows they are of; below only the ends and the chosen weight."""
    sweep = example.sweep() | {"split": 0.2, "select": ["minipref"], "report": ["minipref"]}
    figure = figure_of(sweep)
    above, below = (part.get_suptitle() for part in figure.subfigs)
    assert above == "Selection rows: these chose λ\nminipref (20% of the prompts)"
    assert below == "Report rows: what the merge is worth\nminipref (the other 80%)"
    _, axes = panels(figure)
    names = [section["name"] for section in sweep["reported"][0]["sections"]]
    assert [text.get_text() for text in axes.get_yticklabels()] == names
    bold = [text.get_text() for text in axes.get_yticklabels() if text.get_fontweight() == "bold"]
    assert bold == ["rewardbench", "rewardbench_chat_hard", "rewardbench_reasoning"]
    drawn = {bars.get_label(): bars for bars in axes.containers}
    assert list(drawn) == ["λ = 0", "λ = 0.2 (chosen)", "λ = 1"]
    for found, (points, _, (errors,)) in zip(sweep["reported"], drawn.values(), strict=True):
        scores = [section["score"] for section in found["sections"]]
        assert list(points.get_xdata()) == scores
        widths = [segment[1, 0] - segment[0, 0] for segment in errors.get_segments()]
        assert widths == pytest.approx([2 * s["stderr"] for s in found["sections"]])


def test_one_task_has_one_line() -> None:
    """Its score is what chose: the same line is not drawn twice."""
    sweep = example.sweep()
    for point in sweep["points"]:
        del point["sections"][1:]
    above, _ = panels(figure_of(sweep))
    assert [name for name in labelled(above) if "λ" not in name] == ["gsm8k_pairs"]


def test_models_along_a_line_are_drawn_against_their_total() -> None:
    points = [example.point(2 * step / 30, step / 30) for step in range(11)]
    above, _ = panels(figure_of(example.sweep_of(points, ["maths", "code"])))
    assert list(labelled(above)["gsm8k_pairs"].get_xdata()) == [point["total"] for point in points]
    assert above.get_xlabel() == "total λ, weight of the domain models"


def test_a_grid_of_two_models_is_a_heat_map() -> None:
    """A cell for each pair of weights, none where they sum to more than 1."""
    sweep = example.grid()
    above, _ = panels(figure_of(sweep))
    (mesh,) = above.collections
    assert isinstance(mesh, QuadMesh)
    cells = mesh.get_array().filled(math.nan)
    assert cells.shape == (6, 6)
    by_weights = {tuple(point["weights"]): point["score"] for point in sweep["points"]}
    for row in range(6):
        for column in range(6):
            expected = by_weights.get((column / 5, row / 5), math.nan)
            assert cells[row, column] == pytest.approx(expected, nan_ok=True)
    assert (above.get_xlabel(), above.get_ylabel()) == ("λ of maths", "λ of code")
    best = sweep["points"][sweep["best"]]
    mark = labelled(above)[f"best: {lambda_is(best['label'])}"]
    at = [5 * weight + 0.5 for weight in best["weights"]]
    assert [mark.get_xdata()[0], mark.get_ydata()[0]] == pytest.approx(at)


def test_a_grid_of_three_models_is_points() -> None:
    sweep = example.grid(3)
    above, _ = panels(figure_of(sweep))
    (bars,) = above.containers
    assert list(bars[0].get_ydata()) == [point["score"] for point in sweep["points"]]
    assert bars[0].get_linestyle() == "None"


@pytest.mark.filterwarnings("error")
def test_what_has_no_standard_error_is_drawn_without(tmp_path: Path) -> None:
    """As sections of a single item are."""
    for sweep in (example.sweep(), example.grid(3)):
        for point in [*sweep["points"], *sweep["reported"]]:
            for section in point["sections"]:
                section["stderr"] = None
        sweep["points"][0]["stderr"] = None
        write(figure_of(sweep), tmp_path / "lambda.png")


def test_names_are_text(tmp_path: Path) -> None:
    """A name that is no formula of matplotlib's, and one that is longer than the picture."""
    sweep = example.sweep()
    for found in [*sweep["points"], *sweep["reported"]]:
        found["sections"][0]["name"] = r"$\frac{$ <script>"
        found["sections"][1]["name"] = "long" * 100
    sweep["margins"]["tasks"] = ["$^$"]
    figure = figure_of(sweep)
    write(figure, tmp_path / "lambda.svg")
    assert r"$\frac{$ &lt;script&gt;" in (tmp_path / "lambda.svg").read_text("utf-8")
    assert max(len(label) for label in labelled(panels(figure)[0])) == 40
    margins = margins_of(sweep)
    assert margins is not None
    write(margins, tmp_path / "margins.png")


def test_too_many_sections_are_cut_by_depth() -> None:
    """Never the top level, and a level as a whole or not at all."""
    found = [
        example.section("all", 0.5, 10),
        *(example.section(f"group {index}", 0.5, 10, depth=1) for index in range(3)),
        *(example.section(f"task {index}", 0.5, 10, depth=2) for index in range(9)),
    ]
    sections = list(map(SectionScore.model_validate, found))
    assert len(shallow(sections, 13)) == 13
    assert len(shallow(sections, 12)) == 4
    assert len(shallow(sections, 3)) == 1
    assert len(shallow([section.model_copy(update={"depth": 0}) for section in sections], 3)) == 13


def test_looks_repeat_late() -> None:
    """36 lines differ in colour or marker."""
    assert len({look(index)[:2] for index in range(36)}) == 36


def test_rows_are_named_with_their_share() -> None:
    sweep = SweepFile.model_validate(example.sweep())
    assert rows_of(sweep) == ("gsm8k_pairs, minipref-math", "rewardbench")


def test_margins_are_outlines_of_shares() -> None:
    sweep = example.sweep()
    figure = margins_of(sweep)
    assert figure is not None
    (axes,) = figure.axes
    assert [patch.get_label() for patch in axes.patches] == [
        "λ = 0, mean -0.1",
        "λ = 0.2, mean +0.2",
        "λ = 1, mean +0.5",
    ]
    for patch, counts in zip(axes.patches, sweep["margins"]["counts"].values(), strict=True):
        values, edges, _ = patch.get_data()
        assert sum(values) == pytest.approx(1)
        assert values[20] == pytest.approx(counts[20] / sum(counts))
        assert list(edges) == sweep["margins"]["edges"]
    assert figure.get_suptitle() == "Report rows: rewardbench, 1,539 pairs"
    assert margins_of(sweep | {"margins": None}) is None


def test_the_file_is_a_picture_and_no_setting_is_left_changed(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    write(figure_of(example.sweep()), tmp_path / "lambda.png")
    assert dict(matplotlib.rcParams) == before
    with Image.open(tmp_path / "lambda.png") as picture:
        assert picture.format == "PNG" and picture.width > 1000
        assert len(picture.convert("RGB").getcolors(maxcolors=1 << 20)) > 50
    assert [path.name for path in tmp_path.iterdir()] == ["lambda.png"]


def test_a_picture_that_fails_half_way_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_the_disk(figure: Figure, path: Path, **kwargs: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "lambda.png"
    path.write_bytes(b"earlier")
    figure = figure_of(example.sweep())
    monkeypatch.setattr(Figure, "savefig", fill_the_disk)
    with pytest.raises(HarnessError, match=r"lambda.png can't be written .No space left"):
        write(figure, path)
    assert path.read_bytes() == b"earlier" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(HarnessError, match="must end with a format of pictures"):
        write(figure, tmp_path / "lambda.txt")


def test_the_line_breaks_where_a_race_dropped_a_value() -> None:
    """A cross at the score of the rows that it saw; nothing is drawn as if it had been measured."""
    sweep = example.sweep()
    gone = sweep["points"].pop(2)
    dropped = {
        **{key: gone[key] for key in ("label", "weights", "total", "score", "stderr", "seconds")},
        "why": "significant",
        "rows": 15,
    }
    sweep["best"] = sweep["chosen"] = 1
    sweep["race"] = {
        "rule": "significant", "alpha": 0.05, "rows": 40, "share": 0.9, "dropped": [dropped],
    }  # fmt: skip
    above, _ = panels(figure_of(sweep))
    lines = labelled(above)
    line = dict(zip(*lines["gsm8k_pairs"].get_data(), strict=True))
    assert math.isnan(line.pop(gone["total"]))
    assert list(line) == [point["total"] for point in sweep["points"]]
    cross = lines["dropped: shown not to be the best (score of its rows)"]
    assert (list(cross.get_xdata()), list(cross.get_ydata())) == ([gone["total"]], [gone["score"]])
