# SPDX-License-Identifier: Apache-2.0
"""A base model and its adapter made one model: right class, right rows, the adapter's own head."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from dogerm_plugin.anatomy.adapter import LANGUAGE_MODEL, REWARD, Adapter, plain
from dogerm_plugin.errors import MergeError

LOG = logging.getLogger("dogerm")

FIRST = "default"  # what PEFT calls the adapter that comes with its model


def tokens(base: str, adapter: Adapter, **options: Any) -> Any:
    """The tokenizer that an adapter was trained with: its own, or its base model's.

    Of a tokenizer without a chat template the base model's is taken.

    Args:
        base: folder or Hub id.
        adapter: its.
        options: of ``from_pretrained`` for what is the base model's.
    """
    from transformers import AutoTokenizer

    if not adapter.has_tokenizer:
        tokenizer = AutoTokenizer.from_pretrained(base, **options)
        if adapter.template is not None:
            tokenizer.chat_template = adapter.template.read_text(encoding="utf-8")
        return tokenizer
    trusted = bool(options.get("trust_remote_code"))
    tokenizer = AutoTokenizer.from_pretrained(adapter.folder, trust_remote_code=trusted)
    if not tokenizer.chat_template:
        with suppress(OSError, ValueError):  # the base has no tokenizer
            tokenizer.chat_template = AutoTokenizer.from_pretrained(base, **options).chat_template
    return tokenizer


def fit_rows(model: Any, adapter: Adapter, tokenizer: Any | None) -> None:
    """Give a base model's embedding the rows that its adapter was trained with.

    Args:
        model: the base model, changed in place.
        adapter: stores the rows, or does not.
        tokenizer: whose tokens will be looked up; None where that is not asked.

    Raises:
        MergeError: a token beyond the rows that nobody has trained.
    """
    embedding = model.get_input_embeddings()
    (name,) = (path for path, module in model.named_modules() if module is embedding)
    rows, held = adapter.rows(name), embedding.weight.shape[0]
    if rows is not None:
        if rows != held:
            model.resize_token_embeddings(rows, mean_resizing=False)
        return
    beyond = {t: i for t, i in tokenizer.get_vocab().items() if i >= held} if tokenizer else {}
    if beyond:
        some = ", ".join(repr(token) for token in sorted(beyond, key=beyond.__getitem__)[:3])
        raise MergeError(
            f"{adapter.name}: {len(beyond)} tokens of its tokenizer ({some}) have no row in the "
            f"base model, whose embedding has {held}, and the adapter brings none: they would be "
            "random; save it with its embedding (save_embedding_layers=True)"
        )


def attach(model: Any, adapter: Adapter) -> Any:
    """PEFT's model of a base model and its adapter.

    Raises:
        MergeError: the two don't belong together, or something of the adapter has no place.
    """
    from peft import PeftModel

    with _fitting(model, adapter):
        config = _settings(model, adapter)
        made = PeftModel.from_pretrained(model, str(adapter.folder), config=config)
    _check_placed(made, adapter, FIRST)
    return made


def attach_further(made: Any, adapter: Adapter, name: str) -> None:
    """Put one more adapter beside those of PEFT's model, each with a head of its own.

    Its head may have another number of outputs than the others'.

    Args:
        made: PEFT's model, changed in place; which adapter is active stays.
        adapter: goes onto the same base.
        name: what PEFT is to call it; no part of another one's name.

    Raises:
        MergeError: as `attach`.
    """
    model = made.get_base_model()
    with _fitting(model, adapter):
        config = _settings(model, adapter)
        config.inference_mode = True
        made.add_adapter(name, config)
        _fit_head(made, adapter, name)
        made.load_adapter(str(adapter.folder), name)
    _check_placed(made, adapter, name)


def _settings(model: Any, adapter: Adapter) -> Any:
    from peft import PeftConfig

    config = PeftConfig.from_pretrained(str(adapter.folder))
    if config.task_type == LANGUAGE_MODEL and not _generates(model):
        config.task_type = None  # a reward model trained as a language model with a value head
    if config.task_type == REWARD and _generates(model):
        config.task_type = LANGUAGE_MODEL
        known = {path.rpartition(".")[2] for path, _ in model.named_modules()}
        config.modules_to_save = [n for n in config.modules_to_save or () if n in known] or None
        LOG.warning("%s: taken as a language model's; its reward head is left out", adapter.name)
    return config


def _generates(model: Any) -> bool:
    """Whether it is a language model."""
    return hasattr(model, "prepare_inputs_for_generation")


@contextmanager
def _fitting(model: Any, adapter: Adapter) -> Iterator[None]:
    """Tell an adapter that does not fit from one that does.

    Raises:
        MergeError: in place of what PEFT and torch raise.
    """
    try:
        yield
    except (ValueError, RuntimeError, KeyError, TypeError, ImportError) as error:
        first = next(filter(None, (line.strip() for line in str(error).splitlines())), "")
        detail = next((line.strip() for line in str(error).splitlines() if "size mis" in line), "")
        raise MergeError(
            f"{adapter.name}: does not fit {type(model).__name__} ({first} {detail}): it was "
            f"trained on {adapter.settings.get('base_model_name_or_path')}"
        ) from None


def _check_placed(made: Any, adapter: Adapter, name: str) -> None:
    """Refuse an adapter of which PEFT has left something out.

    Raises:
        MergeError: naming the first tensor.
    """
    from peft import get_peft_model_state_dict

    model = made.get_base_model()
    placed = {*get_peft_model_state_dict(made, adapter_name=name, save_embedding_layers=False)}
    own = {n.replace(f".{name}", "") for n, _ in made.named_parameters(remove_duplicate=False)}
    left = [one for one in adapter.shapes if one not in placed and one not in own]
    left = [one for one in left if not one.endswith(".base_layer.weight")]
    if model.get_output_embeddings() is None:  # a language model's head is no part of a reward
        left = [one for one in left if not plain(one).startswith(("lm_head.", "embed_out."))]
    if adapter.task == REWARD and _generates(model):  # nor is a reward head of its likelihoods
        head = adapter.head(str(model.base_model_prefix))
        left = [one for one in left if plain(one) not in head]
    if left:
        raise MergeError(
            f"{adapter.name}: {len(left)} of its tensors ({left[0]} "
            f"{list(adapter.shapes[left[0]])}) have no place in {type(model).__name__} and would "
            "be left out: it was trained on another model or class "
            f"({adapter.settings.get('base_model_name_or_path')})"
        )


def _fit_head(made: Any, adapter: Adapter, name: str) -> None:
    """Give an adapter's copy of a head layer as many outputs as the adapter stores."""
    from torch import nn

    for path, layer in list(made.named_modules()):
        where = f".modules_to_save.{name}"
        if where not in path or not isinstance(layer, nn.Linear):
            continue
        shape = adapter.whole.get(plain(f"{path}.weight".replace(where, "")))
        if shape is None or shape[1:] != layer.weight.shape[1:] or shape == layer.weight.shape:
            continue
        wider = nn.Linear(shape[1], shape[0], bias=layer.bias is not None)
        wider.to(layer.weight.device, layer.weight.dtype).requires_grad_(False)
        parent, _, last = path.rpartition(".")
        made.get_submodule(parent).add_module(last, wider)


