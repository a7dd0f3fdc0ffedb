"""`harness.rewards.RewardFunction`: what training loops call, and what it gives them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.rewards import RewardFunction
from tests.harness.models.row_files.test_score import ANSWERED, read, scored, write

PROMPTS = [str(row["prompt"]) for row in ANSWERED]
ANSWERS = [str(row["response"]) for row in ANSWERED]


@pytest.fixture
def function(reward_model: Path) -> Callable[..., RewardFunction]:
    return lambda **given: RewardFunction(reward_model, device="cpu", **given)


def test_texts_and_messages_have_the_rewards_of_dogerm_score(
    function: Callable[..., RewardFunction], reward_model: Path, tmp_path: Path
) -> None:
    """To the bit; extra columns are not looked at, the name is the model's."""
    made = function()
    found = made(PROMPTS, ANSWERS, completion_ids=[[1]] * len(ANSWERS), answer=ANSWERS)
    out = read(scored(reward_model, write(tmp_path / "rows.jsonl", ANSWERED)))
    assert found == [row["reward"] for row in out]
    asked = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    answered = [[{"role": "assistant", "content": answer}] for answer in ANSWERS]
    assert made(prompts=asked, completions=answered) == found
    assert made.__name__ == reward_model.name


def test_texts_of_other_forms_have_the_rewards_of_dogerm_score(
    function: Callable[..., RewardFunction], reward_model: Path, tmp_path: Path
) -> None:
    """A transcript, as hh-rlhf has them, is its turns, and so is JSON text of messages."""
    prompts = [
        "\n\nHuman: Hi.\n\nAssistant: Hello!\n\nHuman: What is 1 + 1?\n\nAssistant:",
        json.dumps([{"role": "user", "content": "What is 1 + 1?"}]),
    ]
    rows = [{"prompt": prompt, "response": " It is 2. "} for prompt in prompts]
    out = read(scored(reward_model, write(tmp_path / "rows.jsonl", rows)))
    assert function()(prompts, [" It is 2. "] * 2) == [row["reward"] for row in out]


def test_a_later_step_tells_that_prompts_are_cut(
    function: Callable[..., RewardFunction], caplog: pytest.LogCaptureFixture
) -> None:
    made = function(max_length=40)
    made(["Hi"], ["It is 2."])
    for _ in range(2):
        made(["Hi", "0 1 2 3 " * 40], ["It is 2."] * 2)
    told = [one for one in caplog.messages if "lost their beginning" in one]
    assert len(told) == 1 and told[0].startswith("completions 1: ")


def test_completions_of_a_prompt_are_one_tree(function: Callable[..., RewardFunction]) -> None:
    """The prompt's tokens are computed once for all of them."""
    from tests.benchmarks.scoring import computed

    made = function()
    assert made.model.scorer.shares_prefixes
    prompt, answers = "How are you? " * 40, [f"It is {number}." for number in range(8)]
    with computed(made.model) as batches:
        together = made([prompt] * 8, answers)
    length = len(made.model.tokenizer(prompt)["input_ids"])
    assert length < sum(batches) < 3 * length
    assert together == pytest.approx([made([prompt], [answer])[0] for answer in answers], abs=1e-5)


def test_an_assistants_turn_goes_on(function: Callable[..., RewardFunction]) -> None:
    asked = {"role": "user", "content": "What is 1 + 1?"}
    begun = [asked, {"role": "assistant", "content": "It is"}]
    made = function()
    whole = made([[asked]], ["It is 2."])
    assert made([begun], [" 2."]) == made([begun], [[{"role": "assistant", "content": " 2."}]])
    assert made([begun], [" 2."]) == whole


def test_scale_clip_and_length(
    function: Callable[..., RewardFunction], reward_model: Path, tmp_path: Path
) -> None:
    """In this order; the file is that of `dogerm score --calibration`."""
    plain = function()(PROMPTS, ANSWERS)
    file = tmp_path / "scale.json"
    scored(reward_model, write(tmp_path / "rows.jsonl", ANSWERED), "--calibration", str(file))
    given = json.loads(file.read_text())
    assert given["mean"] == pytest.approx(statistics.fmean(plain))
    assert given["std"] == pytest.approx(statistics.pstdev(plain))
    standard = [(reward - given["mean"]) / given["std"] for reward in plain]
    made = function(calibration=file)
    assert made(PROMPTS, ANSWERS) == standard
    clipped = [max(-0.5, min(0.5, reward)) for reward in standard]
    assert function(calibration=file, clip=0.5)(PROMPTS, ANSWERS) == clipped
    tokens = [len(made.model.tokenizer(a, add_special_tokens=False).input_ids) for a in ANSWERS]
    assert function(calibration=file, clip=0.5, length_penalty=0.01)(PROMPTS, ANSWERS) == [
        reward - 0.01 * count for reward, count in zip(clipped, tokens, strict=True)
    ]


