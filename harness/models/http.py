# SPDX-License-Identifier: Apache-2.0
"""``lm_eval --model reward-http``: the rewards of a model that a server has loaded.

Conversations are rendered and tokenized here, as `harness.models.reward` does it, so the server
scores the tokens that a local model would; `harness.models.remote` knows the servers.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from lm_eval.api.model import LM

from harness.errors import HarnessError
from harness.models import response_cache
from harness.models.load import arguments
from harness.models.only_scores import OnlyScores
from harness.models.remote import squashed
from harness.models.remote.protocols import Row
from harness.models.remote.sent import Served, row_of
from harness.models.remote.server import Server
from harness.models.score import digests, progress, template_args, template_trial
from harness.models.score.chat_template import choose_template
from harness.models.score.encoder import Encoded, Encoder
from harness.models.score.kept_answers import keep
from harness.models.score.requests import DistinctRows, answer_to, conversation, describe, named
from harness.models.score.template_coverage import TemplateCoverage
from harness.models.templated import Templated
from harness.rows.answer import REWARD, Answer
from harness.rows.conversation import Turns
from harness.runs.identity import as_text, digest

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import CacheHook

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

# Conversations in a request for batch_size=auto; the server puts together what it scores together.
ROWS = 8


class RewardHttp(Templated, OnlyScores, LM):
    """A reward model behind a server.

    Args:
        pretrained: folder or Hub id of the model that the server has loaded: its tokenizer, chat
            template and config are read here, its weights only where they settle a doubt.
        base_url: ``http://HOST:PORT``.
        api: ``vllm``, ``sglang`` or ``openrlhf``; see `harness.models.remote.protocols`.
        model: its name at the server, where that has several.
        tokenizer: folder or Hub id, where it is not `pretrained`'s.
        num_concurrent: requests at a time.
        max_retries: how often a request is made again, after longer and longer waits, while the
            server is busy or does not answer.
        timeout: seconds for an answer.
        raw: rewards that all are in 0..1 are meant so.
        max_length: tokens of a conversation; by default what the model's config says. Longer ones
            lose their beginning.
        chat_template: as of `ConversationLM`, like ``date``, ``template_seconds`` and
            ``chat_template_args``.
        batch_size: conversations in a request.
        others: lm-eval's command gives every model a device.

    Raises:
        HarnessError: an argument makes no sense here, the server does not answer, or it is refused
            by `harness.models.remote.squashed`.
    """

    KIND: ClassVar[str] = REWARD

    def __init__(
        self,
        pretrained: str | None = None,
        *,
        base_url: str | None = None,
        api: str | None = None,
        model: str | None = None,
        tokenizer: str | None = None,
        num_concurrent: int | str = 8,
        max_retries: int | str = 5,
        timeout: float | str = 300,
        raw: bool | str = False,
        max_length: int | None = None,
        chat_template: str | None = None,
        date: Any = None,
        template_seconds: float | None = None,
        chat_template_args: Any = None,
        trust_remote_code: bool = False,
        revision: str | None = None,
        batch_size: int | str = "auto",
        **others: Any,
    ) -> None:
        super().__init__()
        known = arguments.parameters(RewardHttp, RewardHttp) | {"device", "max_batch_size"}
        for name in others:
            arguments.refuse_misspelt([name], known)
            if name not in known:
                raise HarnessError(f"--model_args: reward-http has no {name}=; it has no weights")
        pretrained = pretrained or tokenizer
        if pretrained is None:
            raise HarnessError("--model_args lacks pretrained=FOLDER_OR_HUB_ID, the served model")
        if str(raw).lower() not in ("true", "false"):
            raise HarnessError(f"raw={raw} is unknown; it is True or False")
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:
            raise HarnessError(
                "reward-http takes no launcher: each process would ask for all rows; "
                "num_concurrent= says how many requests are made at a time"
            )
        arguments.check({"max_length": max_length, "batch_size": batch_size})
        self.pretrained = arguments.folder_or_hub_id(pretrained, "pretrained")
        self._server = Server.of(
            base_url,
            api,
            model,
            num_concurrent=num_concurrent,
            max_retries=max_retries,
            timeout=timeout,
        )
        self._asked_as = {
            "server": self._server.client.url,
            "api": str(api),
            "model": str(model),
        }
        self._rows = ROWS if str(batch_size).startswith("auto") else int(batch_size)
        trusted = {"revision": revision, "trust_remote_code": trust_remote_code}
        served = Served.read(self.pretrained, tokenizer, trusted)
        self.tokenizer, self._pad = served.tokenizer, served.pad_token_id
        self.encoder = Encoder(
            self.tokenizer,
            choose_template(self.tokenizer, chat_template),
            int(max_length or served.max_length(self._server.protocol.MAX_LENGTH)),
            template_args.variables(chat_template_args),
            date=template_args.fixed_date(date),
            seconds=template_args.time_limit(template_seconds),
        )
        rendering = self.encoder.rendering
        if rendering.names:
            template_args.warn_of_unused(
                self.encoder.template_args, rendering.names, rendering.source
            )
        template_trial.try_out(rendering, self.name)
        self.scored_rows = self.truncated_rows = 0
        self._try_out(str(raw).lower() == "true")

    @property
    def name(self) -> str:
        """The model, for messages."""
        return f"{self.pretrained} at {self._server.client.url}"

    @property
    def max_length(self) -> int:
        """Tokens that are sent of a conversation."""
        return self.encoder.max_length

    @property
    def tokenizer_name(self) -> str:
        """For lm-eval's cache of requests."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def encode(self, request: Instance) -> Encoded:
        """The token ids of a request's conversation."""
        return self._sent(request)[0]

    def _sent(self, request: Instance) -> tuple[Encoded, Row]:
        with named(self.name, request):
            turns = conversation(request)
            encoded = Encoded(*self.encoder.encode(turns))
            return encoded, self._row(encoded, turns)

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[Any, ...]]:
        """The score of each request's conversation; see `ScoringLM.loglikelihood`.

        Raises:
            HarnessError: the server does not answer, or has no finite reward for a row, which the
                message names.
        """
        answers = []
        for request, outcome in zip(requests, self._outcomes(requests, disable_tqdm), strict=True):
            assert isinstance(outcome, Answer)
            answers.append(answer_to(request, outcome))
        return answers

    def outcomes(self, requests: Sequence[Instance]) -> list[Answer | str]:
        """As `loglikelihood`, but why a row has no reward in the place of its answer."""
        return self._outcomes(requests, False, refuse=False)

    def _outcomes(
        self, requests: Sequence[Instance], disable_tqdm: bool, refuse: bool = True
    ) -> list[Answer | str]:
        shown = TemplateCoverage(self.encoder, self.encode)
        distinct = DistinctRows.of(requests, shown.see)
        shown.tell(requests)
        same_document = distinct.same_document(requests)
        cut: list[bool] = []

        def rows() -> Iterator[Row]:
            for number, request in enumerate(distinct.first):
                encoded, row = self._sent(request)
                cut.append(encoded.truncated)
                if not encoded.truncated:
                    shown.tokenized(number, encoded.ids, distinct.first, same_document)
                yield row

        def batches() -> Iterator[Sequence[Row]]:
            left = rows()
            while some := list(islice(left, self._rows)):
                yield some

        made: dict[int, Answer | str] = {}
        count = len(distinct.first)
        with (
            progress.bar(count, hidden=disable_tqdm) as bar,
            closing(self._server.score_all(batches())) as outcomes,
        ):
            for batch, found in outcomes:
                kept: list[tuple[Instance, Answer]] = []
                for number, one in enumerate(found, start=batch * self._rows):
                    request = distinct.first[number]
                    if isinstance(one, float):
                        details = {"kind": REWARD, "truncated": cut[number]}
                        made[number] = answer = Answer(one, False, details)
                        kept.append((request, answer))
                        continue
                    made[number] = f"{self.name}, {describe(request)}: {one}"
                    if refuse:
                        raise HarnessError(made[number])
                if kept:
                    keep(self.cache_hook, *zip(*kept, strict=True))
                bar.update(len(found))
        shown.tell_alike()
        self.scored_rows += count
        self.truncated_rows += sum(cut)
        if any(cut):
            logger.warning(
                "%d of %d conversations were longer than max_length=%d tokens and lost their "
                "beginning",
                sum(cut),
                count,
                self.max_length,
            )
        return [made[number] for number in distinct.rows]

    def identity(self) -> dict[str, str]:
        """What a reward depends on, as far as it is known here: not the server's weights."""
        return {
            "form": response_cache.FORM,
            "kind": self.KIND,
            **self._asked_as,
            "template": digest(self.encoder.template.text + as_text(self.encoder.template_args)),
            "date": self.encoder.rendering.outside.date.isoformat(),
            "tokenizer": digests.of_tokenizer(self.tokenizer),
            "max_length": str(self.max_length),
        }

    def set_cache_hook(self, cache_hook: CacheHook) -> None:
        """Take the cache of ``--use_cache``, if this server filled it or it is new."""
        response_cache.claim_hook(cache_hook, self)
        super().set_cache_hook(cache_hook)

    def get_model_info(self) -> dict[str, Any]:
        """What results.json says about the model, and how the scores came about."""
        return {
            **{f"model_{name}": text for name, text in self._asked_as.items()},
            "chat_template_source": self.encoder.template.source,
            "chat_template_date": self.date_told,
            "max_length": self.max_length,
            "scored_rows": self.scored_rows,
            "truncated_rows": self.truncated_rows,
        }

    def _row(self, encoded: Encoded, turns: Turns) -> Row:
        return row_of(encoded, turns, self.encoder, self._pad, self._server.protocol)

    def _try_out(self, raw: bool) -> None:
        try:
            rows = [
                self._row(Encoded(*self.encoder.encode(turns)), turns) for turns in squashed.TRIED
            ]
        except HarnessError as error:
            logger.warning(
                "%s: not tried on known conversations, which the chat template does not take "
                "(%s); a server that puts a sigmoid on rewards would not be noticed",
                self.name,
                error,
            )
            return
        squashed.try_out(
            self._server, rows, None if raw else self.pretrained, self.tokenizer.eos_token
        )
