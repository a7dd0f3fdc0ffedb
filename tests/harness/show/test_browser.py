"""The page in a real browser: what it renders, and that no request leaves it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.show.report import write
from tests.harness.show import example
from tests.harness.show.parsed import Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",  # which needs rights that containers lack
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",  # nothing leaves this machine
)


class Opened(NamedTuple):
    """The document after its scripts and styles, and the addresses that the page asked for."""

    page: Page
    requests: list[str]


Open = Callable[[str], Opened]


@pytest.fixture
def browse(tmp_path: Path) -> Open:
    """Opens a page from a file."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium: what the page asks for goes untested", pytrace=False)
        pytest.skip("no Chromium here")

    def opened(source: str) -> Opened:
        file, log = tmp_path / "page.html", tmp_path / "net.json"
        file.write_text(source, encoding="utf-8")
        options = (*OPTIONS, f"--user-data-dir={tmp_path / 'user'}", f"--log-net-log={log}")
        command = [program, *options, "--dump-dom", file.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
        return Opened(Page(done.stdout), requests(log))

    return opened


def requests(log: Path) -> list[str]:
    """The addresses in a net log that a page asked for.

    The browser's own requests, such as for the time, have no origin. A page from a file has the
    opaque origin "null".
    """
    found = json.loads(log.read_text("utf-8"))
    start = found["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    started = [event["params"] for event in found["events"] if event["type"] == start]
    asked = [event for event in started if "url" in event]
    return [event["url"] for event in asked if event["initiator"] != "not an origin"]


@pytest.fixture
def page_of(tmp_path: Path) -> Callable[[dict[str, Any]], str]:
    """The page's text."""

    def written(found: dict[str, Any]) -> str:
        (tmp_path / f"{found['kind']}.json").write_text(json.dumps(found))
        return write(tmp_path / f"{found['kind']}.json")[0].read_text("utf-8")

    return written


PageOf = Callable[[dict[str, Any]], str]
ADDRESS = "http://127.0.0.1:9/asked"
LEAKS = (
    f'<img src="{ADDRESS}">',
    f'<link rel="stylesheet" href="{ADDRESS}">',
    f"<style>body {{ background: url({ADDRESS}) }}</style>",
    f"<script>fetch('{ADDRESS}')</script>",
    f'<svg><image href="{ADDRESS}" width="9" height="9"/></svg>',
    f'<iframe src="{ADDRESS}"></iframe>',
)


@pytest.mark.parametrize("found", [example.sweep(), example.grid(), example.search()])
def test_the_rendered_page_asks_for_nothing(
    browse: Open, page_of: PageOf, found: dict[str, Any]
) -> None:
    """It renders as it was written; and it is not only its policy that keeps it from asking."""
    source = page_of(found)
    opened = browse(source)
    written = Page(source)
    assert opened.requests == []
    assert opened.page.tables == written.tables and opened.page.texts == written.texts
    assert len(opened.page.all("svg")) == len(written.all("svg"))
    start = source.index("<meta http-equiv")
    without_policy = source[:start] + source[source.index(">", start) + 1 :]
    assert "Content-Security-Policy" not in without_policy
    assert browse(without_policy).requests == []


def test_a_hostile_name_runs_nothing(browse: Open, page_of: PageOf) -> None:
    """Scripts in it would change the title; it is shown as the text that it is."""
    name = f"<script>document.title = 'run'</script><img src=x onerror=\"fetch('{ADDRESS}')\">"
    sweep = example.sweep() | {"reward_model": name, "notes": [name]}
    for found in [*sweep["points"], *sweep["reported"]]:
        found["sections"][0]["name"] = name
    opened = browse(page_of(sweep))
    assert opened.requests == []
    assert name in opened.page.texts and "run" not in opened.page.texts
    assert not opened.page.tags() & {"script", "img"}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_page_that_asks_is_caught(browse: Open, leak: str) -> None:
    """What the tests above rely on: such a request is seen."""
    opened = browse(f"<!doctype html><html><head><title>-</title></head><body>{leak}</body></html>")
    assert opened.requests == [ADDRESS]


def test_the_policy_would_stop_what_asks(browse: Open, page_of: PageOf) -> None:
    """Even where something got into the page unescaped."""
    source = page_of(example.search()).replace("</main>", "".join(LEAKS) + "</main>")
    assert source.count(ADDRESS) == len(LEAKS)
    assert browse(source).requests == []
