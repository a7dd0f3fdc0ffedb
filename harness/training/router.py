# SPDX-License-Identifier: Apache-2.0
"""`dogerm train router`: whose prompt is it? Fitted on embedded prompts, no training loop.

out/router.json, router.safetensors   the router (`harness.models.routing.fitted`)
out/router.yml                        with the experts and their scales, for --model reward-router
out/figures.json, confusion.png       what it gets right, on prompts that it has not seen
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from harness.errors import HarnessError
from harness.models.load.arguments import folder_or_hub_id
from harness.models.routing import fitted
from harness.models.routing.confusion import Confusion
from harness.models.routing.embedder import Embedder
from harness.models.routing.experts import of_folder
from harness.models.routing.scale import Scale, as_plain
from harness.models.score.requests import digest_of
from harness.runs.atomic import write_text
from harness.runs.identity import digest
from harness.training import folder as runs
from harness.training.calibrate import calibrate
from harness.training.config import Config
from harness.training.router_experts import check_experts, find_experts, from_folder, save_experts
from harness.training.router_fit import fit
from harness.training.router_rows import RouterRows, gather_prompts, prompt_turns
from harness.training.rows import PAIR

Row = dict[str, Any]
BATCH = 16


def train_router(
    config: Config,
    output: Path,
    data_folder: Path,
    model_folder: str | None = None,
    base: str | None = None,
    usable: Callable[[list[Row]], list[Row]] = list,
) -> dict[str, Any]:
    """Fit, validate, calibrate and save a router; return the figures.

    What takes long (embedding, each expert's rewards) is kept as it comes, so a killed run goes on.

    Args:
        config: its `model` embeds the prompts.
        output: the router's folder.
        data_folder: relative file names, and folders of experts, start here.
        model_folder: where the config's model lies.
        base: of which the experts are adapters; None where each is a model.
        usable: of the held-out pairs, those that the experts are calibrated on.

    Raises:
        HarnessError: see the message.
    """
    for section, why in (
        ("lora", "a router is fitted and nothing is adapted"),
        ("policy", "a router writes no answers"),
        ("gates", "a router stands before the models"),
        ("imitation", "a router is no language model"),
        ("heads", "a router has a label for each domain"),
        ("labels", "the labels of pairs are not read"),
    ):
        config.refuse(section, why)
    source = model_folder or config.model
    rows = gather_prompts(config, data_folder)
    check_experts(config, rows.domains)
    find_experts(config, data_folder)  # a mistake in a recipe is told before anything is embedded
    template = _template(source, config.router.template, data_folder)
    claimed = runs.made_with(__name__, _read(rows)) | runs.of_model(source)
    claimed |= {"template": digest(template)}
    runs.claim(output, config.as_dict(), claimed)
    runs.to_go_on_from(output, fitted.FILE)
    kept = runs.checkpoints(output)
    kept.mkdir(exist_ok=True)
    embedder = Embedder(
        source,
        template=template,
        device=_device(),
        batch_size=BATCH,
        longest=config.max_length,
    )
    points = _embedded("training", rows.training, embedder, kept)
    domains = [row["domain"] for row in rows.training]
    router = fit(config.router.kind, points, domains, config.training.seed)
    parts = {"held out": rows.held_out, **rows.unseen}
    figures: dict[str, Any] = {
        "kind": "router",
        "router": router.kind,
        "encoder": config.model,
        "labels": list(router.labels),
        "temperature": router.temperature,
        "training_prompts": {name: domains.count(name) for name in router.labels},
        "validation": {},
        "confusion": {},
    }
    drawn = []
    for name, part in parts.items():
        if part:
            points = _embedded(name, part, embedder, kept)
            confusion = _validate(router, points, part, figures["validation"], name)
            figures["confusion"][name] = confusion.as_dict()
            drawn.append(confusion)
    del embedder
    scales: dict[str, Scale] = {}
    if config.router.experts:
        experts, recipes = find_experts(config, data_folder)
        count = config.router.calibration_rows
        scales = calibrate(experts, usable(rows.pairs), count, kept, base, recipes)
        figures["calibration"] = as_plain(scales)
    went = [pair for one in drawn for pair in one.counts.elements()]
    Confusion(went, router.labels).draw(output / "confusion.png")
    if config.router.experts:
        save_experts(config, output, data_folder, scales, base)
    write_text(output / runs.FIGURES, json.dumps(figures, indent=1) + "\n")
    about = {
        "encoder": from_folder(output, source),
        "encoder_files": of_folder(source),
        "template": template,
        "max_length": config.max_length,
        "validation": figures["validation"],
    }
    fitted.save(router, output, about)  # router.json, which ends a run, comes last
    shutil.rmtree(kept, ignore_errors=True)
    return figures


def _validate(
    router: fitted.LinearRouter, points: Any, rows: Sequence[Row], told: dict[str, Any], name: str
) -> Confusion:
    """The confusion of a part, its figures added to `told`."""
    shares = router.probabilities(points)
    chosen = [router.labels[place] for place in shares.argmax(1)]
    went = zip((row["domain"] for row in rows), chosen, strict=True)
    confusion = Confusion(went, router.labels)
    accuracy, error = confusion.accuracy
    known = [place for place, row in enumerate(rows) if row["domain"] in router.labels]
    right = [shares[place, router.labels.index(rows[place]["domain"])] for place in known]
    if strange := sorted({row["domain"] for row in rows} - set(router.labels)):
        click.echo(
            f"{name}: {len(rows) - len(known)} of {len(rows)} prompts are of {', '.join(strange)}, "
            f"which the router has no label for, and count as wrong: its labels are "
            f"{', '.join(router.labels)}",
            err=True,
        )
    counts = [sum(row["domain"] == label for row in rows) for label in router.labels]
    told[name] = {
        "prompts": len(rows),
        "accuracy": accuracy,
        "accuracy_stderr": error,
        "largest_domain": max(counts) / len(rows),
        "log_loss": float(-np.log(np.maximum(right, 1e-12)).mean()) if right else None,
    }
    return confusion


def _embedded(name: str, rows: Sequence[Row], embedder: Embedder, kept: Path) -> Any:
    """The rows' points, those of a killed run where they are of the same prompts."""
    prompts = [prompt_turns(row) for row in rows]
    file = kept / f"points-{digest([digest_of(one).hex() for one in prompts])}.npy"
    if not file.is_file():
        click.echo(f"{name}: embedding {len(prompts)} prompts", err=True)
        partial = file.with_suffix(".partial.npy")
        np.save(partial, embedder.embed(prompts, shown=True))
        partial.rename(file)
    return np.load(file)


def _read(rows: RouterRows) -> list[list[Any]]:
    """All that a run reads of its rows, for what tells it from another."""
    parts = {"": rows.training, "held out": rows.held_out, **rows.unseen}
    return [
        [
            name,
            row["domain"],
            digest_of(prompt_turns(row)).hex(),
            *(row.get(one) for one in PAIR[1:]),
        ]
        for name, part in parts.items()
        for row in part
    ]


def _template(source: str, wanted: str | None, folder: Path) -> str:
    """The Jinja text that renders prompts."""
    from transformers import AutoTokenizer

    from harness.models.routing.classifier import PLAIN, template_of

    source = folder_or_hub_id(source, "model")
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise HarnessError(f"{source}: no tokenizer: {' '.join(str(error).split())}") from error
    if wanted not in (None, PLAIN):
        wanted = str(folder / str(wanted))
    return template_of(
        tokenizer, wanted, source, "`template: plain` or a file under `router:`"
    ).text


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
