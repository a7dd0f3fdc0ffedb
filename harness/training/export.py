"""An adapter and its base model made one checkpoint, which mergekit and lm-eval take as it is.

What `dogerm train hybrid` made has two heads, and the checkpoint has one of them or both.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dogerm_plugin.anatomy import adapted_model
from dogerm_plugin.anatomy.adapter import LANGUAGE_MODEL, REWARD, Adapter, read
from dogerm_plugin.run.output import check_target, staged
from harness.errors import HarnessError
from harness.models.load import aspects
from harness.training.language_head import LanguageHead, language_head
from harness.training.trainer import load_model

BOTH, OF_REWARD, OF_POLICY = ("both", "reward", "policy")


def export_checkpoint(
    base: str | Path | None,
    trained: Path,
    target: Path,
    dtype: str = "bfloat16",
    heads: str | None = None,
    aspect: str | None = None,
) -> Path:
    """Write a LoRA adapter merged into its base, or a whole model, as one checkpoint.

    A reward head (`score.weight`, shape [1, hidden]) keeps the dtype that it is stored in.
    Tokenizer and chat template are those of the trained folder where it has them, else the base's.
    With both heads config.json names both classes, the reward model's first.

    Args:
        base: folder or Hub id of the model that the adapter was trained on; None for a whole model.
        trained: the folder with adapter_config.json, whose task_type tells a reward model
            (SEQ_CLS) from a language model (CAUSAL_LM), or of a whole model with both heads.
        target: the output folder; it appears, or replaces an earlier one, when it is complete.
        dtype: what the body is stored in, by torch's name.
        heads: `both`, `reward` or `policy`; None is an adapter's own kind, and both of a whole
            model.
        aspect: the one head of several, by its name, that the checkpoint is to have; also of a
            whole model with one class.

    Returns:
        `target`.

    Raises:
        HarnessError: heads that it has not, or no base where one is needed.
        MergeError: `trained` is no adapter of these two kinds, or does not fit; `target` can't be
            written or holds an input.
    """
    import torch

    both = _has_both(trained)
    whole = both or (aspect is not None and (trained / "config.json").is_file())
    lora = None if whole else read(str(trained))
    if whole and base is not None:
        raise HarnessError(f"{trained} is a whole model: leave --model out, which is an adapter's")
    if lora is not None and base is None:
        raise HarnessError(f"{trained} is an adapter: name its base model with --model")
    source = str(base or trained)
    check_target(str(target), [Path(source), trained])
    if heads is None:
        heads = (
            BOTH
            if both
            else OF_REWARD
            if whole
            else OF_POLICY
            if lora and lora.task == LANGUAGE_MODEL
            else OF_REWARD
        )
    if lora is not None and lora.task == LANGUAGE_MODEL and heads != OF_POLICY:
        raise HarnessError(f"{trained} is a language model's adapter, without a reward head")
    head = language_head(source, dtype)[0] if heads == BOTH else None
    tokenizer = _tokenizer(source, lora)
    model = _model(source, lora, heads, tokenizer)
    stored = getattr(torch, dtype)
    model.base_model.to(stored)  # the body; a head beside it keeps its dtype
    if heads == OF_POLICY:
        model.to(stored)
    model.config.dtype = stored
    if heads != OF_POLICY and (known := aspects.beside(trained)) is not None:
        aspects.declare(model.config, known)
    if aspect is not None:
        _keep_one(model, aspect, trained)
    _write(model, tokenizer, head, target)
    return target


def _keep_one(model: Any, aspect: str, trained: Path) -> None:
    """Leave a model the one head of a name, as it was trained: an ordinary reward model.

    Raises:
        HarnessError: it has none of that name.
    """
    import torch

    names = [name for _, name in sorted(model.config.id2label.items())]
    if aspect not in names or not hasattr(model, "score"):
        raise HarnessError(f"{trained}: no head {aspect!r} (its heads: {', '.join(names)})")
    number, old = names.index(aspect), model.score
    head = torch.nn.Linear(old.in_features, 1, bias=old.bias is not None)
    head.load_state_dict({name: t[number : number + 1] for name, t in old.state_dict().items()})
    model.score = head.to(old.weight.dtype)
    model.config.num_labels = model.num_labels = 1  # and no name: a sum of heads has none
    if hasattr(model.config, aspects.KEY):
        delattr(model.config, aspects.KEY)


def _has_both(folder: Path) -> bool:
    """Whether it holds a whole model that names two classes."""
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise HarnessError(f"{file} is no JSON: {error}") from error
    return len(config.get("architectures") or ()) > 1


def _tokenizer(source: str, lora: Adapter | None) -> Any:
    from transformers import AutoTokenizer

    if lora is not None:
        return adapted_model.tokens(source, lora)
    return AutoTokenizer.from_pretrained(source)


def _model(source: str, lora: Adapter | None, heads: str, tokenizer: Any) -> Any:
    """The model in float32, in which an adapter is added exactly, and each weight rounded once."""
    import torch
    import transformers

    if lora is not None:
        # a kind that is none of the two is refused there
        task = LANGUAGE_MODEL if heads == OF_POLICY and lora.task == REWARD else lora.task
        return adapted_model.merged(
            source, lora, task=task, dtype=torch.float32, tokenizer=tokenizer
        )
    kind: Any = transformers.AutoModelForSequenceClassification
    if heads == OF_POLICY:
        kind = transformers.AutoModelForCausalLM
    return load_model(kind, source, "float32")


def _write(model: Any, tokenizer: Any, head: LanguageHead | None, target: Path) -> None:
    if head is not None:
        head.put_on(model)
    with staged(str(target)) as stage:
        model.save_pretrained(stage)
        tokenizer.save_pretrained(stage)
        if head is not None:
            head.declare(stage)
