"""`--model hf` on this project's tasks: lm-eval's likelihoods, and each prompt computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.rows.conversation import Conversation
from tests.harness.models.test_implicit import save_language_model
from tests.harness.models.test_truncation import hf

Save = Callable[..., Path]

__all__ = ["save_language_model"]  # a fixture

PROMPTS = ["What is 1 + 1? " * 3, "Name a river in France, and say where it ends."]
ANSWERS = [" It is 2.", " It is 3, or 2", " I do not know", " It"]


def requests(ours: bool = True) -> list[Any]:
    from lm_eval.api.instance import Instance

    made = []
    for number, prompt in enumerate(PROMPTS):
        shown = f"User: {prompt}\n\nAssistant:"
        context = Conversation(shown, [{"role": "user", "content": prompt}]) if ours else shown
        made += [
            Instance("loglikelihood", {}, (context, answer), index, ("rows", number, 1))
            for index, answer in enumerate(ANSWERS)
        ]
    return made


def answered(model: Any, asked: list[Any]) -> list[tuple[float, bool]]:
    return [answer[:2] for answer in model.loglikelihood(asked, disable_tqdm=True)]


@contextmanager
def computed(model: Any) -> Iterator[list[int]]:
    """The tokens of each pass, padding included."""
    seen: list[int] = []
    embedding = model.model.get_input_embeddings()
    hook = embedding.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].numel()))
    try:
        yield seen
    finally:
        hook.remove()


def close(found: list[Any], expected: list[Any]) -> None:
    assert [one[0] for one in found] == pytest.approx([one[0] for one in expected], abs=1e-4)
    assert [one[1] for one in found] == [one[1] for one in expected]


@pytest.mark.parametrize("batch_size", [3, "auto"])
def test_they_are_lm_evals(language_model: Path, batch_size: Any) -> None:
    """Its own way is what a batch of one takes."""
    alone = hf(language_model, batch_size=1)
    with computed(alone) as by_lm_eval:
        expected = answered(alone, requests())
    assert len(by_lm_eval) == len(expected), "one row a pass"
    model = hf(language_model, batch_size=batch_size)
    with computed(model) as first:
        close(answered(model, requests()), expected)
    with computed(model) as seen:  # the trial is over
        close(answered(model, requests()), expected)
    assert len(first) > len(seen)
    assert sum(seen) < (0.6 if batch_size == "auto" else 0.8) * sum(by_lm_eval)


def test_what_the_model_would_say_itself_is_told(save_language_model: Save) -> None:
    """The most likely token as the answer: the second of lm-eval's two values."""
    import torch

    folder = save_language_model(seed=3)
    model = hf(folder, batch_size=4)
    ids = model.tok_encode("User: Hi\n\nAssistant:")
    best = int(model.model(torch.tensor([ids])).logits[0, -1].argmax())
    context = Conversation("User: Hi\n\nAssistant:", [{"role": "user", "content": "Hi"}])
    key = (context, "")
    rows = [(key, ids, [best]), (key, ids, [best ^ 1]), (key, ids, [best])]
    found = model._loglikelihood_tokens(rows, disable_tqdm=True)
    assert [answer[1] for answer in found] == [True, False, True]
    assert found[0][0] == found[2][0] > found[1][0]


def test_other_tasks_are_left_to_lm_eval(language_model: Path) -> None:
    """Beside ours, too; every request has its own answer."""
    theirs, ours = requests(ours=False), requests()
    mixed = [one for pair in zip(theirs, ours, strict=True) for one in pair]
    model = hf(language_model, batch_size=4)
    expected = answered(hf(language_model, batch_size=1), mixed)
    found = model.loglikelihood(mixed, disable_tqdm=True)
    close(found, expected)
    assert [len(answer) for answer in found] == [2, 3] * len(ours)
    with computed(model) as seen:
        answered(model, theirs)
    assert max(seen) > 100, "padded batches"


def test_a_long_row_is_cut_as_lm_eval_cuts_it(language_model: Path) -> None:
    alone, model = (hf(language_model, max_length=24, batch_size=size) for size in (1, 4))
    found = model.loglikelihood(requests(), disable_tqdm=True)
    close(found, answered(alone, requests()))
    assert any(answer[2]["truncated"] for answer in found)


def test_an_answer_is_kept_as_soon_as_it_is_there(language_model: Path) -> None:
    kept: list[Any] = []
    model = hf(language_model, batch_size=4)

    class Hook:
        def add_partial(self, kind: str, arguments: Any, answer: Any) -> None:
            kept.append((kind, arguments, answer))

    model.cache_hook = Hook()
    found = answered(model, requests())
    of = {arguments: answer for kind, arguments, answer in kept if kind == "loglikelihood"}
    assert [of[request.args] for request in requests()] == found


def test_a_model_that_does_not_allow_it(tmp_path: Path, tokenizer: Any) -> None:
    from transformers import BloomConfig, BloomForCausalLM

    from tests.harness.conftest import sharpened

    config = BloomConfig(vocab_size=len(tokenizer), hidden_size=32, n_layer=2, n_head=4)
    sharpened(BloomForCausalLM(config)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    alone, model = (hf(tmp_path, batch_size=size, max_length=256) for size in (1, 4))
    close(answered(model, requests()), answered(alone, requests()))


def test_rows_beyond_a_window_are_lm_evals(save_language_model: Save) -> None:
    folder = save_language_model(seed=3)
    model = hf(folder, batch_size=4)
    expected = answered(model, requests())
    shared = model._dogerm_shared_likelihoods
    lengths = [len(context) + len(answer) for _, context, answer in tokens(model)]
    shared._sharing.reach = sorted(lengths)[len(lengths) // 2]
    close(answered(model, requests()), expected)


def tokens(model: Any) -> list[Any]:
    return [(r.args, *model._encode_pair(*r.args)) for r in requests()]
