"""The demo's table and picture."""

from pathlib import Path

from PIL import Image

from harness.demo import show
from harness.demo.run import SECTIONS


def scores(*weights: float) -> show.Scores:
    return {
        weight: {
            section: {"accuracy": 0.5 + 0.1 * weight, "stderr": 0.05, "pairs": 60}
            for section in SECTIONS
        }
        for weight in weights
    }


def test_table_shows_every_number() -> None:
    """A row per section and the mean, a column per λ, errors beside, the length baseline last."""
    lines = show.table(scores(0.0, 0.2, 0.4), dict.fromkeys(SECTIONS, 0.51)).splitlines()
    assert lines[0].split() == ["section", "pairs", "RM", "(λ=0)", "λ=0.2", "λ=0.4", "longer"]
    (chat,) = [line for line in lines if line.startswith("chat ")]
    assert chat.split() == [
        "chat",
        "60",
        "0.500",
        "±0.050",
        "0.520",
        "±0.050",
        "0.540",
        "±0.050",
        "0.510",
    ]
    (mean,) = [line for line in lines if line.startswith("mean")]
    assert mean.split()[:4] == ["mean", "300", "0.500", "±0.022"]


def test_baseline_is_that_of_the_shipped_data() -> None:
    """Preferring the longer answer is no use on minipref: 45 to 55% in every section."""
    baseline = show.length_baseline(None)
    assert set(baseline) == set(SECTIONS)
    assert all(0.45 <= value <= 0.55 for value in baseline.values())


def test_plot_is_a_picture(tmp_path: Path) -> None:
    """A PNG that opens and is not blank; nothing half-written beside it."""
    path = show.plot(scores(0.0, 0.2, 0.8), tmp_path / "lambda.png")
    with Image.open(path) as picture:
        assert picture.format == "PNG" and picture.width > 800
        assert len(picture.convert("RGB").getcolors(maxcolors=1 << 20)) > 10
    assert [p.name for p in tmp_path.iterdir()] == ["lambda.png"]
