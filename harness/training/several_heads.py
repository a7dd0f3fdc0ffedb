# SPDX-License-Identifier: Apache-2.0
"""Several reward heads on one trunk, trained together: the cheap ensemble of arXiv 2401.16635.

The paper's linear-layer ensemble: one forward of the trunk serves all heads, and the loss is the
mean of theirs. Each head has a random start of its own, which is all that tells them apart.
"""

from __future__ import annotations

from typing import Any


def put_on(model: Any, count: int, seed: int) -> None:
    """Give a model so many heads, each with a start of its own: seeds `seed`, `seed + 1`, ...

    Its config goes on saying one label: TRL's trainer takes no other model.

    Args:
        model: a classifier with one head `score`, [1, hidden size].
        count: how many.
        seed: of the first one.
    """
    import torch

    old = model.score
    spread = getattr(model.config.get_text_config(), "initializer_range", 0.02)
    made = torch.nn.Linear(old.in_features, count, bias=old.bias is not None)
    with torch.no_grad():
        for number, row in enumerate(made.weight):
            generator = torch.Generator().manual_seed(seed + number)
            row.copy_(spread * torch.randn(row.shape, generator=generator))
        if made.bias is not None:
            made.bias.zero_()
    model.score = made.to(old.weight.device, old.weight.dtype)


def trainer_of_several() -> Any:
    """TRL's RewardTrainer with a pair's margin for all heads of the pair.

    Its loss is the mean over pairs and heads of -log sigmoid(chosen - rejected - margin), of
    rewards of shape [pairs, heads]; the margins come as [pairs].
    """
    from trl import RewardTrainer

    class SeveralHeads(RewardTrainer):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            if "margin" in inputs:
                inputs = {**inputs, "margin": inputs["margin"][:, None]}
            return super().compute_loss(model, inputs, *args, **kwargs)

    return SeveralHeads
