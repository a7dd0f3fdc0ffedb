# SPDX-License-Identifier: Apache-2.0
"""A router that `dogerm train router` fitted on embedded prompts: nearest centroid or linear probe.

router.json           kind, labels, encoder and its files' digest, template, temperature
router.safetensors    shift [hidden], scale [hidden], weight [labels, hidden], bias [labels]

Both kinds are a linear map of the shifted and scaled point. The probe is multinomial logistic
regression; the centroid's rows are the domains' mean directions, and points are brought to length 1
before, so that its logits are cosines. The temperature makes the softmax of either a probability.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dogerm_plugin.errors import MergeError
from dogerm_plugin.files.atomic import write_text
from dogerm_plugin.files.json_file import read_object
from harness.errors import HarnessError
from harness.models.routing.classifier import LONGEST
from harness.models.routing.embedder import Embedder
from harness.models.routing.experts import of_folder
from harness.rows.conversation import Turns

FILE, TENSORS = "router.json", "router.safetensors"
CENTROID, PROBE = "centroid", "probe"
FORM = 1

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class LinearRouter:
    """A map from points to the probabilities of domains.

    Attributes:
        kind: `CENTROID` or `PROBE`.
        labels: the domains.
        shift: [hidden], taken from a point.
        scale: [hidden], what it is then divided by.
        weight: [labels, hidden].
        bias: [labels].
        temperature: what logits are divided by.
    """

    kind: str
    labels: tuple[str, ...]
    shift: Array
    scale: Array
    weight: Array
    bias: Array
    temperature: float = 1.0

    def logits(self, points: Array) -> Array:
        """[prompts, labels] of points [prompts, hidden]."""
        moved = (points.astype(np.float64) - self.shift) / self.scale
        if self.kind == CENTROID:
            moved = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)
        result: Array = moved @ self.weight.T + self.bias
        return result

    def probabilities(self, points: Array) -> Array:
        """[prompts, labels]; each row sums to 1."""
        from scipy.special import softmax

        result: Array = softmax(self.logits(points) / self.temperature, axis=1)
        return result


def save(router: LinearRouter, folder: Path, about: dict[str, Any]) -> None:
    """Write a router's two files; `about` has its encoder, its template and its figures."""
    from safetensors.numpy import save_file

    tensors = {
        name: np.ascontiguousarray(getattr(router, name), dtype=np.float64)
        for name in ("shift", "scale", "weight", "bias")
    }
    save_file(tensors, folder / TENSORS)
    content = {
        "form": FORM,
        "kind": router.kind,
        "labels": list(router.labels),
        "temperature": router.temperature,
        **about,
    }
    write_text(folder / FILE, json.dumps(content, indent=1) + "\n")


def read(folder: Path) -> tuple[LinearRouter, dict[str, Any]]:
    """A router and what its file says of it.

    Raises:
        HarnessError: a file is missing or damaged, or the two don't belong together.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        about = read_object(folder / FILE)
        tensors = load_file(folder / TENSORS)
        router = LinearRouter(
            kind=about["kind"],
            labels=tuple(about["labels"]),
            temperature=float(about["temperature"]),
            **{name: tensors[name] for name in ("shift", "scale", "weight", "bias")},
        )
        encoder = about["encoder"]
    except MergeError as error:
        raise HarnessError(f"router={folder}: {error}") from None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise HarnessError(
            f"router={folder}: {FILE} and {TENSORS} are damaged or lack something "
            f"({type(error).__name__}: {error}); fit the router again with dogerm train router"
        ) from error
    if router.kind not in (CENTROID, PROBE) or about.get("form") != FORM:
        raise HarnessError(
            f"router={folder}: {FILE} is of kind {router.kind!r}, form {about.get('form')}, which "
            "this version does not know; fit the router again with dogerm train router"
        )
    shapes = {len(router.labels), *router.weight.shape[:1], *router.bias.shape}
    widths = {*router.weight.shape[1:], *router.shift.shape, *router.scale.shape}
    if len(shapes) > 1 or len(widths) > 1:
        raise HarnessError(
            f"router={folder}: {TENSORS} is of another router than {FILE}: {len(router.labels)} "
            f"labels, weight {list(router.weight.shape)}; fit the router again"
        )
    about["encoder"] = str(folder / encoder) if (folder / encoder).is_dir() else encoder
    return router, about


class FittedRouter:
    """The router of a folder, with the model that embeds its prompts.

    Args:
        folder: of `dogerm train router`.
        device: where the encoder runs.
        batch_size: prompts in one batch.

    Raises:
        HarnessError: see `read`; the encoder is another one now.
    """

    def __init__(self, folder: Path, *, device: Any, batch_size: int) -> None:
        self.place = str(folder)
        self.router, self.about = read(folder)
        encoder, known = self.about["encoder"], self.about.get("encoder_files")
        if known and of_folder(encoder) not in ("", known):
            raise HarnessError(
                f"router={folder}: its encoder {encoder} has other files than when the router was "
                "fitted, so prompts would be other points; fit the router again with dogerm train "
                "router"
            )
        self.kind = self.router.kind
        self.labels = self.router.labels
        self._device, self._batch_size = device, batch_size

    def probabilities(self, prompts: Sequence[Turns]) -> list[list[float]]:
        """Each prompt's probability of each label; the encoder is loaded for as long as it takes.

        Raises:
            HarnessError: the encoder can't be loaded, or has another width than the router.
        """
        embedder = Embedder(
            self.about["encoder"],
            template=self.about.get("template"),
            device=self._device,
            batch_size=self._batch_size,
            longest=int(self.about.get("max_length", LONGEST)),
        )
        points = embedder.embed(prompts)
        width = len(self.router.shift)
        if len(prompts) and points.shape[1] != width:
            raise HarnessError(
                f"router={self.place}: its encoder {embedder.place} gives {points.shape[1]} "
                f"numbers a prompt, and the router was fitted on {width}: it is another model"
            )
        rows: list[list[float]] = self.router.probabilities(points).tolist()
        return rows

    def identity(self) -> dict[str, str]:
        """What a choice depends on beside the prompt."""
        from dogerm_plugin.files.digests import of_file
        from harness.runs.identity import digest, model_files

        encoder = Path(self.about["encoder"])
        files = model_files([encoder]) if encoder.is_dir() else {}
        return {
            "router": of_file(Path(self.place) / TENSORS),
            "about": digest(self.about),
            "encoder": digest(sorted(files.values())),
        }
