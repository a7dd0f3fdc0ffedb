# SPDX-License-Identifier: Apache-2.0
"""Needs that the tensors meet or not: how many numbers, layers, the head's name and its bias."""

from __future__ import annotations

from collections.abc import Collection

from harness.check.consumers.need import Kind, Lack, Need, Plan, mended
from harness.check.consumers.stored import StoredReward

NAME = "score"
PREFIX = "value_head_prefix"  # OpenRLHF's key for the head's name


def one_reward(model: StoredReward) -> Lack | None:
    """The head is one linear layer that gives one number, the higher the better."""
    kind = getattr(model.anatomy.config, "score_type", None) or "reward"
    if kind != "reward":
        return Lack(f"config.json says score_type={kind}: the higher, the worse")
    if model.labels is None:
        return Lack("its own code alone knows what its head gives")
    if model.labels > 1:
        return Lack(
            f"the head gives {model.labels} numbers: `dogerm train export --aspect NAME` keeps one"
        )
    if len(model.layers) == 1:
        return None
    names = ", ".join(sorted(model.anatomy.reward_head))
    return Lack(f"the head is not one linear layer ({names})")


def trunk_named(model: StoredReward) -> Lack | None:
    """The body's tensors have the names of the class, without a trainer's wrapper around them."""
    anatomy = model.anatomy
    wrong = {
        stored: f"{anatomy.prefix}{relative}"
        for relative, stored in anatomy.body.items()
        if stored == relative or stored.endswith(f".{anatomy.prefix}{relative}")
    }
    wrong = {stored: name for stored, name in wrong.items() if stored != name}
    if not wrong:
        return None
    stored, name = next(iter(wrong.items()))

    def mend(plan: Plan) -> None:
        plan.names |= wrong

    return mended(f"a tensor is called {stored}, not {name}", "the body's names", mend)


def head_named(model: StoredReward) -> Lack | None:
    """The head is stored as `score`, in the model's own files."""
    beside = model.anatomy.beside.files
    if model.head == NAME and not beside:
        return None
    where = f" in {beside[0].name}, which it does not read" if beside else ""
    why = f"the head is called {model.head}{where}"
    return mended(f"{why}: it reads {NAME}", f"the head as {NAME}", lambda p: _rename(model, p))


def value_head(model: StoredReward) -> Lack | None:
    """The head is stored under the name that OpenRLHF takes from config.json, or as `score`."""
    said = str(model.raw.get(PREFIX, NAME))
    if model.head == said and not model.anatomy.beside.files:
        return None
    why = f"the head is called {model.head}, and it reads {said}"
    return mended(why, f"the head as {NAME}", lambda plan: _rename(model, plan))


def _rename(model: StoredReward, plan: Plan) -> None:
    for stored in model.anatomy.reward_head:
        name = f"{NAME}.{stored.rpartition('.')[2]}"
        if stored not in model.anatomy.checkpoint.tensors:  # but in a file of its own
            plan.added[name] = model.tensor(stored)
        else:
            plan.names[stored] = name
    if PREFIX in plan.config:
        plan.config[PREFIX] = NAME


def _drop_bias(model: StoredReward, plan: Plan) -> None:
    plan.dropped.add(f"{model.head}.bias")
    plan.added.pop(f"{NAME}.bias", None)


def _zero(model: StoredReward) -> Lack | None:
    """A bias of 0 is left out: that changes nothing."""
    if model.bias is None:
        return None
    return mended(
        "the head's bias is 0, and it knows none",
        "without the bias, which is 0",
        lambda plan: _drop_bias(model, plan),
    )


def no_bias(model: StoredReward) -> Lack | None:
    """The head has no bias; one that is not 0 has no place."""
    if model.bias is None or float(model.bias) == 0:
        return _zero(model)
    return Lack(
        f"the head has a bias ({float(model.bias):g}), which it has no place for: every reward "
        "would be off by that, in the same order"
    )


def bias_as_mean(model: StoredReward) -> Lack | None:
    """OpenRLHF: no bias, but `mean` and `std` in config.json, where (w·h − mean) / std is wanted.

    So a bias b is a mean of −b. Written as JSON's 17 digits it is the same number.
    """
    if model.bias is None or float(model.bias) == 0:
        return _zero(model)

    def mend(plan: Plan) -> None:
        plan.config["mean"] = float(plan.config.get("mean", 0.0)) - float(model.bias)
        plan.config.setdefault("std", 1.0)
        _drop_bias(model, plan)

    return mended(
        f"the head has a bias ({float(model.bias):g}), and it knows a mean instead, which "
        "--reward.normalize_enable takes off",
        "the bias as `mean` in config.json, for --reward.normalize_enable",
        mend,
    )


def read_scale(model: StoredReward) -> Lack | None:
    """OpenRLHF 0.11.2 keeps `mean` and `std` in buffers that loading leaves unset.

    Its class, run with transformers 5.15.0 and 5.23.0 on a CPU: as __init__ made it, both were
    right; after from_pretrained, any number. Its server with 5.19.0: rewards of -7e9.
    """
    if "mean" not in model.raw:
        return None
    return Lack(
        "config.json has a mean, which OpenRLHF's class lost on loading when it was run (0.11.2 "
        "with transformers 5.15): compare a reward before you trust --reward.normalize_enable",
        Kind.CARE,
    )


def bias_stored(classes: Collection[str], why: str) -> Need:
    """These classes have a bias that starts at random where none is stored; others have none."""

    def look(model: StoredReward) -> Lack | None:
        if model.classifier not in classes:
            return no_bias(model)
        if model.bias is not None:
            return None

        def mend(plan: Plan) -> None:
            import torch

            weight = model.tensor(f"{model.head}.weight")
            plan.added[f"{NAME}.bias"] = torch.zeros(1, dtype=weight.dtype)

        return mended(why, f"a {NAME}.bias of 0", mend)

    return look
