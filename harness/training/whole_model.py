"""A sparse reward model on disk: what of it is trained, and the same model with that replaced."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from dogerm_plugin.files.atomic import mode_of, staging
from dogerm_plugin.files.model_files import OF_A_MODEL
from harness.errors import HarnessError

_CONFIG = "config.json"
_RECIPE = "mergekit_moe_config.yml"


@dataclass(frozen=True)
class SparseModel:
    """A sparse reward model.

    Attributes:
        anatomy: taken apart; its network holds no numbers.
        count: of its parameters.
        experts: their names, from the recipe beside it where there is one.
    """

    anatomy: Any
    count: Any
    experts: list[str]

    @property
    def pad(self) -> int:
        """The token before which the reward is read."""
        token: int = self.anatomy.config.get_text_config().pad_token_id
        return token

    @property
    def parameters(self) -> dict[str, int]:
        """The model's size against that of as many dense models."""
        count = self.count
        return {
            "total": count.total,
            "active": count.active,
            "one_dense_model": count.dense,
            "dense_models": count.apart,
        }

    @property
    def identity(self) -> dict[str, str]:
        """What tells this mixture from another of the same name: all weights, settings, experts.

        Reading the files takes a part of the time that loading them takes, and leaves them cached.
        """
        checkpoint = self.anatomy.checkpoint
        files = sorted({tensor.file for tensor in checkpoint.tensors.values()})
        files += [checkpoint.folder / name for name in (_CONFIG, _RECIPE)]
        digest = sha256()
        for file in files:
            if file.exists():
                with file.open("rb") as opened:
                    digest.update(
                        f"{file.name} {file_digest(opened, 'sha256').hexdigest()}".encode()
                    )
        return {"model": digest.hexdigest()}

    def trained(self, network: Any) -> dict[str, str]:
        """What training changes, by the class's names, and the name on disk of each.

        Routers, gates of experts that every token passes through, and the head.
        """
        from dogerm_plugin.run.experts.parameters import sparse_blocks

        of_gates = set()
        for router, block in sparse_blocks(network):
            single = (
                module for module in block.modules() if getattr(module, "out_features", None) == 1
            )
            of_gates |= {id(p) for module in (router, *single) for p in module.parameters()}
        one = self.anatomy
        head = {one.head[name]: name for name in one.reward_head}
        disk = {f"{one.prefix}{one.fused[inside]}": name for inside, name in one.body.items()}
        disk |= head
        return {
            name: disk[name]
            for name, parameter in network.named_parameters()
            if id(parameter) in of_gates or name in head
        }

    def rounded(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Trained values as they will be stored: gates as they were, the head in fp32."""
        import torch

        head = {self.anatomy.head[name] for name in self.anatomy.reward_head}
        tensors = self.anatomy.checkpoint.tensors
        disk = self.trained(self.anatomy.network)
        return {
            name: value.detach().to(
                "cpu",
                torch.float32 if name in head else getattr(torch, tensors[disk[name]].dtype),
            )
            for name, value in values.items()
        }


def open_sparse(source: str) -> SparseModel:
    """Look at a sparse reward model: folder or Hub id.

    Raises:
        HarnessError: it is dense, has no reward head of one number, or is no safetensors; its gates
            choose without weighing, or it has no padding token.
        MergeError: it can't be read.
    """
    from mergekit.common import ModelReference
    from mergekit.options import MergeOptions

    from dogerm_plugin.run import prepare
    from dogerm_plugin.run.experts import parameters

    anatomy = prepare.examine(ModelReference.model_validate(source), MergeOptions())
    if not anatomy.reward_head or anatomy.labels != 1:
        given = f"gives {anatomy.labels} numbers" if anatomy.reward_head else "has no reward head"
        raise HarnessError(
            f"{source}: {type(anatomy.network).__name__} {given}, expected a reward model with one"
        )
    try:
        count = parameters.count(anatomy.network)
    except parameters.NotSparseError as error:
        raise HarnessError(f"{source}: {error}") from None
    if any(one.file.suffix != ".safetensors" for one in anatomy.checkpoint.tensors.values()):
        raise HarnessError(f"{source}: holds pickles: save it again, as safetensors")
    config = anatomy.config.get_text_config()
    if count.per_token == 1 and getattr(config, "norm_topk_prob", True):
        raise HarnessError(
            f"{source}: each token goes to 1 expert, whose share is 1 whatever the gates say, so "
            "pairs teach them nothing: make the mixture with experts_per_token: 2 or more"
        )
    if config.pad_token_id is None:
        raise HarnessError(
            f"{source}: config.json has no pad_token_id, and a reward is read at the last token "
            "that is not padding; set it to the tokenizer's (an unused token, not the end token)"
        )
    return SparseModel(anatomy, count, _names(anatomy.checkpoint.folder, count.experts))


def _names(folder: Path, count: int) -> list[str]:
    """The experts' folders as the recipe beside the model names them; else numbers."""
    import yaml

    plain = [f"expert {number}" for number in range(1, count + 1)]
    try:
        content = yaml.safe_load((folder / _RECIPE).read_text(encoding="utf-8"))
        names = [Path(entry["source_model"]).name for entry in content["experts"]]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return plain
    return names if len(set(names)) == count else plain


def save_whole(model: SparseModel, values: Mapping[str, Any], folder: Path) -> int:
    """Write the model with its trained tensors replaced; return the weights' bytes.

    Everything else is copied to the bit. config.json is moved to its place last.

    Args:
        model: where it came from.
        values: as `SparseModel.rounded` gives them.
        folder: the run's.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    source = model.anatomy.checkpoint.folder
    disk = model.trained(model.anatomy.network)
    new = {disk[name]: value.contiguous() for name, value in values.items()}
    shards = sorted({tensor.file for tensor in model.anatomy.checkpoint.tensors.values()})
    size = 0
    with staging(folder) as stage:
        for shard in shards:
            with safe_open(str(shard), framework="pt") as opened:
                names = list(opened.keys())
                state = {name: new.get(name, opened.get_tensor(name)) for name in names}
            save_file(state, stage / shard.name, metadata={"format": "pt"})
            (stage / shard.name).chmod(mode_of(folder / shard.name))  # it is its owner's alone
            size += sum(tensor.nbytes for tensor in state.values())
        for pattern in (*OF_A_MODEL, _RECIPE):
            for file in source.glob(pattern):
                if file.suffix not in (".safetensors", ".bin"):
                    shutil.copyfile(file, stage / file.name)
        for index in stage.glob("*.safetensors.index.json"):
            content = json.loads(index.read_text(encoding="utf-8"))
            content.setdefault("metadata", {})["total_size"] = size
            index.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        for file in sorted(stage.iterdir(), key=lambda file: file.name == _CONFIG):
            file.rename(folder / file.name)
    return size
