# SPDX-License-Identifier: Apache-2.0
"""Refuses a reference model that reads the policy's token ids as other tokens."""

from __future__ import annotations

from typing import Any

from harness.errors import HarnessError, first_line


def refuse_other_tokens(
    reference: str,
    model: Any,
    policy: Any,
    tokenizer: Any,
    *,
    revision: str = "main",
    trust_remote_code: bool = False,
) -> None:
    """Refuse a reference model to which an id that the policy has a row for is another token.

    A token that was added under the id of another one, such as a reserved token that fine-tuning
    gave a name, is the same row in both. A reference without a tokenizer of its own is judged by
    its number of rows alone.

    Args:
        reference: path or Hub id.
        model: the loaded reference.
        policy: the loaded policy.
        tokenizer: the policy's.
        revision: the reference's, on the Hub.
        trust_remote_code: run the code that the reference's tokenizer may come with.

    Raises:
        HarnessError: a token has another id, or an id has no row.
    """
    from transformers import AutoTokenizer

    rows = model.get_input_embeddings().weight.shape[0]
    policy_rows = policy.get_input_embeddings().weight.shape[0]
    ours = {place: token for token, place in tokenizer.get_vocab().items() if place < policy_rows}
    highest = max(ours, default=-1)
    if highest >= rows:
        raise HarnessError(
            f"reference={reference} has {rows} rows of embeddings, the policy's tokenizer has ids "
            f"up to {highest}: give the model that the policy came from, with its tokens added"
        )
    try:
        other = AutoTokenizer.from_pretrained(
            reference, revision=revision, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError) as error:
        if "trust_remote_code" in str(error):
            raise HarnessError(
                f"reference={reference}: its tokenizer comes with its own code; to run that code "
                f"give --model_args trust_remote_code=True ({first_line(error)})"
            ) from error
        return  # saved without its tokenizer
    vocabulary = other.get_vocab()
    theirs = {place: token for token, place in vocabulary.items()}
    renamed = {
        place for place in tokenizer.added_tokens_decoder if ours.get(place) not in vocabulary
    }
    moved = [
        place
        for place, token in sorted(ours.items())
        if place not in renamed and theirs.get(place, token) != token
    ]
    if moved:
        place = moved[0]
        raise HarnessError(
            f"reference={reference}: {len(moved)} ids are other tokens than the policy's (id "
            f"{place}: {theirs[place]!r}, the policy's: {ours[place]!r}): it is not the model that "
            "the policy came from"
        )
