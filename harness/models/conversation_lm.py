# SPDX-License-Identifier: Apache-2.0
"""lm-eval's ``hf`` model, made to take whole conversations; how they are scored is another matter.

Loading (device, dtype, PEFT, quantization, ``accelerate launch``) stays lm-eval's. Added are the
chat template, plain words for mistakes in ``--model_args``, a ``--use_cache`` that knows its model,
and ranks that hold on CPUs and on several machines.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from lm_eval.api.model import CacheHook
from lm_eval.models.huggingface import HFLM
from transformers import AutoConfig

from dogerm_plugin.anatomy.adapter import Adapter
from harness.errors import HarnessError, first_line
from harness.models import response_cache
from harness.models.load import adapters, quantization
from harness.models.load.arguments import check, folder_or_hub_id, parameters, refuse_misspelt
from harness.models.load.completeness import explain_loading_error
from harness.models.load.loading_errors import LOADING_ERRORS, explain
from harness.models.load.processes import warn_of_a_lone_process
from harness.models.only_scores import OnlyScores
from harness.models.score import template_args, template_trial
from harness.models.score.chat_template import choose_template
from harness.models.score.encoder import Encoder
from harness.models.templated import Templated


class ConversationLM(Templated, OnlyScores, HFLM):
    """lm-eval's ``hf`` model for whole conversations; its arguments, and three more.

    Args:
        pretrained: path, Hub id, or a loaded model.
        chat_template: what renders a conversation: the name of one of the tokenizer's templates, a
            path to a file, or a Jinja text. Without it the tokenizer's default template.
        date: the day that a template which prints today's date is told, ``YYYY-MM-DD``; by default
            the same fixed one on every day.
        template_seconds: that the template may take for one conversation.
        device: ``cuda`` where there is one, else ``cpu``.

    Attributes:
        KIND: what a score is, for tables and samples.
        IS: what ``pretrained`` names, for messages.

    Raises:
        HarnessError: an argument makes no sense here, or nothing can be loaded.
    """

    KIND: ClassVar[str]
    IS: ClassVar[str]

    def __init__(
        self,
        pretrained: Any = None,
        *,
        chat_template: str | None = None,
        date: Any = None,
        template_seconds: float | None = None,
        device: str | None = None,
        **kwargs: Any,
    ) -> None:
        refuse_misspelt(kwargs, parameters(type(self), HFLM))
        if pretrained is None:
            raise HarnessError(f"--model_args lacks pretrained=FOLDER_OR_HUB_ID, {self.IS}")
        if isinstance(pretrained, str):
            pretrained = folder_or_hub_id(pretrained, "pretrained")
        for name in ("peft", "delta", "tokenizer"):
            if isinstance(kwargs.get(name), str):
                kwargs[name] = folder_or_hub_id(kwargs[name], name)
        check({"device": device, **kwargs})
        self.adapter: Adapter | None = None
        if kwargs.get("peft"):
            self.adapter = adapters.named(str(kwargs["peft"]), kwargs.get("revision"))
            chat_template = adapters.its_own(self.adapter, kwargs, chat_template)
        quantization.options(kwargs)
        kwargs["chat_template_args"] = template_args.variables(kwargs.get("chat_template_args"))
        about_template: dict[str, Any] = {
            "date": template_args.fixed_date(date),
            "seconds": template_args.time_limit(template_seconds),
        }
        default_device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            super().__init__(pretrained, device=device or default_device, **kwargs)
        except HarnessError:
            raise
        except LOADING_ERRORS as error:
            explained = explain(error, pretrained, kwargs)
            if explained is None:
                raise
            raise explained from error
        if hasattr(self, "accelerator"):
            # HFLM takes these from the accelerator only when it sees more than one GPU, and its
            # rank is the local one: on CPU every process would do all the work, and on several
            # nodes ranks would repeat.
            self._rank = self.accelerator.process_index
            self._world_size = self.accelerator.num_processes
            self._device = self.accelerator.device
        warn_of_a_lone_process(self.world_size)
        if self.adapter is not None:
            trusted = {name: kwargs.get(name) for name in ("revision", "trust_remote_code")}
            adapters.lend_template(self.tokenizer, pretrained, self.adapter, **trusted)
        self.encoder = Encoder(
            self.tokenizer,
            choose_template(self.tokenizer, chat_template),
            self.max_length,
            self.chat_template_args,
            **about_template,
        )
        rendering = self.encoder.rendering
        if rendering.names:
            template_args.warn_of_unused(self.chat_template_args, rendering.names, rendering.source)
        template_trial.try_out(rendering, self.name)
        self.scored_rows = 0
        self.truncated_rows = 0
        self._rows_everywhere: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """The model, for messages."""
        return str(self.pretrained) if isinstance(self.pretrained, str) else "the loaded model"

    def _create_tokenizer(self, pretrained: Any, tokenizer: Any, **kwargs: Any) -> None:
        """Load as HFLM does; a folder without a tokenizer is a user's mistake, not a fault."""
        try:
            super()._create_tokenizer(pretrained, tokenizer, **kwargs)
        except Exception as error:  # tokenizers raises bare ones for files that it doesn't know
            raise HarnessError(
                f"no tokenizer can be loaded from {tokenizer or pretrained} ({first_line(error)}); "
                "name one with --model_args tokenizer=FOLDER_OR_HUB_ID"
            ) from error

    def _get_config(self, pretrained: str, **kwargs: Any) -> None:
        """Load as HFLM does; a folder without a model is a user's mistake, not a fault."""
        try:
            super()._get_config(pretrained, **kwargs)
        except ValueError as error:
            place = f"{pretrained} (subfolder={kwargs['subfolder']})"
            raise explain_loading_error(pretrained, error) or HarnessError(
                f"{place if kwargs.get('subfolder') else pretrained} holds no model that can be "
                f"loaded: {first_line(error)}"
            ) from error

    def _create_model(self, pretrained: str, *, peft: str | None = None, **kwargs: Any) -> None:
        """Load as HFLM does; ``load_in_4bit`` and the like as the transformers of today take it.

        The adapter is put on here: HFLM would first cut or grow the embedding to the tokenizer's
        length, whatever rows the adapter was trained with.
        """
        delta = kwargs.get("delta")
        if delta:  # else an error would be told of pretrained=
            trusted = {name: kwargs.get(name) for name in ("revision", "trust_remote_code")}
            try:
                AutoConfig.from_pretrained(delta, **trusted)
            except (OSError, ValueError) as error:
                raise HarnessError(
                    f"delta={delta}: can't be loaded ({first_line(error)})"
                ) from error
        super()._create_model(pretrained, **quantization.taken_from(kwargs, pretrained))
        if peft and self.adapter is not None:
            self._model: Any = self._adapted(self.model, self.adapter)

    def _adapted(self, model: Any, adapter: Adapter) -> Any:
        """The loaded model with what ``peft=`` names on it."""
        return adapters.put_onto(model, adapter, self.tokenizer)

    def identity(self) -> dict[str, str]:
        """What a score depends on beside the conversation, for `response_cache.claim`."""
        return response_cache.identity(self)

    def set_cache_hook(self, cache_hook: CacheHook) -> None:
        """Take the cache of ``--use_cache``, if this model filled it or it is new."""
        response_cache.claim_hook(cache_hook, self)
        super().set_cache_hook(cache_hook)

    def barrier(self) -> None:
        """Wait for the other processes, and add up what all of them scored.

        lm-eval calls this on every process once its requests are done.
        """
        super().barrier()
        if self.world_size > 1:
            mine = torch.tensor([[self.scored_rows, self.truncated_rows]], device=self.device)
            scored, truncated = self.all_gather(mine).sum(0).tolist()
            self._rows_everywhere = int(scored), int(truncated)

    def get_model_info(self) -> dict[str, Any]:
        """What results.json says about the model: HFLM's, and how the scores came about."""
        scored, truncated = self._rows_everywhere or (self.scored_rows, self.truncated_rows)
        info: dict[str, Any] = dict(super().get_model_info())
        info.update(
            chat_template_source=self.encoder.template.source,
            chat_template_date=self.date_told,
            max_length=self.max_length,
            num_processes=self.world_size,
            scored_rows=scored,
            truncated_rows=truncated,
        )
        return info
