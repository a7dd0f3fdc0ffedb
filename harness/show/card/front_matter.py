# SPDX-License-Identifier: Apache-2.0
"""The metadata above a card's text: keys are set in place, all else stays as it was typed."""

from __future__ import annotations

from typing import Any

import yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from huggingface_hub.utils import yaml_dump

from harness.errors import HarnessError


def split(text: str, where: str) -> tuple[str, str]:
    """A card's metadata block, without its `---` lines, and its text.

    Raises:
        HarnessError: a block that does not end.
    """
    match = REGEX_YAML_BLOCK.search(text)
    if match:
        return match.group(2), text[match.end() :]
    if text.lstrip().startswith("---"):
        raise HarnessError(
            f"{where}: its metadata starts with --- but no second --- line ends it: add that line"
        )
    return "", text


def parsed(block: str, where: str) -> dict[str, Any]:
    """A card's metadata block as keys and values.

    Raises:
        HarnessError: not YAML, or no mapping.
    """
    try:
        content = yaml.safe_load(block)
    except yaml.YAMLError as error:
        raise HarnessError(
            f"{where}: its metadata is not YAML: {error}; mend what stands between the --- lines"
        ) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise HarnessError(
            f"{where}: its metadata is a {type(content).__name__}, expected keys and values "
            "between the --- lines"
        )
    return content


def edited(block: str, values: dict[str, Any]) -> str:
    """The block with these keys set: replaced where they stand, new ones at the end.

    Comments, order and spelling of all other keys stay.
    """
    content = yaml.safe_load(block) or {}
    expected = {**content, **values}
    lines = block.splitlines()
    spans = _spans(block)
    for key in sorted(values, key=lambda key: spans.get(key, (len(lines), 0)), reverse=True):
        start, end = spans.get(key, (len(lines), len(lines)))
        while end - 1 > start and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
            end -= 1  # it belongs to the next key
        if key not in content or content[key] != values[key]:
            lines[start:end] = _dumped({key: values[key]}).splitlines()
    result = "\n".join(lines)
    try:
        kept = yaml.safe_load(result) == expected
    except yaml.YAMLError:
        kept = False
    # a mapping in braces, say, has no lines of its own for each key
    return result if kept else _dumped(expected).rstrip("\n")


def _spans(block: str) -> dict[str, tuple[int, int]]:
    """Each key's lines: the first, and the first that is not its own."""
    node = yaml.compose(block, Loader=yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode):
        return {}
    starts = [key.start_mark.line for key, _ in node.value]
    ends = [*starts[1:], len(block.splitlines())]
    keys = [key.value for key, _ in node.value]
    return {key: (start, end) for key, start, end in zip(keys, starts, ends, strict=True)}


def _dumped(values: dict[str, Any]) -> str:
    return str(yaml_dump(values, sort_keys=False))