def test_a_scale_of_several(function: Callable[..., RewardFunction], tmp_path: Path) -> None:
    """A router's file has one of each expert."""
    file = tmp_path / "router.yml"
    scales = {"maths": {"mean": 1.0, "std": 2.0}, "code": {"mean": 0.0, "std": 4.0}}
    file.write_text(json.dumps({"calibration": scales}))
    scale = function(calibration=file, expert="code").scale
    assert scale is not None and (scale.mean, scale.std) == (0.0, 4.0)
    for given, told in (
        ({}, "has the scales of maths, code; say expert="),
        ({"expert": "law"}, "no scale of law"),
    ):
        with pytest.raises(HarnessError, match=told):
            function(calibration=file, **given)
    file.write_text('{"mean": 1, "std": 0}')
    with pytest.raises(HarnessError, match="holds no mean and std"):
        function(calibration=file)
    file.write_text('{"mean": 1, "std": 2}')
    with pytest.raises(HarnessError, match="has one scale and no names, so expert=code"):
        function(calibration=file, expert="code")


def test_what_is_no_conversation_is_told(function: Callable[..., RewardFunction]) -> None:
    made = function()
    with pytest.raises(HarnessError, match="2 prompts for 1 completions"):
        made(["a", "b"], ["c"])
    with pytest.raises(HarnessError, match="completion 0: is dict"):
        made(["a"], [{"text": "b"}])  # type: ignore[list-item]
    with pytest.raises(HarnessError, match="unknown 'clp'; did you mean 'clip'"):
        function(clp=1)
    with pytest.raises(HarnessError, match="clip=-1"):
        function(clip=-1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "conversational"), [("GRPO", False), ("GRPO", True), ("RLOO", True)]
)
def test_five_steps_of_training(
    reward_model: Path, language_model: Path, tmp_path: Path, algorithm: str, conversational: bool
) -> None:
    """TRL's own trainer; every reward that it got is that of `dogerm score`, to the bit."""
    trl = pytest.importorskip("trl")
    import datasets

    calls: list[tuple[list[Any], list[Any], list[float]]] = []

    class Kept(RewardFunction):
        def __call__(self, prompts: Any, completions: Any, **columns: Any) -> list[float]:
            rewards = super().__call__(prompts, completions, **columns)
            calls.append((list(prompts), list(completions), rewards))
            return rewards

    prompts: list[Any] = sorted(set(PROMPTS))
    if conversational:
        prompts = [[{"role": "user", "content": prompt}] for prompt in prompts]
    function = Kept(reward_model, device="cpu")
    trainer = getattr(trl, f"{algorithm}Trainer")(
        model=str(language_model),
        reward_funcs=function,
        args=getattr(trl, f"{algorithm}Config")(
            output_dir=str(tmp_path / "policy"),
            use_cpu=True,
            bf16=False,
            max_steps=5,
            num_generations=4,
            per_device_train_batch_size=8,
            max_completion_length=8,
            learning_rate=1e-3,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
        ),
        train_dataset=datasets.Dataset.from_dict({"prompt": prompts, "answer": PROMPTS[::3]}),
    )
    trainer.train()
    assert len(calls) == 5
    logged = [log for log in trainer.state.log_history if "reward" in log]
    for step, (asked, answered, rewards) in enumerate(calls):
        assert len(rewards) == 8 and len(set(rewards)) > 1
        rows = [
            {"prompt": one, "response": other} for one, other in zip(asked, answered, strict=True)
        ]
        data = write(tmp_path / f"step-{step}.jsonl", rows)
        out = read(scored(reward_model, data, out=f"scored-{step}.jsonl"))
        assert [row["reward"] for row in out] == rewards
        mean = logged[step][f"rewards/{reward_model.name}/mean"]
        assert mean == pytest.approx(statistics.fmean(rewards), abs=1e-5)
