# SPDX-License-Identifier: Apache-2.0
"""The line of a merged model's mergekit_config.yml that says which model was the reward model.

A recipe whose `base_model` is another does not tell; the models, which do, may be gone by the time
that somebody reads it.
"""

from __future__ import annotations

_START = "# The reward model, told by its head: "


def added(text: str, reward: object) -> str:
    """A recipe's text with the line before it."""
    return f"{_START}{' '.join(str(reward).split())}\n{text}"


def told(text: str) -> str | None:
    """The reward model that the line names; None without one."""
    lines = (line for line in text.splitlines() if line.startswith(_START))
    return next((line.removeprefix(_START) for line in lines), None)
