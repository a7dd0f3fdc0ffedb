# SPDX-License-Identifier: Apache-2.0
"""A reward model written as one consumer reads it: other keys and names, the same numbers."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from dogerm_plugin.files import digests, head_files, weight_files
from dogerm_plugin.run.output import check_target, staged
from harness.check.consumers import weights
from harness.check.consumers.consumer import Answer, Consumer, State, ask
from harness.check.consumers.need import Plan
from harness.check.consumers.stored import StoredReward, read_reward
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.models.routing.scale import Scale

BESIDE = ("README.md", "LICENSE*", "mergekit_config.yml")


def export(
    consumer: Consumer, folder: Path, target: Path, scale: Scale | None = None
) -> tuple[Answer, list[str]]:
    """Write a copy of a model that a consumer takes; the original stays as it is.

    No number changes: a tensor is the same bytes under its old name or another, or is a bias of 0.
    Weight files of which nothing changes are hard links to the original's.

    Args:
        consumer: for whom.
        folder: the model's.
        target: the output folder; it appears, or replaces an earlier one, when it is complete.
        scale: the mean and deviation of its rewards, for a consumer that reads them.

    Returns:
        What the consumer makes of the copy; and what was changed, in words.

    Raises:
        HarnessError: no layout would do, or the consumer reads no scale.
        MergeError: the model can't be read, or the target not be written.
    """
    model = read_reward(folder)
    before = ask(consumer, model)
    if before.state is State.NO:
        raise HarnessError(f"{folder}: {consumer.title} can't use it: {before.why}")
    if scale is not None and not consumer.takes_scale:
        raise HarnessError(
            f"--calibration: {consumer.title} reads no mean and deviation from a model's folder"
        )
    check_target(str(target), [folder])
    plan = Plan(copy.deepcopy(model.raw))
    changed = []
    for lack in before.lacks:
        if lack.mend is not None:
            lack.mend(plan)
            changed.append(lack.change)
    if scale is not None:
        _put_scale(plan, model, scale)
        changed.append("mean and std in config.json, for --reward.normalize_enable")
    with staged(str(target)) as stage:
        _write(model, plan, stage)
        after = ask(consumer, read_reward(stage))
        if after.state in (State.NO, State.EXPORT):
            raise HarnessError(f"{folder}: the copy for {consumer.title} is not right: {after.why}")
        model.anatomy.checkpoint.stamps.check()
    return after, changed


def _put_scale(plan: Plan, model: StoredReward, scale: Scale) -> None:
    """(w·h − (mean − b)) / std is (w·h + b − mean) / std."""
    bias = 0.0 if model.bias is None else float(model.bias)
    plan.config |= {"mean": scale.mean - bias, "std": scale.std}


def _write(model: StoredReward, plan: Plan, stage: Path) -> None:
    files = weight_files.find(model.folder)
    assert files is not None, "it was opened"
    own = {*files.all, model.folder / "config.json"}
    if plan.added:  # the head came out of a file of its own
        own |= {model.folder / name for name in head_files.FILES}
    if plan.names or plan.dropped or plan.added:
        plan.config.pop("transformers_weights", None)
    weights.write(files, model.folder, plan, stage)
    texts = [file for pattern in BESIDE for file in model.folder.glob(pattern)]
    for file in [*digests.parts(model.folder), *texts]:
        place = stage / file.relative_to(model.folder)
        if file in own or not file.is_file() or _is_weight(file):
            continue
        place.parent.mkdir(exist_ok=True)
        shutil.copy2(file, place)
    text = json.dumps(plan.config, indent=2, ensure_ascii=False)
    (stage / "config.json").write_text(text + "\n", "utf-8")


def _is_weight(file: Path) -> bool:
    """Whether it may be other weights than those that count: a pickle of the same model, say."""
    if file.name in head_files.FILES:
        return False
    return file.suffix in (".safetensors", ".bin") or file.name.endswith(weight_files.INDEX)
