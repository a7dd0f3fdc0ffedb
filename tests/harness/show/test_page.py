"""The report as a page and as Markdown: what it says, and that nothing in it is code."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.show.report import write
from tests.harness.show import example
from tests.harness.show.parsed import Page, addresses, markdown_tables, unescaped

Write = Callable[[dict[str, Any]], Path]


@pytest.fixture
def report(write_found: Write) -> Callable[[dict[str, Any]], tuple[Page, str]]:
    """Gives the page, and the Markdown."""

    def written(found: dict[str, Any]) -> tuple[Page, str]:
        html, markdown = write(write_found(found))
        return Page(html.read_text("utf-8")), markdown.read_text("utf-8")

    return written


Report = Callable[[dict[str, Any]], tuple[Page, str]]


def column(table: list[list[str]], head: str) -> list[str]:
    index = table[0].index(head)
    return [row[index] for row in table[1:]]


def test_a_sweep_is_told_from_verdict_to_machine(report: Report) -> None:
    """Each thing that a reader needs to believe it, or to do it again."""
    sweep = example.sweep()
    page, _ = report(sweep)
    text = "\n".join(page.texts)
    for expected in (
        "Sweep of λ: rm with maths-model",
        "Chosen: λ = 0.2.",
        "rewardbench: 0.392 → 0.406, +0.014 (-0.046 to +0.074): inside the noise, neither a gain",
        "Of all 6 sections: 1 better, 0 worse, 4 noise, 1 same.",
        "selection and report rows are different rows",
        "the smallest total weight whose score on the selection rows is within one standard error",
        "Best: 0.517 ±0.022 at λ = 0.35. Chosen: 0.497 ±0.022 at λ = 0.2.",
        "exact McNemar; ~ sign-flip test, 10,000 draws",
        sweep["best_recipe"],
        sweep["recipe"]["text"],
        "mergekit-yaml best.yml merged/",
        sweep["made"]["command"],
        "models/rm",
        "example/maths-model",
        "dtype=bfloat16",
        "20 min 34 s",
        "1.6 GB (one live model: 270 MB)",
        "Example CPU, cores 2, threads 1, memory 32.0 GB, Linux 6.1",
        "torch 2.13.0",
        "7 rows of rewardbench were truncated",
    ):
        assert expected in text


def test_the_tables_of_a_sweep_hold_every_figure(report: Report) -> None:
    sweep = example.sweep()
    page, _ = report(sweep)
    selection, paired, ends = page.tables
    scores = [f"{point['score']:.3f} ±{point['stderr']:.3f}" for point in sweep["points"]]
    assert column(selection, "all, which chose λ") == scores
    assert column(selection, "λ") == [point["label"] for point in sweep["points"]]
    picked = column(selection, "picked")
    assert (picked[sweep["best"]], picked[sweep["chosen"]]) == ("best", "chosen")
    assert column(selection, "scoring") == ["61.0 s"] * 21
    found = sweep["proof"]["sections"]
    assert column(paired, "verdict") == [section["verdict"] for section in found]
    assert column(paired, "B − A") == [f"{section['difference']:+.3f}" for section in found]
    assert column(paired, "p")[:3] == ["~0.445", "~0.445", "1.000"]
    assert column(paired, "p (Holm)")[3:5] == ["1.000", "0.001"]
    assert column(ends, "section")[2] == "\u2003\u2003rewardbench-llmbar-natural"
    for head, point in zip(("λ = 0", "λ = 0.2 (chosen)", "λ = 1"), sweep["reported"], strict=True):
        assert column(ends, head) == [
            f"{section['score']:.3f} ±{section['stderr']:.3f}" for section in point["sections"]
        ]


def test_a_search_shows_what_selection_promised_and_what_was_kept(report: Report) -> None:
    search = example.search()
    page, _ = report(search)
    top, against_model, against_plain, trials = page.tables
    best = search["top"][0]
    assert top[1][:4] == [f"trial {best['number']}", "0.544 ±0.022", "0.410 ±0.013", "+0.134"]
    assert top[1][4:] == [f"{value:.4g}" for value in best["params"].values()]
    assert top[-1][:4] == ["plain sweep, λ = 0.2", "0.490 ±0.022", "0.401 ±0.012", "+0.089"]
    assert len(top) == 1 + 10 + 1 and len(trials) == 1 + 12
    assert column(trials, "state").count("complete") == 10
    assert trials[1 + 7][1:3] == ["failed", "-"]
    assert column(against_model, "A") == [f"{s['a']:.3f}" for s in search["proof"]["sections"]]
    assert column(against_plain, "A") == [
        f"{section['a']:.3f}" for section in search["proof_baseline"]["sections"]
    ]
    text = "\n".join(page.texts)
    for expected in (
        "Best on the selection rows: trial 5 (attention = 0.25, mlp = 0.35).",
        "On the report rows, against the best single λ of a plain sweep:",
        "10 complete, 1 pruned, 1 failed",
        "sqlite:///out/trials.db",
        "tpe",
    ):
        assert expected in text


def test_where_less_is_better_the_loss_is_the_rise(report: Report) -> None:
    search = example.search() | {"higher_is_better": False}
    assert report(search)[0].tables[0][1][3] == "-0.134"


@pytest.mark.parametrize("found", [example.sweep(), example.grid(), example.search()])
def test_page_and_markdown_say_the_same(report: Report, found: dict[str, Any]) -> None:
    """The same tables cell by cell, and every other text of the page in the Markdown."""
    page, markdown = report(found)
    assert markdown_tables(markdown) == page.tables
    shown = unescaped(markdown)
    for text in page.texts:
        assert text.rstrip("\n") in shown


def test_what_there_is_not_is_left_out(report: Report) -> None:
    """No proof and no margins, where 0 was chosen on rows without; a single item, no error."""
    sweep = example.sweep() | {"proof": None, "margins": None, "chosen": 0, "notes": []}
    sweep["points"][0]["stderr"] = None
    page, markdown = report(sweep)
    assert len(page.tables) == 2 and len(page.all("svg")) == 1
    assert column(page.tables[0], "all, which chose λ")[0] == "0.463"
    assert page.texts[1].startswith("Chosen: λ = 0, the reward model itself.")
    assert "Notes" not in page.texts and "None" not in page.source + markdown
    search = example.search() | {"proof": None, "proof_baseline": None}
    assert len(report(search)[0].tables) == 2


def test_a_split_task_is_told(report: Report) -> None:
    sweep = example.sweep() | {"split": 0.2, "select": ["prefs"], "report": ["prefs"]}
    assert (
        "The rows of prefs are divided by a hash of the prompt: 20% of the prompts chose the "
        "weights, the other 80% are reported (prefs). Selection and report rows are different "
        "rows, and no prompt is on both sides."
    ) in report(sweep)[0].texts


HOSTILE = (
    '<script>run()</script>"><img src=x onerror=alert(1)>]]></svg><style>*{display:none}</style>',
    "[click](http://example.test/) ![x](http://example.test/x.png) `` ``` `` | \\| <b> &lt;",
    "# heading\n- list\r\n| a | b |",
    "$\\frac{ {{ 7 * 7 }} {% raw %} \x01\x1b[31m",
)


def hostile(found: Any, name: str) -> Any:
    """What was found, with every name and text in it replaced."""
    changed = copy.deepcopy(found)
    for point in [*changed.get("points", []), *changed.get("reported", [])]:
        point["sections"][0]["name"] = name
    for proof in filter(None, (changed["proof"], changed.get("proof_baseline"))):
        proof["sections"][0]["name"] = name
        proof["notes"] = [name]
    for trial in [*changed.get("trials", []), *changed.get("top", [])]:
        trial["params"] = {name: name}
    changed["made"] |= {"command": name, "versions": {name: name}, "machine": {"cpu": name}}
    changed["made"]["model_args"] = {name: name}
    changed["recipe"] = {"path": name, "text": name}
    for key in ("best_recipe", "reward_model", "metric"):
        changed[key] = name
    for key in ("domain_models", "select", "report", "notes"):
        changed[key] = [name]
    return changed


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("found", [example.sweep(), example.search()])
def test_names_and_recipes_stay_text(report: Report, found: dict[str, Any]) -> None:
    """They add no element to the page and no structure to the Markdown, and can be read in both."""
    plain, _ = report(found)
    for name in HOSTILE:
        check_hostile(name, plain, *report(hostile(found, name)))


def check_hostile(name: str, plain: Page, page: Page, markdown: str) -> None:
    assert page.tags() == plain.tags()
    assert [len(table) for table in page.tables] == [len(table) for table in plain.tables]
    assert not {name for _, attrs in page.elements for name in attrs if name.startswith("on")}
    assert addresses(page) == []
    assert any(name.replace("\r", "") in text for text in page.texts)
    outside = re.sub(r"^(`{3,})\n.*?^\1$", "", markdown, flags=re.DOTALL | re.MULTILINE)
    headings = [line for line in outside.splitlines() if line.startswith("#")]
    assert len(headings) == len(page.all("h1")) + len(page.all("h2"))
    assert not re.search(r"(?<!\\)<|(?<!\\)\]\((?!lambda|margins)", outside)
    assert [len(row) for table in markdown_tables(outside) for row in table] == [
        len(row) for table in page.tables for row in table
    ]


def test_the_page_needs_nothing_else(report: Report) -> None:
    """No script, no address, and a policy that would not let any be followed."""
    for found in (example.sweep(), example.grid(), example.search()):
        page, _ = report(found)
        assert not page.tags() & {"script", "iframe", "object", "embed", "form", "base", "a"}
        assert addresses(page) == []
        assert "http:" not in page.source and "https:" not in page.source
        (policy,) = [meta for meta in page.all("meta") if "http-equiv" in meta]
        assert policy == {
            "http-equiv": "Content-Security-Policy",
            "content": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
        }


def test_the_page_is_accessible(report: Report) -> None:
    """Language, header cells with a scope, captions, pictures with a name and a description."""
    page, _ = report(example.sweep())
    assert page.all("html") == [{"lang": "en"}]
    assert all(head["scope"] in ("col", "row") for head in page.all("th"))
    rows = sum(len(table) - 1 for table in page.tables)
    assert sum(head["scope"] == "row" for head in page.all("th")) == rows
    assert len(page.all("caption")) == len(page.tables) == 3
    identified = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identified) == len(set(identified))
    pictures = page.all("svg")
    assert len(pictures) == 2
    for picture in pictures:
        assert picture["role"] == "img"
        assert {picture["aria-labelledby"], picture["aria-describedby"]} <= set(identified)
    used = re.findall(r'(?:url\(|href=")#([^")]+)', page.source)
    assert used and set(used) <= set(identified)


def test_pictures_follow_the_scheme(report: Report) -> None:
    """Ink and paper are the page's own: neither is black or white in the pictures."""
    page, _ = report(example.sweep())
    inside = page.source[page.source.index("<svg") :]
    assert "currentColor" in inside and "#000000" not in inside and "#ffffff" not in inside
    assert "prefers-color-scheme: dark" in page.source and "@media print" in page.source


def test_the_page_is_the_same_each_time(report: Report) -> None:
    assert report(example.sweep())[0].source == report(example.sweep())[0].source
