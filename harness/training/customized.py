# SPDX-License-Identifier: Apache-2.0
"""`dogerm train customized`: a language model, a general reward model, one for each domain.

out/language_model/       as `dogerm train sft` writes it
out/general/              as `dogerm train reward` writes it
out/customized/<domain>/  the same, from the general reward model with its head
out/.../model/            of a stage that ends in an adapter: the whole, in float32
out/held_out/             what each stage's model has right

Everyone Deserves A Reward (arXiv 2309.03126).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from dogerm_plugin.files import digests
from harness.errors import HarnessError
from harness.models.load.processes import started_processes
from harness.models.load.stored_tensors import stored_shapes
from harness.training import folder as runs
from harness.training.config import Config
from harness.training.domains import of_domain
from harness.training.export import BOTH, export_checkpoint
from harness.training.figures import trained
from harness.training.machine import settle
from harness.training.router_rows import domains_of
from harness.training.run import run
from harness.training.sft import SftTraining
from harness.training.stage_reward import StageReward
from harness.training.stage_rows import StageRows, gather_stages
from harness.training.stage_scores import CUSTOMIZED as OF_DOMAIN
from harness.training.stage_scores import GENERAL as OF_ALL
from harness.training.stage_scores import LANGUAGE_MODEL as OF_LANGUAGE
from harness.training.stage_scores import Scored, score_stage
from harness.training.stages_config import CUSTOMIZED, GENERAL, LANGUAGE_MODEL, Stages
from harness.training.trainer import load_tokenizer

WHOLE = "model"
HELD_OUT = "held_out"
REPORTS = ("stages.json", "stages.png")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def train_customized(
    stages: Stages,
    output: Path,
    data_folder: Path,
    model_folder: str | None = None,
    report: Callable[[Sequence[Scored], StageRows], None] = lambda *_: None,
) -> list[Scored]:
    """Train what is not finished yet, one stage after the other, and score each stage's model.

    Args:
        stages: as `read_stages` gives them.
        output: the folder for all stages.
        data_folder: relative file names start here.
        model_folder: where the model that the first stage starts from lies; None takes its name.
        report: told after each stage.

    Raises:
        HarnessError: see the message.
    """
    if started_processes() > 1:
        raise HarnessError(
            "stages are trained by one process: start dogerm train customized without a launcher, "
            "or train each stage by dogerm train sft and reward"
        )
    made = _Run(stages, output, data_folder, model_folder)
    if stages.language_model is not None:
        made.language_model()
    if not made.is_given:
        made.score(OF_LANGUAGE, "language model", report)
    if stages.general is not None:
        made.general()
        made.score(OF_ALL, "general", report)
    general = made.current
    for name in made.rows.domains:
        made.customized(name, general)
        made.score(OF_DOMAIN, name, report)
    return made.scored


class _Run:
    """The stages of one output folder, and the model that the next one starts from."""

    def __init__(
        self, stages: Stages, output: Path, data_folder: Path, model_folder: str | None
    ) -> None:
        self.stages = stages
        self.output = output
        self.data_folder = data_folder
        self.is_given = stages.general is not None and stages.general.model is not None
        start = stages.general.model if self.is_given and stages.general else stages.model
        self.name = str(start)
        self.current = self.start = model_folder or self.name
        if self.is_given and "score.weight" not in (stored_shapes(self.start) or {}):
            raise HarnessError(
                f"`{GENERAL}`: {self.start} is no reward model: it holds no score.weight (an "
                "adapter is made whole by dogerm train export)"
            )
        self.scored: list[Scored] = []
        _check_folder(output)
        self.rows = self._gather()

    def _gather(self) -> StageRows:
        stages = self.stages
        general = customized = None
        if stages.general is not None and stages.general.data:
            general = stages.config(GENERAL, self.name)
        domains: dict[str, Config] = {}
        chosen: tuple[str, ...] = ()
        if stages.customized is not None:
            customized = stages.config(CUSTOMIZED, "")
            known = domains_of(customized, self.data_folder)
            chosen = tuple(stages.customized.domains) or known
            _check_domains(chosen, known)
            domains = {name: of_domain(customized, name) for name in known}
        if general is None and customized is None:
            return StageRows()
        self.dtype = settle(stages.training.dtype)
        self.tokenizer = load_tokenizer(self.current, may_pad_with_end=False)
        has_first = stages.language_model is not None
        language = stages.config(LANGUAGE_MODEL, self.name) if has_first else None
        share = stages.customized.general_share if stages.customized is not None else 0.0
        return gather_stages(
            language,
            general,
            domains,
            chosen,
            share,
            self.tokenizer,
            self.current,
            self.data_folder,
        )

    def language_model(self) -> None:
        """The first stage: a language model."""
        self.current = self._train(SftTraining, LANGUAGE_MODEL, LANGUAGE_MODEL, self.current)

    def general(self) -> None:
        """The second: a reward model of general pairs, unless there is one."""
        if self.is_given or self.rows.general is None:
            return
        head = False
        if self.stages.customized is not None:
            head = self.stages.config(CUSTOMIZED, "").imitation.weight > 0
        self.current = self._train(
            partial(
                StageReward,
                start=_digest(self.current),
                rows=self.rows.general,
                with_language_head=head,
            ),
            GENERAL,
            GENERAL,
            self.current,
            head,
        )

    def customized(self, domain: str, general: str) -> None:
        """The third, of one domain, from the general reward model."""
        kind = partial(StageReward, start=_digest(general), rows=self.rows.domains[domain])
        place = f"{CUSTOMIZED}/{domain}"
        self.current = self._train(kind, CUSTOMIZED, place, general, domain=domain)

    def _train(
        self,
        kind: Any,
        stage: str,
        place: str,
        source: str,
        head: bool = False,
        domain: str | None = None,
    ) -> str:
        """Train a stage, or what is left of it; give its whole model.

        The adapter of a later stage names its base by the way from its own folder.
        """
        click.echo(place, err=True)
        folder = self.output / place
        name = self.name if source == self.start else os.path.relpath(source, folder)
        config = self.stages.config(stage, name)
        if domain is not None:
            config = of_domain(config, domain)
        try:
            trained(lambda: run(kind, config, folder, self.data_folder, source), folder, place)
        except HarnessError as error:
            raise HarnessError(f"{place}: {error}") from error
        if config.lora is None:
            return str(folder)
        whole = folder / WHOLE
        if not (whole / runs.WHOLE_MODEL).is_file():
            export_checkpoint(source, folder, whole, "float32", BOTH if head else None)
        return str(whole)

    def score(self, stage: str, name: str, report: Any) -> None:
        """Score the current model on what is held out, and tell.

        A first model that can't be judged as a language model is passed over.
        """
        if not self.rows.held_out:
            return
        file = f"{CUSTOMIZED}-{name}" if stage == OF_DOMAIN else name.replace(" ", "_")
        try:
            one = score_stage(
                stage,
                name,
                self.current,
                self.rows.held_out,
                self.tokenizer,
                self.dtype,
                self.stages.training.batch_size,
                self.output / HELD_OUT / f"{file}.json",
            )
        except HarnessError as error:
            if stage != OF_LANGUAGE:
                raise
            click.echo(f"the language model is not scored: {error}", err=True)
            return
        self.scored.append(one)
        report(self.scored, self.rows)


def _digest(model: str) -> str:
    return digests.of_model(Path(model)) if Path(model).is_dir() else model


def _check_folder(output: Path) -> None:
    """Refuse a folder of other things."""
    if output.exists() and not output.is_dir():
        raise HarnessError(f"{output} is a file: choose another folder")
    known = (LANGUAGE_MODEL, GENERAL, CUSTOMIZED, HELD_OUT, *REPORTS)
    found = sorted(output.iterdir()) if output.is_dir() else []
    strange = [path.name for path in found if path.name not in known and path.name[0] != "."]
    if strange:
        raise HarnessError(
            f"{output} holds {strange[0]}, which is none of the stages ({LANGUAGE_MODEL}, "
            f"{GENERAL}, {CUSTOMIZED}): choose another folder"
        )


def _check_domains(chosen: Sequence[str], known: Sequence[str]) -> None:
    for name in chosen:
        if name not in known:
            raise HarnessError(f"no rows are of the domain {name!r} (found: {', '.join(known)})")
        if not _NAME.fullmatch(name):
            raise HarnessError(
                f"the domain {name!r} becomes a folder's name: letters, digits, '_', '-' and '.'"
            )
