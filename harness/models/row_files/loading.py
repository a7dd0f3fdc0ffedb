# SPDX-License-Identifier: Apache-2.0
"""Which model scores, how it is loaded, and what its rewards depend on."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dogerm_plugin.files.digests import of_file, of_model
from dogerm_plugin.recipe.router import FILE, KEYS, is_recipe
from harness.errors import HarnessError
from harness.models import NAMES
from harness.models.routing import router_file
from harness.models.row_files import merged
from harness.runs import identity


@dataclass(frozen=True)
class Wanted:
    """A model of this project, as ``lm_eval --model KIND --model_args ...`` would load it.

    Attributes:
        pretrained: folder, Hub id, or the file of a recipe.
        kind: one of `harness.models.NAMES`.
        arguments: ``--model_args``, without pretrained.
        batch_size: lm-eval's.
    """

    pretrained: str
    kind: str = "reward"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    batch_size: str = "auto"

    def load(self) -> Any:
        """The model, loaded; of a recipe, the merge, in memory.

        Raises:
            HarnessError: it can't be.
        """
        if is_recipe(self.pretrained):
            if self.kind != "reward":
                raise HarnessError(
                    f"{self.pretrained} is a recipe, whose merge is scored by --model reward; "
                    f"merge it with mergekit-yaml for --model {self.kind}"
                )
            return merged.load(self.pretrained, {**self.arguments, "batch_size": self.batch_size})
        module, name = NAMES[self.kind].split(":")
        kind = getattr(importlib.import_module(module), name)
        return kind(self.pretrained, batch_size=self.batch_size, **self.arguments)

    @property
    def files(self) -> list[str]:
        """The files and folders of this machine that it is made of, as the user names them.

        What a recipe and a ``router.yml`` name is among them.

        Raises:
            HarnessError: one of these can't be followed.
        """
        given = [self.pretrained, *map(str, self.arguments.values())]
        # several are written A;B, or NAME=A;NAME=B
        parts = [part for text in given for part in (text, *text.split(";"))]
        waiting = [name for part in parts for name in (part, part.partition("=")[2])]
        if is_recipe(self.pretrained) and self.kind == "reward":
            waiting += merged.models(self.pretrained)
        found: dict[str, None] = {}
        while waiting:
            name = waiting.pop(0)
            if name and name not in found and _is_there(name):
                found[name] = None
                waiting += _named_in(name)
        return list(found)

    @property
    def identity(self) -> dict[str, str]:
        """What its rewards depend on; read from files, so nothing need be loaded.

        Raises:
            HarnessError: a recipe can't be followed.
        """
        places = {name: Path(name).expanduser() for name in self.files}
        is_merge = is_recipe(self.pretrained) and self.kind == "reward"
        rule = merged.method(self.pretrained) if is_merge else ""
        return {
            "model": "" if self.pretrained in places else self.pretrained,
            **{f"files of {n}": of_model(f) for n, f in places.items() if f.is_dir()},
            **{f"file {n}": of_file(f) for n, f in places.items() if f.is_file()},
            **{f"commit of {n}": commit for n, commit in self._commits(places)},
            "--model": self.kind,
            "--model_args": identity.as_text(dict(self.arguments)),
            "--batch_size": self.batch_size,
            "device": identity.device(self.arguments),
            **identity.software(),
            **(identity.methods(rule) if rule else {}),
            **identity.code(NAMES[self.kind].partition(":")[0], "harness.models.row_files.run"),
        }

    def _commits(self, places: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
        """What the Hub's names of models lead to today; their ``main`` may move between runs."""
        from transformers.utils import cached_file

        parts = [part.rpartition("=")[2] for part in self.pretrained.split(";")]
        revision = self.arguments.get("revision")
        for name in parts:
            if name in places:
                continue
            for config in ("config.json", "adapter_config.json"):
                try:
                    file = cached_file(
                        name, config, revision=revision, _raise_exceptions_for_missing_entries=False
                    )
                except (OSError, ValueError):  # out of reach, or no name: loading says so
                    break
                if file is not None:  # .../snapshots/COMMIT/config.json
                    yield name, Path(file).parent.name
                    break


def _named_in(name: str) -> list[str]:
    """The places that a recipe or a ``router.yml``, or the one in a router's folder, names."""
    place = Path(name).expanduser()
    if place.is_dir():
        return [str(place / FILE)]
    if not is_recipe(name):
        return []
    try:
        content = yaml.safe_load(place.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):  # loading says so, if it is read
        return []
    if not isinstance(content, dict):
        return []
    if "merge_method" in content:
        return merged.models(name)
    if not content.keys() <= {*KEYS}:
        return []
    made = router_file.read(place)
    router = made.router if isinstance(made.router, str) else ""
    in_place = [one for expert in made.recipes.values() for one in merged.models_of(expert)]
    return [*made.experts.values(), made.base or "", router, *in_place]


def _is_there(name: str) -> bool:
    try:
        return Path(name).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # a template's text is no path
        return False
