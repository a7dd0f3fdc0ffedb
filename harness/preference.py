# SPDX-License-Identifier: Apache-2.0
"""The lm-eval task behind every preference benchmark: a prompt, a chosen and a rejected response.

A YAML names it as its ``class`` and sets lm-eval's usual keys:

- ``dataset_kwargs.hub_id`` and ``test_split``: the data set on the Hub; ``.benchmark``: the name of
  a local file that replaces it; ``.packaged``: a file beside the YAML that this project ships;
- ``dataset_name``: the value of the column ``subset`` that this task takes;
- ``metadata.rows``: how many rows the official data set has; ``metadata.weight``: see
  `harness.sections`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from lm_eval.api.task import ConfigurableTask

from harness import datasets, metrics
from harness.conversation import Conversation, Message, messages_of, plain_text
from harness.sections import AbsentSubset

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold


def pairwise(doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, float]:
    """The metrics of one pair from ``[(chosen, _), (rejected, _)]`` (lm-eval's process_results)."""
    chosen, rejected = [float(result[0]) for result in results[:2]]
    return {
        "accuracy": metrics.accuracy([chosen], [rejected]),
        "margin": metrics.margin([chosen], [rejected]),
        "ties": metrics.ties([chosen], [rejected]),
    }


class Docs(list[dict[str, Any]]):
    """Rows as lm-eval wants them: a sequence that can also name its columns."""

    @property
    def features(self) -> dict[str, None]:
        """The columns, as the keys of a mapping."""
        return dict.fromkeys(self[0]) if self else {}


class PreferenceTask(ConfigurableTask):
    """One subset of a preference benchmark."""

    def __new__(cls, *args: Any, config: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        """The task; an `AbsentSubset` where the data at hand has no row of the subset."""
        if config is not None:
            rows = _rows(config)
            subset = config["dataset_name"]
            if subset not in rows.by("subset"):
                return AbsentSubset.of(config["task"], subset, rows.source, [*rows.by("subset")])
        return super().__new__(cls)

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        super().__init__(
            config={key: value for key, value in (config or {}).items() if key != "class"}
        )

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Read the subset's rows, and say where their number is not the official one."""
        config = self.config
        rows = _rows(config)
        docs = Docs(rows.by("subset")[str(config.dataset_name)])
        self.dataset = {config.test_split: docs}
        config.metadata = {**(config.metadata or {}), "data_source": rows.source}
        _tell_unused(rows, config)
        official = config.metadata.get("rows")
        if official is not None and official != len(docs):
            logger.warning(
                "%s: %d rows in %s, the official set has %d: not comparable with published scores",
                config.task,
                len(docs),
                rows.source,
                official,
            )

    def build_all_requests(self, **kwargs: Any) -> None:
        """Build the requests anew: lm-eval's request cache does not know which file they are from.

        There is nothing to gain from it either, as nothing is tokenized here.
        """
        super().build_all_requests(
            **{**kwargs, "cache_requests": False, "rewrite_requests_cache": False}
        )

    def messages(self, doc: dict[str, Any], system: str | None = None) -> list[Message]:
        """The prompt of a row as messages, below a system message if there is one."""
        messages = messages_of(doc["prompt"])
        if not system:
            return messages
        if messages[0]["role"] == "system":
            system = f"{system}\n\n{messages.pop(0)['content']}"
        return [{"role": "system", "content": system}, *messages]

    def fewshot_context(
        self,
        doc: dict[str, Any],
        num_fewshot: int = 0,
        *,
        system_instruction: str | None = None,
        apply_chat_template: bool = False,
        chat_template: Any = None,
        **kwargs: Any,
    ) -> Conversation:
        """The prompt, as text for any model and as messages for a reward model.

        There are no examples to show: the YAMLs set ``num_fewshot: 0``, which lm-eval keeps
        whatever the command line says, so ``--fewshot_as_multiturn`` changes nothing.
        """
        messages = self.messages(doc, system_instruction)
        if apply_chat_template and chat_template is not None:
            return Conversation(chat_template(messages, add_generation_prompt=True), messages)
        return Conversation(plain_text(messages), messages)

    def doc_to_text(self, doc: dict[str, Any], doc_to_text: Any = None) -> str:
        """The prompt as plain text."""
        return plain_text(self.messages(doc))

    def doc_to_choice(self, doc: dict[str, Any], doc_to_choice: Any = None) -> list[str]:
        """Chosen, then rejected."""
        return [doc["chosen"], doc["rejected"]]

    def doc_to_target(self, doc: Any, doc_to_target: Any = None) -> int:
        """The chosen response is the first choice."""
        return 0


_told: set[str] = set()


def _tell_unused(rows: datasets.Rows, config: Any) -> None:
    """Warn, once a source, of rows whose subset is not the name of any task of the benchmark."""
    benchmark = config["dataset_kwargs"]["benchmark"]
    yamls = Path(config["metadata"]["config_source"]).parent.glob(f"{benchmark}-*.yaml")
    known = {path.stem.removeprefix(f"{benchmark}-") for path in yamls}
    unused = {s: len(found) for s, found in rows.by("subset").items() if s not in known}
    if unused and rows.source not in _told:
        _told.add(rows.source)
        logger.warning(
            "%s: not evaluated, as %s has no such subset: %s",
            rows.source,
            benchmark,
            ", ".join(f"{subset} ({count} rows)" for subset, count in unused.items()),
        )


def _rows(config: Any) -> datasets.Rows:
    """The benchmark's rows, all subsets, for a YAML's keys or the TaskConfig made of them."""
    options, metadata = config["dataset_kwargs"], config["metadata"] or {}
    packaged = options.get("packaged")
    return datasets.load(
        options["benchmark"],
        datasets.PREFERENCE,
        hub_id=options.get("hub_id"),
        split=config["test_split"],
        packaged=Path(metadata["config_source"]).parent / packaged if packaged else None,
        data_dir=metadata.get("data_dir"),
    )
