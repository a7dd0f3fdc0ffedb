"""What is asked of the Hub: the licences of its models, and whether it accepts the card."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from tests.harness.show.card.conftest import best_recipe, refused

CARD = b"---\nlicense: apache-2.0\n---\n# A model\n"


class Hub(BaseHTTPRequestHandler):
    """Two models with a card, and the check of metadata."""

    verdict = (200, b"{}")
    asked: list[bytes]

    def do_HEAD(self) -> None:
        self._answer(200, CARD, body=False)

    def do_GET(self) -> None:
        self._answer(200, CARD)

    def do_POST(self) -> None:
        self.asked.append(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(*self.verdict)

    def _answer(self, status: int, content: bytes, body: bool = True) -> None:
        has_card = "/me/" in self.path or self.command == "POST"
        self.send_response(status if has_card else 404)
        self.send_header("ETag", '"1"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def hub() -> Iterator[tuple[str, type[Hub]]]:
    """Its address, and what it does."""
    handler = type("Handler", (Hub,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()
    server.server_close()


def online(address: str, cache: Path, *args: object) -> subprocess.CompletedProcess[str]:
    """`dogerm card` in a process of its own, for the address is read when it starts."""
    code = "from harness.commands.card import card; card()"
    environment = {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(cache)}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=600,
    )


def test_the_hub_is_asked(
    out: Path, sweep: Callable[..., Path], hub: tuple[str, type[Hub]], tmp_path: Path
) -> None:
    """Licences of its models; a card that it refuses is not written."""
    address, handler = hub
    recipe = yaml.safe_dump(best_recipe(Path("me/rm"), Path("me/lm")))
    (out / "mergekit_config.yml").write_text(recipe, "utf-8")
    path = out / "README.md"
    path.write_text(path.read_text("utf-8").replace("base_model: []\n", ""), "utf-8")
    before = path.read_bytes()
    args = (out, "--results", sweep(best_recipe=recipe), "--validate")

    handler.verdict = (400, b"license: not accepted")
    result = online(address, tmp_path / "cache", *args)
    (line,) = result.stderr.strip().splitlines()
    assert line.endswith("the Hub refuses the card: license: not accepted")
    assert (result.returncode, path.read_bytes()) == (1, before)

    handler.verdict = (200, b"{}")
    result = online(address, tmp_path / "cache", *args)
    assert result.returncode == 0, result.stderr
    data = ModelCard.load(path).data
    assert (data.license, data.base_model) == ("apache-2.0", ["me/rm", "me/lm"])
    assert len(handler.asked) == 2 and b"model-index" in handler.asked[1]


def test_the_hub_is_out_of_reach(out: Path, sweep: Callable[..., Path]) -> None:
    """Offline, `--validate` is an error, and all else works."""
    before = (out / "README.md").read_bytes()
    assert "the Hub could not be asked" in refused(out, "--results", sweep(), "--validate")
    assert (out / "README.md").read_bytes() == before
