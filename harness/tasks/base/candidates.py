# SPDX-License-Identifier: Apache-2.0
"""The lm-eval task behind every benchmark: a prompt and responses, each scored once.

A benchmark subclasses `CandidateTask` (pairs: `preference.PreferenceTask`): what its rows look
like, how they become documents, and how scores become metrics. A YAML names it and sets:

- ``dataset_kwargs.hub_id`` and ``test_split``: the data set on the Hub, ``.hub_name`` its
  configuration and ``.hub_dir`` its folder, where it has several; ``.benchmark``: the name of a
  local file that replaces it; ``.packaged``: a file beside the YAML that this project ships;
- ``dataset_name``: the value of a document's ``subset`` that this task takes; all without it;
- ``metadata.rows``: how many documents the official data set gives; ``metadata.raw_rows``: how many
  rows it has, where it is not known how many of them make documents; ``metadata.weight``: what the
  task counts in its section, all documents of the data at hand without it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, ClassVar, NamedTuple

from lm_eval.api.task import ConfigurableTask

from harness.errors import HarnessError
from harness.rows import datasets
from harness.rows.answer import REWARD, Answer, kind_suffix
from harness.rows.conversation import (
    Conversation,
    Message,
    Origin,
    Turns,
    cache_line,
    messages_of,
    plain_text,
)
from harness.rows.documents import Docs, Document, by_subset
from harness.tasks.base import benchmark_rows, routed
from harness.tasks.base.dotted_names import known_as
from harness.tasks.base.requests import Requests
from harness.tasks.base.sections import AbsentSubset

# Documents that lm-eval's filters see at a time; each of them is then in memory.
WINDOW = 512


class Metric(NamedTuple):
    """How a metric's values, one a document, become one number.

    Attributes:
        aggregation: lm-eval's name of a rule (``mean`` has a standard error), or a function.
        higher_is_better: which way the arrow in the table points.
    """

    aggregation: str | Callable[[Sequence[Any]], Any] = "mean"
    higher_is_better: bool = True


def total(values: Sequence[float]) -> int:
    """The sum of counts."""
    return round(sum(values))


class CandidateTask(ConfigurableTask):
    """A benchmark as an lm-eval task: documents of a prompt and its candidate responses.

    Subclasses set `SCHEMA` and `METRICS` and define `responses` and `score`; where rows are not
    documents already, `documents`.
    """

    SCHEMA: ClassVar[datasets.Schema]
    METRICS: ClassVar[dict[str, Metric]]

    @classmethod
    def documents(cls, rows: Sequence[datasets.Row], config: Any) -> Iterable[Document]:
        """The documents that rows of the raw schema make; each has a ``prompt``.

        Args:
            rows: checked rows; not to be changed.
            config: the YAML's keys.
        """
        return rows

    def responses(self, doc: Document) -> list[str]:
        """The candidates of a document, in the order in which `score` gets their scores."""
        raise NotImplementedError

    def beside(self, doc: Document) -> dict[str, Any]:
        """What the chat template gets beside a document's messages: ``tools``, ``documents``."""
        return {}

    def origin(self, doc: Document) -> Origin:
        """Where a document comes from, and how strictly it is looked at."""
        return Origin()

    def score(self, doc: Document, scores: Sequence[float]) -> dict[str, Any]:
        """The document's value of each metric in `METRICS` (without ``truncated``)."""
        raise NotImplementedError

    @classmethod
    def unit(cls, doc: Document) -> str:
        """What a document is about: those with the same one are never divided between two sets.

        The prompt; a benchmark whose items are several prompts says otherwise.
        """
        return plain_text(messages_of(doc["prompt"]))

    def __new__(cls, *args: Any, config: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        """The task; an `AbsentSubset` where the data at hand has no document of the subset."""
        if config is not None and config.get("dataset_name") is not None:
            source, parts = cls.parts(config)
            subset = str(config["dataset_name"])
            if subset not in parts:
                return AbsentSubset.of(config["task"], subset, source, list(parts))
        return super().__new__(cls)

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        given = {key: value for key, value in (config or {}).items() if key != "class"}
        metrics = {**self.METRICS, "truncated": Metric(total, False)}
        defaults: dict[str, Any] = {
            "output_type": "multiple_choice",
            "num_fewshot": 0,
            # lm-eval's default is a space, which would become part of the response.
            "target_delimiter": "",
            "metric_list": [{"metric": name, **m._asdict()} for name, m in metrics.items()],
            # Tells lm-eval that the metrics' names are not its own; the work is done below.
            "process_results": f"{known_as(type(self))}.score",
        }
        self.kinds: set[str] = set()
        self.routed: set[str] = set()
        super().__init__(config={**defaults, **given})

    @classmethod
    def parts(cls, config: Any) -> tuple[str, dict[str, Docs]]:
        """Where the documents are from, and all of them by subset; made once for a set's tasks."""
        rows = benchmark_rows.rows(cls.SCHEMA, config)
        made_for = cls, id(rows), repr((config["test_split"], config["dataset_kwargs"]))
        if made_for not in _parts:
            docs = cls.documents(rows.rows, config)
            docs = docs if isinstance(docs, Docs) else Docs(docs)
            _parts[made_for] = rows, by_subset(docs)
        return rows.source, dict(_parts[made_for][1])

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Read the documents, and say where their number is not the official one."""
        config = self.config
        source, parts = self.parts(config)
        if not parts:
            raise HarnessError(f"{source}: none of its rows makes a document of {config.task}")
        if config.dataset_name is None:
            docs, *others = parts.values()
            docs = Docs(chain(docs, *others)) if others else docs
        else:
            docs = parts[str(config.dataset_name)]
            benchmark_rows.tell_unused(source, parts, config)
        self.dataset = {config.test_split: docs}
        # Without an official weight the rows count: all of them, whatever --limit takes.
        config.metadata = {"weight": len(docs), **(config.metadata or {}), "data_source": source}
        benchmark_rows.tell_other_numbers(self.SCHEMA, len(docs), source, config)

    def build_all_requests(
        self,
        *,
        limit: int | None = None,
        samples: list[int] | None = None,
        rank: int = 0,
        world_size: int = 1,
        system_instruction: str | None = None,
        apply_chat_template: bool = False,
        chat_template: Any = None,
        **kwargs: Any,
    ) -> None:
        """Note what to ask the model; texts are made later (`harness.tasks.base.requests`).

        lm-eval's own way renders all prompts beforehand, or takes them from a cache that does not
        know which file they are from.
        """
        docs = self.eval_docs
        if samples and min(samples) < 0:
            raise HarnessError(f"--samples: {self.config.task} has no document {min(samples)}")
        count = len(samples or docs)
        count = min(count, limit or count)
        if world_size > count:  # lm-eval would stop with an error that names neither
            raise HarnessError(
                f"{self.config.task} has {count} documents to score, too few for {world_size} "
                "processes; start fewer"
            )
        context = functools.partial(
            self.fewshot_context,
            system_instruction=system_instruction,
            apply_chat_template=apply_chat_template,
            chat_template=chat_template,
        )
        requests = Requests(self.config.task, self.config.repeats, docs, context, self.responses)
        # lm-eval numbers the documents that --samples chooses from 0.
        places = sorted(set(samples)) if samples else range(len(docs))
        self._instances = [
            request
            for doc_id, doc in self.doc_iterator(
                rank=rank, limit=limit, samples=samples, world_size=world_size
            )
            for request in requests.of(places[doc_id], doc_id, doc)
        ]

    def apply_filters(self) -> None:
        """As lm-eval, which takes all documents into memory, but some after the other.

        Its filters look at a request alone.
        """
        instances = self._instances
        for start in range(0, len(instances), WINDOW):
            for filters in self._filters:
                filters.apply(instances[start : start + WINDOW])

    def process_results(self, doc: Document, results: Any) -> dict[str, Any]:
        """The document's metrics from what the model answered for each response."""
        if "bypass" in self.aggregation():  # --predict_only
            return {"bypass": 999}  # lm-eval's own placeholder
        answers = [Answer.of(result) for result in results]
        self._note_kinds(answers)
        metrics = self.score(doc, [answer.score for answer in answers])
        metrics |= routed.metrics(self, doc, answers)
        if all("truncated" in answer.details for answer in answers):
            metrics["truncated"] = float(any(answer.details["truncated"] for answer in answers))
        return metrics

    def _note_kinds(self, answers: Sequence[Answer]) -> None:
        """Let the table say what kind of score this is, where it is not a plain reward."""
        new = {str(answer.details.get("kind", REWARD)) for answer in answers} - self.kinds
        if new:
            self.kinds |= new
            self.config.task_alias = f"{self.config.task}{kind_suffix(self.kinds)}"

    def messages(self, doc: Document, system: str | None = None) -> list[Message]:
        """The prompt of a document as messages, below a system message if there is one."""
        messages = messages_of(doc["prompt"])
        if not system:
            return messages
        if messages[0]["role"] == "system":
            system = f"{system}\n\n{messages.pop(0)['content']}"
        return [{"role": "system", "content": system}, *messages]

    def fewshot_context(
        self,
        doc: Document,
        num_fewshot: int = 0,
        *,
        system_instruction: str | None = None,
        apply_chat_template: bool = False,
        chat_template: Any = None,
        **kwargs: Any,
    ) -> Conversation:
        """The prompt, as text for any model and as messages for a reward model.

        There are no examples to show: ``num_fewshot: 0`` is set, which lm-eval keeps whatever the
        command line says, so ``--fewshot_as_multiturn`` changes nothing.
        """
        messages, beside = self.messages(doc, system_instruction), self.beside(doc)
        text = plain_text(messages, beside)
        if apply_chat_template and chat_template is not None:
            text = chat_template(Turns(messages, beside), add_generation_prompt=True)
            if isinstance(text, Conversation):  # ours; nobody reads it but logs and the cache
                text = text + cache_line(messages, beside)
            elif beside:
                raise HarnessError(
                    f"{self.config.task}: {' and '.join(beside)} can't be given to the chat "
                    "template of this kind of model; use --model reward or reward-implicit, or "
                    "leave out --apply_chat_template"
                )
        return Conversation(text, messages, beside, self.origin(doc))

    def fewshot_docs(self) -> None:
        """There are none; lm-eval would keep all documents in memory as examples."""

    def doc_to_text(self, doc: Document, doc_to_text: Any = None) -> str:
        """The prompt as plain text."""
        return plain_text(self.messages(doc))

    def doc_to_choice(self, doc: Document, doc_to_choice: Any = None) -> list[str]:
        """The candidates (lm-eval's name for `responses`)."""
        return self.responses(doc)

    def doc_to_target(self, doc: Any, doc_to_target: Any = None) -> int:
        """Nothing is generated, so there is no target; lm-eval logs this number."""
        return 0


# Of a class, rows and a YAML's keys: the rows, so that their id stays theirs, and the parts.
_parts: dict[tuple[type, int, str], tuple[datasets.Rows, dict[str, Docs]]] = {}
