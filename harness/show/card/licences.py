# SPDX-License-Identifier: Apache-2.0
"""The licences of the merged models, as their own cards tell them; never guessed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml
from huggingface_hub import hf_hub_download
from huggingface_hub.constants import REPOCARD_NAME
from huggingface_hub.errors import HTTPError
from huggingface_hub.repocard import metadata_load

from harness.show.card.benchmarks import is_hub_id
from harness.show.card.recipe import Ingredient

OTHER = "other"


@dataclass(frozen=True)
class Licence:
    """The licence of a merged model, as its card tells it.

    Attributes:
        model: a folder or Hub id.
        on_hub: whether it is a Hub id.
        id: the Hub's identifier of the licence; None where no card tells it.
        name: ``license_name``, which says what `OTHER` means.
        why: where it is from, or why it is not known.
    """

    model: str
    on_hub: bool
    id: str | None
    name: str | None = None
    why: str = ""

    @property
    def shown(self) -> str:
        """The licence as it stands in a table."""
        if self.id is None:
            return f"unknown ({self.why})"
        return f"{self.id} ({self.name})" if self.name else self.id


def licences(ingredients: Iterable[Ingredient], hub_ids: Collection[str] | None) -> list[Licence]:
    """The licence of each model and adapter of a recipe, once each.

    Args:
        hub_ids: the `base_model` of the card: mergekit lists there which names are Hub ids, and
            what was a folder when it merged must not be taken for one later. None: not listed.
    """
    parts = dict.fromkeys(part for ingredient in ingredients for part in ingredient.parts)
    return [_licence(path, revision, hub_ids) for path, revision in parts]


def agreed(several: Iterable[Licence]) -> str | None:
    """The licence that all have; None where they differ or one is not known."""
    different = {(licence.id, licence.name) for licence in several}
    return different.pop()[0] if len(different) == 1 else None


def _licence(path: str, revision: str | None, hub_ids: Collection[str] | None) -> Licence:
    folder = Path(path).expanduser()
    if folder.exists():
        card = folder / REPOCARD_NAME
        if not card.is_file():
            return Licence(path, False, None, why="its folder has no README.md")
        return _of_card(path, False, card, "its README.md names none")
    if not is_hub_id(path) or (hub_ids is not None and path not in hub_ids):
        return Licence(path, False, None, why="a folder that is not here")
    try:
        downloaded = hf_hub_download(path, REPOCARD_NAME, revision=revision)
    except (OSError, HTTPError):  # no network, offline mode, no such repository or card, gated
        return Licence(path, True, None, why="its card on the Hub could not be read")
    return _of_card(path, True, Path(downloaded), "its card on the Hub names none")


def _of_card(model: str, on_hub: bool, card: Path, none: str) -> Licence:
    try:
        data = metadata_load(card) or {}
    except (ValueError, yaml.YAMLError):
        return Licence(model, on_hub, None, why="its card's metadata is broken")
    licence, name = data.get("license"), data.get("license_name")
    if not isinstance(licence, str) or licence == "unknown":
        return Licence(model, on_hub, None, why=none)
    return Licence(model, on_hub, licence, str(name) if name else None)
