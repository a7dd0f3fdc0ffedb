"""Which experts a sparse model's routers choose: recorded, measured, and kept in balance.

transformers' classes for sequence classification return no router logits, so they are taken from
the routers themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dogerm_plugin.run.experts.parameters import sparse_blocks
from harness.errors import HarnessError


@dataclass
class Routing:
    """What the routers did in one forward pass.

    Attributes:
        mask: 1 for tokens and 0 for padding, [rows, length].
        logits: of every layer, [rows x length, experts].
        chosen: the experts of each token, of every layer, [rows x length, experts per token].
    """

    mask: Any = None
    logits: list[Any] = field(default_factory=list)
    chosen: list[Any] = field(default_factory=list)


@contextmanager
def recorded(network: Any) -> Iterator[Routing]:
    """Record each forward pass of a model; the next one replaces it.

    Raises:
        HarnessError: the model has no routers.
    """
    routers = [router for router, _ in sparse_blocks(network)]
    if not routers:
        raise HarnessError(
            f"{type(network).__name__} has no routers to train: `mergekit-moe` makes a sparse "
            "reward model of dense ones"
        )
    routing = Routing()

    def start(_module: Any, _args: Any, inputs: dict[str, Any]) -> None:
        routing.mask = inputs["attention_mask"]
        routing.logits, routing.chosen = [], []

    def see(router: Any, _args: Any, output: Any) -> None:
        logits, chosen = read(router, output)
        routing.logits.append(logits)
        routing.chosen.append(chosen)

    hooks = [network.register_forward_pre_hook(start, with_kwargs=True)]
    hooks += [router.register_forward_hook(see) for router in routers]
    try:
        yield routing
    finally:
        for hook in hooks:
            hook.remove()


def read(router: Any, output: Any) -> tuple[Any, Any]:
    """The logits and the choice in what a router returns, told by their dtypes.

    Raises:
        HarnessError: it returns no choice.
    """
    tensors = output if isinstance(output, tuple) else (output,)
    whole = [one for one in tensors if not one.is_floating_point()]
    if len(whole) != 1:
        raise HarnessError(
            f"{type(router).__name__} does not return which experts it chose, so they can't be "
            "counted nor balanced"
        )
    return tensors[0], whole[0]


def load_balance(routing: Routing) -> Any:
    """The load-balancing term of Switch Transformers (arXiv 2101.03961), mean over the layers.

    N Σ f_i P_i, where f_i is expert i's share of the choices, all of a token's counted, and P_i
    the mean of its probability. It is 1 where all experts get the same, and N where one gets all.

    Args:
        routing: of a forward pass; what is padding does not count.
    """
    import torch

    tokens = routing.mask.flatten().bool()
    terms = []
    for logits, chosen in zip(routing.logits, routing.chosen, strict=True):
        number = logits.shape[-1]
        probability = torch.softmax(logits[tokens].float(), dim=-1).mean(0)
        counts = torch.bincount(chosen[tokens].flatten(), minlength=number)
        terms.append(number * (counts / counts.sum() * probability).sum())
    return torch.stack(terms).mean()


@dataclass
class Shares:
    """How often each expert was chosen, by layer.

    Attributes:
        counts: of choices, [layers][experts].
    """

    counts: list[list[int]] = field(default_factory=list)

    def add(self, routing: Routing) -> None:
        """Count one forward pass."""
        import torch

        tokens = routing.mask.flatten().bool()
        experts = routing.logits[0].shape[-1]
        self.counts = self.counts or [[0] * experts for _ in routing.logits]
        for layer, chosen in zip(self.counts, routing.chosen, strict=True):
            found = torch.bincount(chosen[tokens].flatten(), minlength=experts).tolist()
            layer[:] = [before + now for before, now in zip(layer, found, strict=True)]

    @property
    def by_layer(self) -> list[list[float]]:
        """Each expert's share of a layer's choices."""
        return [[count / sum(layer) for count in layer] for layer in self.counts]

    @property
    def overall(self) -> list[float]:
        """The mean over the layers."""
        return [sum(column) / len(self.counts) for column in zip(*self.by_layer, strict=True)]


def draw_shares(
    path: Any,
    experts: Sequence[str],
    before: dict[str, list[float]],
    after: dict[str, list[float]],
) -> None:
    """A picture of each expert's share of tokens: a group of bars for each domain.

    Args:
        path: of the picture.
        experts: their names.
        before: the shares before the training, by domain; drawn as a line across each bar.
        after: the same, after it.
    """
    from matplotlib.figure import Figure  # without pyplot: no display and no global state

    figure = Figure(figsize=(max(5.0, 1.6 * len(after) + 2), 3.4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(experts)
    for number, name in enumerate(experts):
        left = [domain - 0.4 + width * (number + 0.5) for domain in range(len(after))]
        axes.bar(left, [shares[number] for shares in after.values()], width * 0.9, label=name)
        axes.hlines(
            [shares[number] for shares in before.values()],
            [x - width * 0.45 for x in left],
            [x + width * 0.45 for x in left],
            colors="black",
            linewidth=1.2,
            label="before training" if number == len(experts) - 1 else "",
        )
    axes.axhline(1 / len(experts), color="grey", linestyle=":", linewidth=1, label="equal shares")
    axes.set_xticks(range(len(after)), list(after))
    axes.set_ylabel("share of tokens")
    axes.set_ylim(0, None)
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=120)
