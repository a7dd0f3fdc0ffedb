"""Small servers, each with a real tiny model behind the protocol of a large one.

What each reads of a request and puts into its answer is written after the servers' own source; see
`harness.models.remote.protocols` for versions and files.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Answer = tuple[int, Any]


class Model:
    """A reward model whose reward is read at the last token, whatever that is."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self.model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self._lock = threading.Lock()

    def reward(self, ids: list[int]) -> float:
        import torch

        with self._lock, torch.no_grad():
            states = self.model.model(input_ids=torch.tensor([ids])).last_hidden_state
            return float(self.model.score(states[0, -1]))


def sigmoid(number: float) -> float:
    return 1 / (1 + math.exp(-number))


def vllm(
    model: Model, *, key: str = "use_activation", regression: bool = False, most: int = 512
) -> Callable[[str, Any], Answer]:
    """vLLM's ``/classify``: a sigmoid on the label unless `key` is false or it is a regression."""

    def answer(path: str, asked: Any) -> Answer:
        if path != "/classify":
            return 404, {"detail": "Not Found"}
        inputs = asked["input"]
        if max(map(len, inputs)) > most:
            message = f"This model's maximum context length is {most} tokens."
            return 400, {"error": {"message": message, "type": "BadRequestError", "code": 400}}
        rewards = [model.reward(ids) for ids in inputs]
        if asked.get(key) is not False and not regression:
            rewards = [sigmoid(one) for one in rewards]
        data = [
            {"index": number, "label": "LABEL_0", "probs": [one], "num_classes": 1}
            for number, one in enumerate(rewards)
        ]
        return 200, {"data": data, "usage": {"prompt_tokens": sum(map(len, inputs))}}

    return answer


def sglang(model: Model) -> Callable[[str, Any], Answer]:
    """SGLang's ``/classify``."""

    def answer(path: str, asked: Any) -> Answer:
        if path != "/classify":
            return 404, {"detail": "Not Found"}
        inputs = asked.get("input_ids") or [
            model.tokenizer(one)["input_ids"] for one in asked["text"]
        ]
        return 200, [
            {"embedding": [model.reward(ids)], "meta_info": {"prompt_tokens": len(ids)}}
            for ids in inputs
        ]

    return answer


def openrlhf(model: Model, *, strips: bool = False) -> Callable[[str, Any], Answer]:
    """OpenRLHF's ``/get_reward``; with `strips` as earlier versions had it."""

    def answer(path: str, asked: Any) -> Answer:
        if path != "/get_reward":
            return 404, {"detail": "Not Found"}
        texts, tokenizer = asked["query"], model.tokenizer
        if strips:
            eos = tokenizer.eos_token
            texts = [text.strip(tokenizer.pad_token).strip(eos) + eos for text in texts]
        rewards = [
            model.reward(tokenizer(text, add_special_tokens=strips)["input_ids"]) for text in texts
        ]
        return 200, {"rewards": rewards, "scores": rewards, "extra_logs": {}}

    return answer


class Running:
    """A server's address, and what it was asked.

    Attributes:
        url: its ``base_url``.
        asked: the requests' JSON.
        headers: of each.
        most: requests that were under way together.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.most = self._now = 0
        self._lock = threading.Lock()

    @contextmanager
    def counted(self, asked: Any, headers: dict[str, str]) -> Iterator[int]:
        with self._lock:
            self.asked.append(asked)
            self.headers.append(headers)
            self._now += 1
            self.most = max(self.most, self._now)
            number = len(self.asked)
        try:
            yield number
        finally:
            with self._lock:
                self._now -= 1


@contextmanager
def running(answer: Callable[[str, Any], Answer]) -> Iterator[Running]:
    """A server that answers so; an answer of bytes is sent as it is."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with found.counted(asked, dict(self.headers)):
                status, content = answer(self.path, asked)
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Running(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
