# SPDX-License-Identifier: Apache-2.0
"""`dogerm train reward --domains`: an adapter for each domain, and the router that chooses one.

out/<domain>/           the adapter, as `dogerm train reward` writes it
out/router/             as `dogerm train router` writes it, calibrated
out/router/router.yml   the whole, for --model reward-adapters

ARLISS of arXiv 2407.17546: one small model in memory, its adapters switched.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import click
import yaml

from dogerm_plugin.files.atomic import write_text
from harness.errors import HarnessError
from harness.models.routing.router_file import ORACLE, TAKEN
from harness.models.routing.scale import as_plain
from harness.training import folder as runs
from harness.training.calibrate import calibrate
from harness.training.config import Config, Router, Source
from harness.training.figures import trained
from harness.training.reward import gather_pairs, train_reward
from harness.training.router import train_router
from harness.training.router_rows import NothingToTellError, Row, domains_of, held_out_pairs
from harness.training.several_runs import train_each
from harness.training.split import prompt_key
from harness.training.trainer import load_tokenizer

ROUTER = "router"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def train_domains(
    config: Config, output: Path, data_folder: Path, model_folder: str | None = None
) -> dict[str, Any]:
    """Train what is not finished yet, one domain after the other; return all figures by name.

    Where every prompt stands in several domains, as in DSP, there is nothing that a router could
    learn: then the domain's column routes.

    Raises:
        HarnessError: rows without a domain, a name that can't be a folder's, or see the message.
    """
    config.refuse("domain", "--domains trains one adapter for each")
    if config.lora is None:
        raise HarnessError("`lora: null` trains a whole model, and --domains trains adapters")
    if config.router.experts:
        raise HarnessError("`experts` has no effect here, as the adapters are the experts")
    names = domains_of(config, data_folder)
    _check_names(names)
    figures = train_each(
        lambda own, folder: train_reward(own, folder, data_folder, model_folder),
        "domain",
        {name: of_domain(config, name) for name in names},
        output,
        beside=(ROUTER,),
    )
    figures[ROUTER] = _router(config, names, output, data_folder, model_folder)
    return figures


def of_domain(config: Config, name: str) -> Config:
    """The config without what is another domain's: a change there leaves this adapter as it is."""

    def own(sources: list[Source]) -> list[Source]:
        return [source for source in sources if source.domain in (None, name)]

    held = config.validation.model_copy(update={"data": own(config.validation.data)})
    only = {"domain": name, "data": own(config.data), "validation": held, "router": Router()}
    return config.model_copy(update=only)


def _check_names(names: tuple[str, ...]) -> None:
    if len(names) < 2:
        raise HarnessError(
            f"the rows are of {len(names)} domain ({', '.join(names)}): for one, leave --domains "
            "out; for several, each entry of `data` has a `domain`, or a column says it"
        )
    for name in names:
        if not _NAME.fullmatch(name) or name in (ROUTER, *TAKEN):
            taken = ", ".join(map(repr, (ROUTER, *TAKEN)))
            raise HarnessError(
                f"the domain {name!r} becomes a folder's and an expert's name: letters, digits, "
                f"'_', '-' and '.', and none of {taken}"
            )


def _router(
    config: Config,
    names: tuple[str, ...],
    output: Path,
    data_folder: Path,
    model_folder: str | None,
) -> dict[str, Any]:
    source = model_folder or config.model
    # in full: a relative one would first be looked for among the data
    adapters = {name: str((output / name).resolve()) for name in names}
    given = config.model_dump(exclude_unset=True)
    for section in ("lora", "heads", "labels", "imitation"):
        given.pop(section, None)
    settings = {**given.get("router", {}), "experts": adapters}
    own = Config.model_validate({**given, "router": settings})
    folder = output / ROUTER

    def unlearned(pairs: list[Row]) -> list[Row]:
        return _unlearned(pairs, config, names, source, data_folder)

    try:
        return trained(
            lambda: train_router(own, folder, data_folder, model_folder, source, unlearned),
            folder,
            "the router",
        )
    except NothingToTellError as error:
        click.echo(f"no router: {error}", err=True)
    pairs = unlearned(held_out_pairs(config, data_folder))
    scales = calibrate(
        adapters, pairs, config.router.calibration_rows, runs.checkpoints(folder), source
    )
    base = os.path.relpath(Path(source).resolve(), folder.resolve())
    content = {
        "base": base if Path(source).is_dir() else source,
        "experts": {name: os.path.join("..", name) for name in names},
        ROUTER: ORACLE,
        "domain": "subset",
        "calibration": as_plain(scales),
    }
    write_text(folder / "router.yml", yaml.safe_dump(content, sort_keys=False))
    return {"kind": ROUTER, ROUTER: ORACLE, "labels": list(names), "validation": {}}


def _unlearned(
    pairs: list[Row], config: Config, names: tuple[str, ...], source: str, data_folder: Path
) -> list[Row]:
    """The pairs whose prompts no adapter was trained on.

    Validation data of its own keeps its prompts out of its own domain's rows alone, and only those
    that `rows` and `max_length` leave; a share of the prompts is out of every domain's.
    """
    if not config.validation.data or not pairs:
        return pairs
    tokenizer = load_tokenizer(source, may_pad_with_end=False)
    learned = {
        prompt_key(row["prompt"])
        for name in names
        for part in gather_pairs(of_domain(config, name), tokenizer, source, data_folder)[0]
        for row in part.rows
    }
    kept = [row for row in pairs if prompt_key(row["prompt"]) not in learned]
    if len(kept) < len(pairs):
        click.echo(
            f"calibration: {len(pairs) - len(kept)} of {len(pairs)} pairs have prompts that an "
            "adapter is trained on: left out",
            err=True,
        )
    return kept