def merged(
    base: str,
    adapter: Adapter,
    *,
    task: str | None = None,
    dtype: Any = "auto",
    tokenizer: Any = None,
    **options: Any,
) -> Any:
    """The full model, the adapter's matrices added to the base model's, its head as it is stored.

    Args:
        base: folder or Hub id of the base model.
        adapter: one for reward models (SEQ_CLS) or language models (CAUSAL_LM).
        task: which of the two the model is to be; None for the adapter's own. A language model of a
            reward model's adapter has the base's head, and no reward.
        dtype: to load the base model in.
        tokenizer: whose tokens must have rows.
        options: further ones of ``from_pretrained``.

    Returns:
        The model, in eval mode. The head's tensors have the dtype that the adapter stores them in.

    Raises:
        MergeError: an adapter of another kind, one without the head that it should bring, or one
            that does not fit.
    """
    import transformers

    heads: dict[str, tuple[int, ...]] = {}
    kind: Any = transformers.AutoModelForCausalLM
    task = task or adapter.task
    if task == REWARD:
        kind = transformers.AutoModelForSequenceClassification
        config = transformers.AutoConfig.from_pretrained(base, **options)
        heads = adapter.head(trunk_of(config))
        labels = {shape[0] for shape in heads.values() if len(shape) == 2}
        if len(labels) == 1:
            # the base may be a reward model with another number of heads, all of them replaced
            options |= {"num_labels": labels.pop(), "ignore_mismatched_sizes": True}
    elif task != LANGUAGE_MODEL:
        raise MergeError(
            f"{adapter.name}: task_type is {adapter.task}, expected {REWARD} (a reward model) or "
            f"{LANGUAGE_MODEL}"
        )
    try:
        with without_load_report():
            model, report = kind.from_pretrained(
                base, dtype=dtype, output_loading_info=True, **options
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise MergeError(f"{base}, the base model of {adapter.name}: {error}") from None
    for name, stored, expected in sorted({*report["mismatched_keys"]}):
        if name not in adapter.whole:
            raise MergeError(
                f"{base}, the base model of {adapter.name}: {name} has shape {[*stored]}, and its "
                f"config.json makes it {[*expected]}; name the base with its own config.json"
            )
    missing = sorted({*report["missing_keys"]} - {*adapter.whole})
    if missing:
        raise MergeError(
            f"{adapter.name}: neither the adapter nor {base} holds {', '.join(missing[:3])} of "
            f"{type(model).__name__}, so it would be random"
            + (": the adapter was saved without its head" if task == REWARD else "")
        )
    said = str(adapter.settings.get("base_model_name_or_path") or base)
    if os.path.basename(said.rstrip("/")) != os.path.basename(base.rstrip("/")):
        LOG.info("%s: says that it was trained on %s; merged into %s", adapter.name, said, base)
    fit_rows(model, adapter, tokenizer)
    whole = attach(model, adapter).merge_and_unload().eval()
    for name, tensor in adapter.tensors(heads).items():
        whole.get_parameter(name).data = tensor
    return whole


@contextmanager
def without_load_report() -> Iterator[None]:
    """Keep transformers from telling that the head is random: the adapter brings it."""
    from transformers.utils import logging

    logger = logging.get_logger("transformers.modeling_utils")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def trunk_of(config: Any) -> str:
    """The ``base_model_prefix`` of the reward model's class for a config; empty without one."""
    from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING as CLASSES

    kind: Any = CLASSES.get(type(config), None)
    return str(getattr(kind, "base_model_prefix", ""))
