# SPDX-License-Identifier: Apache-2.0
"""Whether a merge is the reward model's own checkpoint with another body, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mergekit.config import MergeConfiguration
from mergekit.options import MergeOptions

from dogerm_plugin.anatomy import vocabulary
from dogerm_plugin.anatomy.heads import Heads
from dogerm_plugin.recipe.entries import as_written

if TYPE_CHECKING:
    from dogerm_plugin.run.prepare import Prepared


def is_all(prepared: Prepared, config: MergeConfiguration, options: MergeOptions) -> bool:
    """Whether layers, head, tokens and template of the output are the reward model's own.

    Args:
        prepared: the merge.
        config: its recipe, as it is written.
        options: mergekit's.

    Raises:
        MergeError: the reward model's tokenizer can't be loaded.
    """
    model = as_written(prepared.layout.reward.model, config, prepared.config)
    return (
        model.lora is None
        and prepared.method.heads is Heads.KEPT
        and not (config.slices or config.modules or config.chat_template)
        and _keeps_rows(prepared, config, options)
    )


def _keeps_rows(prepared: Prepared, config: MergeConfiguration, options: MergeOptions) -> bool:
    """Whether there is a row for each of the reward model's tokens, and no other row."""
    if config.tokenizer is None and config.tokenizer_source is None:
        return True
    layout = prepared.layout
    source = config.tokenizer.source if config.tokenizer else config.tokenizer_source
    own = None if source == "union" else vocabulary.tokenizer_of(layout.reward, options)
    if own is None:
        return False
    rows = len(own.get_vocab())
    rows += -rows % ((config.tokenizer and config.tokenizer.pad_to_multiple_of) or 1)
    shapes = [layout.shape(layout.reward, name) for name in layout.vocabulary]
    return all(shape is not None and shape[0] == rows for shape in shapes)
