# SPDX-License-Identifier: Apache-2.0
"""The usual way to merge a reward model, re-derived: load both whole in float32, loop, save."""

from __future__ import annotations

import sys

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer


def main(reward: str, domain: str, weight: float, out: str) -> None:
    """Write weight·domain + (1 − weight)·reward, with the reward model's head, in bfloat16."""
    dtype = torch.float32
    model = AutoModelForSequenceClassification.from_pretrained(reward, dtype=dtype)
    other = AutoModelForCausalLM.from_pretrained(domain, dtype=dtype)
    body = dict(other.get_decoder().named_parameters())
    with torch.no_grad():
        for name, parameter in model.base_model.named_parameters():
            parameter.copy_(weight * body[name] + (1 - weight) * parameter)
    model.to(torch.bfloat16).save_pretrained(out)
    try:
        AutoTokenizer.from_pretrained(reward).save_pretrained(out)
    except (OSError, ValueError):
        return  # a synthetic model has none


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4])
