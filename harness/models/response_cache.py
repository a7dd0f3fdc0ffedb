# SPDX-License-Identifier: Apache-2.0
"""Keeps ``--use_cache`` from serving one model's scores as another's.

Its keys are those of the requests alone. So the first run writes down, under a key of its own,
which model filled the file, and every later run compares before it reads.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn

from harness.errors import HarnessError
from harness.models.load.head import without_adapter_wrapper
from harness.models.score import digests
from harness.models.score.chat_template import for_tools
from harness.runs.identity import as_text, changes, code, digest, software

if TYPE_CHECKING:
    from lm_eval.api.model import CacheHook

    from harness.models.conversation_lm import ConversationLM

# What is stored for a request; a cache of another form is refused like one of another model.
FORM = "reward, flag, details"

# The other keys are SHA-256 digests in hex, so this one cannot meet them.
OWNER_KEY = "dogerm: written by"


class Identified(Protocol):
    """A model that says what its scores depend on."""

    def identity(self) -> dict[str, str]:
        """Part -> its text or digest."""


def claim_hook(hook: CacheHook, lm: Identified) -> None:
    """`claim` for what lm-eval gives a model: nothing to do without ``--use_cache``.

    Args:
        hook: lm-eval's.
        lm: the owner; what it is, is asked only where there is a cache: it reads all weights.

    Raises:
        HarnessError: the cache is another model's, or one of lm-eval's own, which is pickled.
    """
    if type(hook.dbdict).__module__ == "sqlitedict":
        raise HarnessError(
            f"the cache {getattr(hook.dbdict, 'filename', '')} is lm-eval's own, of pickles, since "
            "this project's hook is not active (DOGERM_AUTOLOAD=0?): leave out --use_cache"
        )
    if hook.dbdict is not None:
        modules = sorted({kind.__module__ for kind in type(lm).__mro__})
        owner = {**lm.identity(), **software(), **code(*modules)}
        claim(hook.dbdict, owner, str(getattr(hook.dbdict, "filename", "of --use_cache")))


def claim(cache: MutableMapping[str, Any], owner: Mapping[str, str], path: str) -> None:
    """Mark an empty cache as `owner`'s, or check that a filled one is.

    Raises:
        HarnessError: the cache holds rewards of another model or of no known one.
    """
    kept_owner = cache.get(OWNER_KEY)
    if kept_owner is None and len(cache) == 0:
        cache[OWNER_KEY] = json.dumps(dict(owner), sort_keys=True)
        return
    way_out = "give --use_cache another path, one per model, or delete this one"
    if kept_owner is None:
        raise HarnessError(
            f"the cache {path} does not say which model filled it, so its rewards cannot be "
            f"trusted; {way_out}"
        )
    before = json.loads(kept_owner)
    differing = [
        f"{part} {'unset' if was is None else was} -> {'unset' if now is None else now}"
        for part, was, now in changes(before, owner)
    ]
    if differing:
        raise HarnessError(
            f"the cache {path} was written by another model ({'; '.join(differing)}); {way_out}"
        )


def identity(lm: ConversationLM) -> dict[str, str]:
    """What every model's score depends on beside the conversation."""
    name = str(lm.pretrained) if isinstance(lm.pretrained, str) else "a loaded model"
    template = lm.encoder.template.text + as_text(lm.encoder.template_args)
    tools = for_tools(lm.tokenizer, lm.encoder.template)
    template += tools if tools != lm.encoder.template.text else ""
    return {
        "form": FORM,
        "kind": lm.KIND,
        "path": os.path.realpath(name) if os.path.isdir(name) else name,
        "adapter": str(lm.peft or lm.delta or "none"),
        "revision": str(lm.revision),
        **identity_of_model(lm.model),
        "dtype": str(lm.model.dtype),
        "autocast": str(lm.mixed_precision_dtype),
        "template": digest(template),
        "date": lm.encoder.rendering.outside.date.isoformat(),
        "tokenizer": digests.of_tokenizer(lm.tokenizer),
        "max_length": str(lm.max_length),
    }


def identity_of_model(model: nn.Module) -> dict[str, str]:
    """What makes a loaded model compute what it computes, by part."""
    return {
        "weights": digests.of_weights(model),
        "config": digests.of_config(without_adapter_wrapper(model).config),
        "adapter_config": digests.of_adapters(model),
        "code": digests.of_code(without_adapter_wrapper(model)),
    }
