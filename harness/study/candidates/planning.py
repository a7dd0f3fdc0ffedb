# SPDX-License-Identifier: Apache-2.0
"""From a study's file to its steps, in the order in which they can be run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.runs import identity
from harness.runs.source import HOOKS
from harness.study.candidates import kept
from harness.study.candidates.config import Candidate, Study
from harness.study.candidates.scoring import SCORED_BY
from harness.study.candidates.steps import (
    CHOOSE,
    EXPORT,
    MERGE,
    SCORE,
    TRAIN,
    Step,
    content_of,
    contents,
    filled,
    options,
)
from harness.study.candidates.tasks import Tasks
from harness.study.candidates.variants import UNSEEDED, Variant, variants

_DOGERM = "harness.__main__:main"
# Trainings that end in an adapter where the config has `lora`, which is the default.
_OF_ADAPTERS = ("reward", "hybrid", "sft")
_FOLDERS = {
    TRAIN: "trained",
    EXPORT: "exported",
    CHOOSE: "chosen",
    MERGE: "merged",
    SCORE: "scored",
}


class Planner:
    """Makes the steps of all variants.

    Args:
        study: what is asked for.
        folder: of its file, where this process is: all commands run there, so that names mean what
            they mean there.
        out: where everything is written; absolute.
        tasks: the rows, to tell when they are others.

    Attributes:
        steps: in order.
        variants: those that there are, in order.

    Raises:
        HarnessError: a reference to no candidate or to one without a folder, candidates that need
            one another, a file that can't be read.
    """

    def __init__(self, study: Study, folder: Path, out: Path, tasks: Tasks) -> None:
        self._study = study
        self._folder = folder
        self._out = out
        self._tasks = tasks
        self._places: dict[tuple[str, str], str] = {}
        self._keys: dict[str, str] = {}
        self._made: dict[str, list[str]] = {}  # label -> the steps that make it
        self.steps: list[Step] = []
        self.variants = variants(study, lambda one: contents(one, folder))
        for variant in self.variants:
            self._plan(variant)

    def _plan(self, variant: Variant) -> None:
        one = self._study.candidates[variant.name]
        self._made[variant.label] = []
        if one.train is not None:
            self._train(variant, one)
        chosen = one.sweep or one.search
        if chosen is not None:
            self._choose(variant, one)
        if one.recipe is not None:
            recipe = content_of(one.recipe, self._folder)
            text = _dumped(filled(recipe, variant, self._places, self._study))
            file = f"configs/{variant.label}.yml"
            self._merge(variant, recipe, str(self._out / file), {file: text})
        if one.made_by is None and "pretrained" in one.model_args and "peft" not in one.model_args:
            named = self._filled(one.model_args["pretrained"], variant)
            self._places[variant.label, "model"] = str(named)
        if one.report:
            self._score(variant, one)

    def _train(self, variant: Variant, one: Candidate) -> None:
        train = one.train
        assert train is not None
        config = content_of(train.config, self._folder)
        seeded = dict(config)
        if train.kind not in UNSEEDED:
            seeded["training"] = {**(config.get("training") or {}), "seed": variant.seed}
        data = self._folder
        if isinstance(train.config, str):
            data = (self._folder / train.config).parent
        file = f"configs/{variant.label}.yml"
        output = self._output(TRAIN, variant)
        called = [_DOGERM, "train", train.kind, str(self._out / file), "-o", str(output)]
        called += ["--data", str(data), *options(ensemble=train.ensemble)]
        called += ["--domains"] if train.domains else []
        made_with = {
            "kind": train.kind,
            "config": identity.as_text(seeded),
            "members": str(train.ensemble),
            "domains": str(train.domains),
            **kept.files_of(config, data),
            **kept.files_of(config.get("model"), self._folder),
            **identity.code(f"harness.training.{train.kind}"),
            **identity.software(),
        }
        text = _dumped(self._filled(seeded, variant))
        self._add(TRAIN, variant, called, made_with, {file: text})
        several = bool(train.ensemble or train.domains)
        if config.get("lora", True) is None or train.kind not in _OF_ADAPTERS or several:
            self._places[variant.label, "model"] = str(output)
            return
        self._places[variant.label, "adapter"] = str(output)
        target = self._output(EXPORT, variant)
        base = str(self._filled(config.get("model", ""), variant))
        called = [_DOGERM, "train", "export", str(output), "--model", base, "-o", str(target)]
        called += ["--dtype", train.dtype]
        called += ["--heads", "both"] if train.kind == "hybrid" else []
        made_with = {
            "dtype": train.dtype,
            **identity.code("harness.training.export"),
            **identity.software(),
        }
        self._add(EXPORT, variant, called, made_with, {})
        self._places[variant.label, "model"] = str(target)

    def _choose(self, variant: Variant, one: Candidate) -> None:
        study, asked = self._study, one.sweep or one.search
        assert asked is not None
        kind = "sweep" if one.sweep else "search"
        said = asked.model_dump()
        recipe = content_of(said.pop("recipe"), self._folder)
        file, output = f"configs/{variant.label}.yml", self._output(CHOOSE, variant)
        named = {"select": said.pop("select") or study.select, "report": [self._tasks.smallest]}
        called = [_DOGERM, kind, str(self._out / file), "-o", str(output), *options(**said)]
        for option, given in named.items():
            called += [f"--{option}", ",".join(given)]
        called += options(metric=study.metric, batch_size=study.batch_size)
        called += options(metadata=json.dumps(study.metadata)) if study.metadata else []
        for path in study.include_path:
            called += ["--include-path", path]
        if study.model_args:
            called += ["--model_args", as_arguments(study.model_args)]
        made_with = {
            "asked": identity.as_text({kind: said, **named, "metric": study.metric}),
            "recipe": identity.as_text(recipe),
            "model_args": identity.as_text(study.model_args),
            "batch_size": str(study.batch_size),
            **{f"rows of {task}": text for task, text in self._tasks.digests.items()},
            **kept.files_of(recipe, self._folder),
            **identity.code(f"harness.study.{kind}", *HOOKS),
            **_rule(recipe),
            **identity.software(),
        }
        text = _dumped(self._filled(recipe, variant))
        self._add(CHOOSE, variant, called, made_with, {file: text})
        self._merge(variant, recipe, str(output / "best.yml"), {})

    def _merge(
        self, variant: Variant, recipe: Mapping[str, Any], file: str, files: Mapping[str, str]
    ) -> None:
        """By ``mergekit-yaml``; a list of experts is for ``mergekit-moe``."""
        script = "moe" if isinstance(recipe.get("experts"), list) else "run_yaml"
        output = self._output(MERGE, variant)
        made_with = {
            "recipe": identity.as_text(recipe),
            **kept.files_of(recipe, self._folder),
            **identity.code("dogerm_plugin.patches"),
            **_rule(recipe),
            **identity.software(),
        }
        called = [f"mergekit.scripts.{script}:main", file, str(output)]
        self._add(MERGE, variant, called, made_with, files)
        self._places[variant.label, "model"] = str(output)

    def _score(self, variant: Variant, one: Candidate) -> None:
        study = self._study
        model, given = one.model or self._default(one), dict(one.model_args)
        itself = f"${{{variant.name}"
        if one.made_by and "pretrained" not in given and itself not in identity.as_text(given):
            given["pretrained"] = f"{itself}}}"
        given = {**study.model_args, **given}
        made_with = {
            "model": model,
            "model_args": identity.as_text(given),
            "chat template": str(one.apply_chat_template),
            "batch_size": str(study.batch_size),
            "device": identity.device(given),
            **kept.files_of(given, self._folder),
            **identity.code(*SCORED_BY),
            **identity.software(),
        }
        rows = {
            f"rows of {n}": self._tasks.digests[n] for g in self._tasks.groups.values() for n in g
        }
        file = f"configs/{variant.label}.score.json"
        job = {
            "study": {**study.model_dump(), "candidates": {}},
            "output": f"{_FOLDERS[SCORE]}/{variant.label}",
            "told": variant.told,
            "model": model,
            "model_args": self._filled(_joined(given), variant),
            "apply_chat_template": one.apply_chat_template,
            "batch_size": study.batch_size,
            "made_with": {**made_with, **self._behind(variant)},
        }
        called = ["harness.study.candidates.scoring:main", str(self._out / file)]
        self._add(SCORE, variant, called, {**made_with, **rows}, {file: json.dumps(job, indent=1)})

    def _default(self, one: Candidate) -> str:
        return "hf" if one.train is not None and one.train.kind == "sft" else "reward"

    def _filled(self, value: Any, variant: Variant) -> Any:
        return filled(value, variant, self._places, self._study)

    def _output(self, kind: str, variant: Variant) -> Path:
        return self._out / _FOLDERS[kind] / variant.label

    def _above(self, variant: Variant) -> list[str]:
        """The steps whose output a variant's next step may take."""
        others = [name for one in variant.needs.values() for name in self._made[one.label][-1:]]
        return [*others, *self._made[variant.label][-1:]]

    def _behind(self, variant: Variant) -> dict[str, str]:
        """What those steps were made with, and the files of models that were there before."""
        behind = {f"made by {name}": self._keys[name] for name in self._above(variant)}
        for name, other in variant.needs.items():
            if not self._made[other.label]:
                behind |= kept.files_of(self._study.candidates[name].model_args, self._folder)
        return behind

    def _add(
        self,
        kind: str,
        variant: Variant,
        called: list[str],
        made_with: Mapping[str, str],
        files: Mapping[str, str],
    ) -> None:
        needs = self._above(variant)
        parts = {**made_with, **self._behind(variant)}
        output = self._output(kind, variant)
        step = Step(kind, variant, tuple(called), output, parts, tuple(needs), files)
        self._keys[step.name] = identity.digest(parts)
        if kind != SCORE:
            self._made[variant.label].append(step.name)
        self.steps.append(step)


def _rule(recipe: Mapping[str, Any]) -> dict[str, str]:
    """The source of a recipe's merge method where that is a user's own."""
    from dogerm_plugin.methods import registry

    name = recipe.get("merge_method")
    return identity.methods(name) if name in registry.names() else {}


def as_arguments(given: Mapping[str, Any]) -> str:
    """A mapping as ``--model_args`` takes it."""
    return ",".join(f"{name}={value}" for name, value in _joined(given).items())


def _joined(given: Mapping[str, Any]) -> dict[str, Any]:
    """Lists as our models take several: A;B;C."""
    return {k: ";".join(map(str, v)) if isinstance(v, list) else v for k, v in given.items()}


def _dumped(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)
