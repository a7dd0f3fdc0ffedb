# SPDX-License-Identifier: Apache-2.0
"""Needs that config.json and the tokenizer meet or not: class, labels, keys, the token read."""

from __future__ import annotations

from collections.abc import Callable, Collection

from harness.check.consumers.need import Kind, Lack, Need, Plan, mended
from harness.check.consumers.stored import StoredReward

Rule = Callable[[StoredReward], int | None]


def known_type(model: StoredReward) -> Lack | None:
    """transformers has a class with a head for the type, which Auto classes look up."""
    if model.classifier is not None:
        return None
    kind = model.anatomy.config.model_type
    return Lack(f"transformers has no ...ForSequenceClassification for model_type {kind}")


def class_named(model: StoredReward) -> Lack | None:
    """config.json names the class that ends in a reward, and no other."""
    named = model.raw.get("architectures") or []
    wanted = model.classifier
    if wanted is None or named == [wanted]:
        return None

    # Under this name a reader here would pass over the token that the model has its reward at.
    padding = config_padding(model)
    unpadded = (
        model.passes_over is None and padding is not None and model.last_token in (None, padding)
    )

    def mend(plan: Plan) -> None:
        plan.config["architectures"] = [wanted]
        if unpadded:
            plan.config["pad_token_id"] = None
            if isinstance(plan.config.get("text_config"), dict):
                plan.config["text_config"]["pad_token_id"] = None

    return mended(
        f"it goes by `architectures` of config.json, which is {named}, not [{wanted!r}]",
        f"architectures: [{wanted}]" + (", no pad_token_id" if unpadded else ""),
        mend,
    )


def served(classes: Collection[str], otherwise: str, kind: Kind = Kind.FATAL) -> Need:
    """The model's class is one of those that a server has.

    Args:
        classes: of transformers.
        otherwise: what becomes of others; `{}` is the class.
        kind: `UNKNOWN` where they may work.
    """

    def look(model: StoredReward) -> Lack | None:
        name = model.classifier
        if name is None or name in classes:
            return None
        return Lack(otherwise.format(name), kind)

    return look


def one_label(model: StoredReward) -> Lack | None:
    """config.json says one label, as the head has."""
    said = model.anatomy.config.num_labels
    if said == 1:
        return None

    def mend(plan: Plan) -> None:
        plan.config |= {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
        plan.config.pop("num_labels", None)

    return mended(
        f"config.json says {said} labels (transformers' default is 2), and the head gives 1",
        "one label in config.json",
        mend,
    )


def key(name: str, value: str, why: str) -> Need:
    """config.json has a key with this value."""

    def look(model: StoredReward) -> Lack | None:
        if model.raw.get(name) == value:
            return None

        def mend(plan: Plan) -> None:
            plan.config[name] = value

        return mended(why, f"{name}: {value}", mend)

    return look


def tokenizer(model: StoredReward) -> Lack | None:
    """The folder has the tokenizer, which its reader loads from there."""
    if model.tokenizer is not None:
        return None
    return Lack("there is no tokenizer in the folder: copy the reward model's files there")


def padding_token(model: StoredReward) -> Lack | None:
    """config.json says what rows are padded with: else transformers takes one row at a time."""
    if config_padding(model) is not None:
        return one_padding(model)
    own = getattr(model.tokenizer, "pad_token_id", None)
    why = "config.json has no pad_token_id: transformers then takes one conversation at a time"
    if own is None or own == model.last_token:
        return Lack(why, Kind.CARE)
    return _padded_with(why, own)


def one_padding(model: StoredReward) -> Lack | None:
    """Rows are padded with the token that the class passes over, and not read at another."""
    said, own = config_padding(model), getattr(model.tokenizer, "pad_token_id", None)
    if said is None or own in (None, said):
        return None
    why = (
        f"pad_token_id of config.json is {_shown(model, said)}, and the tokenizer pads with "
        f"{_shown(model, own)}: the shorter rows of a batch would be read at their padding"
    )
    if model.last_token in (None, said, own):  # then it would be read at another token
        return Lack(why, Kind.CARE)
    return _padded_with(why, own)


def _padded_with(why: str, token: int) -> Lack:
    def mend(plan: Plan) -> None:
        plan.config["pad_token_id"] = token

    return mended(why, f"pad_token_id: {token}, the tokenizer's", mend)


def config_padding(model: StoredReward) -> int | None:
    """transformers' classes: they pass over `pad_token_id` of config.json."""
    token: int | None = getattr(model.text_config, "pad_token_id", None)
    return token


def tokenizer_padding(model: StoredReward) -> int | None:
    """TRL: it sets `pad_token_id` to the tokenizer's, or its end of sequence."""
    made = model.tokenizer
    if made is None:
        return config_padding(model)
    token: int | None = made.eos_token_id if made.pad_token_id is None else made.pad_token_id
    return token


def nemo_rl_padding(model: StoredReward) -> int | None:
    """NeMo-RL: `pad_token_id` of config.json; where it has none, as TRL."""
    said = config_padding(model)
    return tokenizer_padding(model) if said is None else said


def ends_added(model: StoredReward) -> Lack | None:
    """NeMo-RL puts the first and the last token around a chat whose template has not.

    ``nemo_rl/data/llm_message_utils.py: get_formatted_message_log``; newlines behind the last one
    stay, and do not count.
    """
    if model.chat is None:
        return None
    (text, _), made = model.chat, model.tokenizer
    first, last = made.bos_token or "", made.eos_token or ""
    padded = nemo_rl_padding(model)
    if not text.rstrip("\n").endswith(last) and made.eos_token_id != padded:
        return Lack(
            f"it puts {last!r} behind a chat, which the chat template does not, and reads the "
            "reward there"
        )
    if not text.startswith(first):
        return Lack(
            f"it puts {first!r} before a chat, which the chat template does not: rewards differ "
            "from those of `dogerm score`",
            Kind.CARE,
        )
    return None


def nothing(_: StoredReward) -> None:
    """Servers: the last token is the last token."""


def reads(rule: Rule) -> Need:
    """The reward is read at the token where the model has it.

    Args:
        rule: the token that the reader passes over at a conversation's end.
    """

    def look(model: StoredReward) -> Lack | None:
        own, its, last = model.passes_over, rule(model), model.last_token
        if own == its or (last is not None and last not in (own, its)):
            return None
        if last is None:
            tokens = " or ".join(_shown(model, one) for one in (own, its) if one is not None)
            return Lack(f"no chat template: don't send texts that end in {tokens}", Kind.CARE)
        if last == own:
            return Lack(
                f"a chat ends in {_shown(model, last)}, pad_token_id, and the reward belongs to "
                "the token before it: send the text without it",
                Kind.CARE,
            )
        return Lack(
            f"a chat ends in {_shown(model, last)}, where the model has its reward, and this one "
            "passes over it as padding"
        )

    return look


def _shown(model: StoredReward, token: int | None) -> str:
    if model.tokenizer is None:
        return f"token {token}"
    return repr(model.tokenizer.decode([token]))
