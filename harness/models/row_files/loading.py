# SPDX-License-Identifier: Apache-2.0
"""Which model scores, how it is loaded, and what its rewards depend on."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dogerm_plugin.files.digests import of_model
from dogerm_plugin.recipe.router import is_recipe
from harness.errors import HarnessError
from harness.models import NAMES
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
        """The files and folders of this machine that it is made of, as the user names them."""
        given = [self.pretrained, *map(str, self.arguments.values())]
        if is_recipe(self.pretrained):
            given += merged.models(self.pretrained)
        # several are written A;B, or NAME=A;NAME=B
        parts = [part for text in given for part in (text, *text.split(";"))]
        named = [name for part in parts for name in (part, part.partition("=")[2])]
        return [name for name in dict.fromkeys(named) if name and _is_there(name)]

    @property
    def identity(self) -> dict[str, str]:
        """What its rewards depend on; read from files, so nothing need be loaded.

        Raises:
            HarnessError: a recipe can't be followed.
        """
        folders = {name: Path(name).expanduser() for name in self.files}
        rule = merged.method(self.pretrained) if is_recipe(self.pretrained) else ""
        return {
            "model": "" if self.pretrained in folders else self.pretrained,
            **{f"files of {n}": of_model(f) for n, f in folders.items() if f.is_dir()},
            **identity.argument_files({"pretrained": self.pretrained, **self.arguments}),
            "--model": self.kind,
            "--model_args": identity.as_text(dict(self.arguments)),
            "--batch_size": self.batch_size,
            "device": identity.device(self.arguments),
            **identity.software(),
            **(identity.methods(rule) if rule else {}),
            **identity.code(NAMES[self.kind].partition(":")[0], "harness.models.row_files.run"),
        }


def _is_there(name: str) -> bool:
    try:
        return Path(name).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # a template's text is no path
        return False
