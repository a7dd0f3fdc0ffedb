# SPDX-License-Identifier: Apache-2.0
"""Refuses checkpoints that transformers would load as a language model and that are none.

``AutoModelForCausalLM.from_pretrained`` gives a reward model a new random language-model head, or
the tied embedding that was never trained to be one, and goes on with a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from harness.errors import HarnessError
from harness.models.load import adapters
from harness.models.load.completeness import RecordingLoader
from harness.models.load.head import head_modules, without_adapter_wrapper
from harness.models.load.stored_tensors import stored_shapes

_OTHER_HEAD = "ForSequenceClassification"
# What classes with a language model's head are called.
_LANGUAGE_MODELS = ("CausalLM", "LMHead", "ConditionalGeneration", "ForPreTraining", "MaskedLM")


class LanguageModelLoader(RecordingLoader):
    """Stands in for an Auto class of language models, and notes what became of the head, too.

    Args:
        auto_class: the Auto class.

    Attributes:
        head: names of the output embedding's parameters; empty for a class that shows none.
        tied: the output embedding is the input embedding.
        loaded: it was asked at all.
    """

    def __init__(self, auto_class: Any) -> None:
        super().__init__(auto_class)
        self.head: set[str] = set()
        self.tied = False
        self.loaded = False

    def from_pretrained(self, *args: Any, **kwargs: Any) -> Any:
        """The loaded model, as from the Auto class."""
        self.loaded = True
        model = super().from_pretrained(*args, **kwargs)
        output = getattr(model, "get_output_embeddings", lambda: None)()
        if isinstance(output, nn.Module):
            self.head |= {
                f"{name}.{key}"
                for name, module in model.named_modules()
                if module is output
                for key, _ in module.named_parameters()
            }
            weight = getattr(output, "weight", None)
            self.tied = weight is not None and any(
                module is not output and getattr(module, "weight", None) is weight
                for module in model.modules()
            )
        return model


def refuse_reward_model(config: Any, name: str, way_out: str) -> None:
    """Refuse a config whose architectures are all sequence-classification models.

    This much is known before the weights are loaded; the functions below find the others.

    Args:
        config: a transformers config.
        name: path or Hub id, for the message.
        way_out: what to do instead.

    Raises:
        HarnessError: it is one.
    """
    kinds = list(getattr(config, "architectures", None) or ())
    if kinds and all(kind.endswith(_OTHER_HEAD) for kind in kinds):
        raise HarnessError(
            f"{name} is a reward model ({', '.join(kinds)}): as a language model it would be "
            f"scored with a random language-model head; {way_out}"
        )


def left_random(loader: LanguageModelLoader, options: Mapping[str, Any]) -> list[str]:
    """The parameters that neither the checkpoint nor the adapter holds.

    Args:
        loader: what loaded the checkpoint.
        options: what it was loaded with, ``peft`` and ``revision`` among it.
    """
    missing = sorted({*loader.missing, *loader.mismatched})
    if missing and options.get("peft"):
        adapter = adapters.named(str(options["peft"]), options.get("revision"))
        missing = [name for name in missing if name not in adapter.whole]
    return missing


def refuse_random_head(
    loader: LanguageModelLoader, config: Any, name: str, way_out: str, options: Mapping[str, Any]
) -> None:
    """Refuse a model whose output embedding nothing has set.

    Args:
        loader: what loaded it.
        config: the model's.
        name: path or Hub id.
        way_out: what to do instead.
        options: as for `left_random`.

    Raises:
        HarnessError: it would keep its random start.
    """
    random = loader.head.intersection(left_random(loader, options))
    if random:
        raise HarnessError(
            f"{name} ({_kinds(config)}) is no language model: it holds no {min(random)}, which "
            f"would be random; {way_out}"
        )


def refuse_incomplete_model(
    loader: LanguageModelLoader, config: Any, name: str, options: Mapping[str, Any]
) -> None:
    """Refuse a language model with any parameter that nothing has set; arguments as above.

    Raises:
        HarnessError: they would keep their random start.
    """
    left = left_random(loader, options)
    if left:
        raise HarnessError(
            f"{name} ({_kinds(config)}) is no complete language model: it lacks {len(left)} "
            f"tensors, among them {left[0]}, which would be random; a reward model is scored with "
            "--model reward"
        )


def refuse_reward_head(
    loader: LanguageModelLoader, model: Any, name: str, way_out: str, options: Mapping[str, Any]
) -> None:
    """Refuse a reward head where no language model's head was trained.

    That is a checkpoint with a tied output embedding, or a class without one, which does not call
    itself a language model. One that does may have both, as TRL's value-head models have.

    Raises:
        HarnessError: there is one.
    """
    kinds = getattr(model.config, "architectures", None) or ()
    if any(mark in kind for kind in kinds for mark in _LANGUAGE_MODELS):
        return
    shapes: dict[str, tuple[int, ...]] = {}
    if loader.tied and loader.unexpected:
        stored = stored_shapes(name, **options) or {}
        shapes = {key: stored[key] for key in loader.unexpected if key in stored}
    elif not loader.head:
        shapes = {
            f"{at}.{key}": tuple(parameter.shape)
            for at, module in head_modules(without_adapter_wrapper(model)).items()
            for key, parameter in module.named_parameters()
        }
    one_output = (key for key, shape in shapes.items() if len(shape) == 2 and shape[0] == 1)
    head = next(one_output, None)
    if head is not None:
        raise HarnessError(
            f"{name} ({_kinds(model.config)}) is a reward model: it holds the head {head}, and no "
            f"head of a language model; {way_out}"
        )


def _kinds(config: Any) -> str:
    return ", ".join(getattr(config, "architectures", None) or ()) or "unknown architecture"
