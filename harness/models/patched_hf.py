# SPDX-License-Identifier: Apache-2.0
"""The changes to `--model hf`, which `harness.patches.language_models` makes."""

from __future__ import annotations

import functools
from typing import Any


def refuse_reward_models(hflm: Any) -> None:
    """Refuse a reward model, whose language-model head would be random.

    Where the config tells, before the weights are loaded; else by what was missing in them. It is
    the class to load that decides: our own models, which set another one, and those of other
    packages that do, pass. Retired when lm-eval's `hf` refuses a checkpoint that lacks the weights
    of its head.
    """
    get_backend, create_model = hflm._get_backend, hflm._create_model

    def guarded(self: Any) -> bool:
        import transformers

        classes = transformers.AutoModelForCausalLM, transformers.AutoModelForSeq2SeqLM
        return self.AUTO_MODEL_CLASS in classes

    def way_out(name: str) -> str:
        return f"use: lm_eval --model reward --model_args pretrained={name}"

    @functools.wraps(get_backend)
    def _get_backend(self: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        get_backend(self, config, *args, **kwargs)
        from harness.models.language_model import refuse_reward_model

        if guarded(self):
            name = str(getattr(config, "_name_or_path", "") or "the model")
            refuse_reward_model(config, name, way_out(name))

    @functools.wraps(create_model)
    def _create_model(self: Any, pretrained: str, *args: Any, **kwargs: Any) -> None:
        from harness.models import language_model

        if not guarded(self) or kwargs.get("gguf_file"):
            create_model(self, pretrained, *args, **kwargs)
            return
        auto_class = self.AUTO_MODEL_CLASS
        self.AUTO_MODEL_CLASS = loader = language_model.LanguageModelLoader(auto_class)
        try:
            create_model(self, pretrained, *args, **kwargs)
        finally:
            self.AUTO_MODEL_CLASS = auto_class
        if loader.loaded:  # not by autogptq or gptqmodel
            said = pretrained, way_out(pretrained), kwargs
            language_model.refuse_random_head(loader, self._model.config, *said)
            language_model.refuse_reward_head(loader, self._model, *said)

    hflm._get_backend = _get_backend
    hflm._create_model = _create_model


def tell_truncation(hflm: Any) -> None:
    """Count truncated rows of our tasks, and share prompts. Retired when lm-eval does both."""
    original = hflm._loglikelihood_tokens

    @functools.wraps(original)
    def _loglikelihood_tokens(self: Any, requests: Any, *args: Any, **kwargs: Any) -> Any:
        from harness.models.shared_likelihood import answers

        return answers(self, requests, functools.partial(original, self), *args, **kwargs)

    hflm._loglikelihood_tokens = _loglikelihood_tokens
