# SPDX-License-Identifier: Apache-2.0
"""README.md of a merged model: what it was, with this command's section and metadata renewed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard
from huggingface_hub.constants import REPOCARD_NAME

from harness.errors import HarnessError
from harness.runs.atomic import write_text
from harness.show.card import front_matter, model_index, section
from harness.show.card.figures import Figures
from harness.show.card.licences import OTHER, Licence, agreed, licences
from harness.show.card.recipe import MergedRecipe

_BEGIN, _END = "<!-- dogerm card: begin", "<!-- dogerm card: end -->"
# The licence that this command set, if it did, so that a later run knows it from the user's.
_SECTION = re.compile(
    re.escape(_BEGIN) + r"(?:; license: (?P<licence>\S+))?"
    r"(?:; this section is replaced when dogerm card runs again)? -->\n.*?"
    + re.escape(_END)
    + r"\n?",
    re.DOTALL,
)


@dataclass(frozen=True)
class Card:
    """A finished model card, all of README.md, not yet written.

    Attributes:
        text: all of README.md, with ``\\n`` line ends.
        line_end: the file's own.
        results: the figures in its model-index that are of this command.
        licences: of the models that were merged.
        licence: the card's.
        ours: whether this command set it.
    """

    path: Path
    text: str
    line_end: str
    results: list[EvalResult]
    licences: list[Licence]
    licence: str
    ours: bool

    def write(self) -> None:
        """Replace README.md, whole or not at all."""
        write_text(self.path, self.text, newline=self.line_end)


def make(folder: Path, recipe: MergedRecipe, figures: Sequence[Figures]) -> Card:
    """The card of a merged model with these figures; nothing is written.

    Raises:
        HarnessError: the README.md that is there can't be extended.
    """
    path = folder / REPOCARD_NAME
    old, line_end = _read(path, folder)
    block, body = front_matter.split(old, str(path))
    data = front_matter.parsed(block, str(path))
    earlier = _SECTION.search(body)
    if body.count(_BEGIN) != (earlier is not None) or body.count(_END) != (earlier is not None):
        raise HarnessError(
            f"{path}: the comments {_BEGIN} ... --> and {_END} do not enclose one section, "
            "expected each once: remove them"
        )
    of_models = licences(recipe.ingredients, _hub_ids(data))
    results = model_index.eval_results(figures, recipe.architecture)
    licence, ours = _licence(data, earlier["licence"] if earlier else None, of_models)
    name = folder.resolve().name
    index = model_index.with_results(data.get(model_index.KEY), name, results, str(path))
    metadata = {**_base_models(data, of_models), model_index.KEY: index}
    if ours:
        metadata["license"] = licence
    rest = _SECTION.sub("", body)
    begin = f"{_BEGIN}{f'; license: {licence}' if ours else ''}"
    made = (
        f"{begin}; this section is replaced when dogerm card runs again -->\n"
        f"{section.markdown(recipe, of_models, licence, ours, figures, rest)}{_END}\n"
    )
    if earlier:
        body = body[: earlier.start()] + made + body[earlier.end() :]
    else:
        body = f"{body.rstrip()}\n\n{made}"
    text = f"---\n{front_matter.edited(block, metadata)}\n---\n{body}"
    _check(text, results, path)
    return Card(path, text, line_end, results, of_models, licence, ours)


def _read(path: Path, folder: Path) -> tuple[str, str]:
    """The card's text with ``\\n`` line ends, and its own line end; a bare one if there is none."""
    if not path.exists():
        return f"# {folder.resolve().name}\n", "\n"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise HarnessError(f"{path} is not UTF-8 ({error}): save it as UTF-8") from error
    line_end = "\r\n" if "\r\n" in text else "\n"
    return text.replace("\r\n", "\n"), line_end


def _hub_ids(data: dict[str, Any]) -> list[str] | None:
    given = data.get("base_model")
    if given is None:
        return None
    return [str(one) for one in given] if isinstance(given, list) else [str(given)]


def _base_models(data: dict[str, Any], of_models: Sequence[Licence]) -> dict[str, Any]:
    """`base_model` and its relation, where the card lacks them; only Hub ids are allowed there."""
    ids = _hub_ids(data) or [licence.model for licence in of_models if licence.on_hub]
    if not ids:
        return {}
    given = {key: data[key] for key in ("base_model", "base_model_relation") if data.get(key)}
    return {"base_model": ids, "base_model_relation": "merge", **given}


def _licence(
    data: dict[str, Any], earlier: str | None, of_models: Sequence[Licence]
) -> tuple[str, bool]:
    """The card's licence, and whether it is this command's to set."""
    given = data.get("license")
    if given and (given != earlier or data.get("license_name")):
        return str(given), False
    return agreed(of_models) or OTHER, True


def _check(text: str, results: list[EvalResult], path: Path) -> None:
    """Read the card back as huggingface_hub does."""
    try:
        there = ModelCard(text).data.get("eval_results", [])
    except (ValueError, yaml.YAMLError) as error:
        raise HarnessError(f"{path}: huggingface_hub refuses the card: {error}") from error
    if [result for result in there if result.task_name == model_index.TASK_NAME] != results:
        raise HarnessError(
            f"{path}: huggingface_hub reads other figures than were written: mend or remove the "
            "model-index in its metadata"
        )


def validate(card: Card) -> None:
    """Ask the Hub (``HF_ENDPOINT``) whether it accepts the card's metadata.

    Raises:
        HarnessError: it does not, or it can't be asked.
    """
    from huggingface_hub.errors import HTTPError

    try:
        ModelCard(card.text).validate()
    except ValueError as error:
        raise HarnessError(f"{card.path}: the Hub refuses the card: {error}") from error
    except (OSError, HTTPError) as error:
        raise HarnessError(
            f"{card.path}: the Hub could not be asked ({error}): try again, or leave --validate out"
        ) from error
