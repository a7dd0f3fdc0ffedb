# SPDX-License-Identifier: Apache-2.0
"""The YAML files of `dogerm train customized`: up to three stages over shared settings."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import Field

from harness.training.config import (
    Config,
    Imitation,
    KnownKeys,
    Lora,
    Number,
    Source,
    Training,
    Validation,
)

LANGUAGE_MODEL, GENERAL, CUSTOMIZED = "language_model", "general", "customized"

_Section = TypeVar("_Section", bound=KnownKeys)


class LanguageModelStage(KnownKeys):
    """A stage's own data, and what it has otherwise than the other stages."""

    data: list[Source] = Field(default_factory=list)
    lora: Lora | None = None
    training: Training = Training()
    validation: Validation = Validation()


class GeneralStage(LanguageModelStage):
    """The general reward model, trained or given."""

    model: str | None = None  # one that exists already; `data` is then only mixed in and reported
    imitation: Imitation = Imitation()


class CustomizedStage(LanguageModelStage):
    """A reward model for each domain, from the general one."""

    domains: list[str] = Field(default_factory=list)  # empty: all that the rows have
    general_share: Number = 0.2  # of the rows that are trained on, general pairs
    imitation: Imitation = Imitation()


class Stages(KnownKeys):
    """One run of `dogerm train customized`: what is at the top holds for each stage."""

    model: str | None = None  # the language model that the first stage starts from
    max_length: int = 512
    lora: Lora | None = Lora()
    imitation: Imitation = Imitation()  # of the two reward stages
    training: Training = Training()
    validation: Validation = Validation()
    language_model: LanguageModelStage | None = None
    general: GeneralStage | None = None
    customized: CustomizedStage | None = None

    def config(self, name: str, model: str) -> Config:
        """A stage as a run of its own.

        Args:
            name: of a stage that the file has.
            model: that it starts from.
        """
        more: dict[str, Any] = {}
        stage: LanguageModelStage = getattr(self, name)
        lora = stage.lora if "lora" in stage.model_fields_set else self.lora
        if stage.lora is not None and self.lora is not None:
            lora = _over(self.lora, stage.lora)
        shared = self.training
        if isinstance(stage, GeneralStage | CustomizedStage):
            more["imitation"] = _over(self.imitation, stage.imitation)
        else:  # of what is shared, the reward stages alone read these
            given = shared.model_fields_set - {"center_rewards", "head"}
            shared = Training(**{key: getattr(shared, key) for key in given})
        return Config(
            model=model,
            data=stage.data,
            max_length=self.max_length,
            lora=lora,
            training=_over(shared, stage.training),
            validation=_over(self.validation, stage.validation),
            **more,
        )


def _over(shared: _Section, own: _Section) -> _Section:
    """The shared section with the keys that the stage's own has."""
    return shared.model_copy(update={key: getattr(own, key) for key in own.model_fields_set})
