"""`--model hf`: the same tasks by likelihood, and no reward model taken for a language model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.models.language_model import refuse_reward_model
from tests import warm
from tests.harness.conftest import preference_rows
from tests.harness.models.test_implicit import save_language_model

Save = Callable[..., Path]

__all__ = ["save_language_model"]  # a fixture


def hf(folder: Path | str, **arguments: Any) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(str(folder), **{"device": "cpu", **arguments})


def test_a_language_model_compares_likelihoods(
    language_model: Path, tasks: Callable[..., Any], write_rows: Callable[..., Path]
) -> None:
    """A real run: lm-eval's own likelihoods, compared strictly; the table says what they are."""
    import lm_eval

    folder = write_rows(preference_rows("hep-go", 6))
    results = lm_eval.simple_evaluate(
        "hf",
        model_args={"pretrained": str(language_model)},
        device="cpu",
        tasks=["rewardbench-hep-go"],
        task_manager=tasks(data_dir=folder),
        bootstrap_iters=0,
    )
    scores = results["results"]["rewardbench-hep-go"]
    assert scores["alias"] == "rewardbench-hep-go [likelihood]"
    wins = [
        sample["filtered_resps"][0][0] > sample["filtered_resps"][1][0]
        for sample in results["samples"]["rewardbench-hep-go"]
    ]
    assert len(wins) == 6 and scores["accuracy,none"] == pytest.approx(sum(wins) / 6)


def test_truncated_rows_are_counted_and_too_long_responses_refused(
    language_model: Path, tasks: Callable[..., Any], write_rows: Callable[..., Path]
) -> None:
    """lm-eval itself cuts silently, and ends in a bare AssertionError."""
    import lm_eval

    rows = preference_rows("hep-go", 3)
    rows[1]["prompt"] = "2 4 " * 60
    model = hf(language_model, max_length=128)

    def run() -> Any:
        manager = tasks(data_dir=write_rows(rows))
        return lm_eval.simple_evaluate(
            model, tasks=["rewardbench-hep-go"], task_manager=manager, bootstrap_iters=0
        )

    results = run()
    assert results["results"]["rewardbench-hep-go"]["truncated,none"] == 1
    responses = [sample["filtered_resps"][0] for sample in results["samples"]["rewardbench-hep-go"]]
    assert [response[2]["truncated"] for response in responses] == [False, True, False]
    rows[2]["rejected"] = "2 4 " * 200
    with pytest.raises(HarnessError, match=r"a response of \d+ tokens \('2 4 2 4.*128 tokens"):
        run()


def test_lm_evals_own_tasks_get_plain_likelihoods(language_model: Path) -> None:
    from lm_eval.api.instance import Instance

    request = Instance("loglikelihood", {}, ("What is 1 + 1?", " 2"), 0)
    (answer,) = hf(language_model).loglikelihood([request], disable_tqdm=True)
    assert len(answer) == 2 and answer[0] < 0


def test_a_reward_model_is_refused(reward_model: Path) -> None:
    with pytest.raises(HarnessError) as caught:
        hf(reward_model)
    message = str(caught.value)
    assert f"{reward_model} is a reward model (LlamaForSequenceClassification)" in message
    assert message.endswith(f"use: lm_eval --model reward --model_args pretrained={reward_model}")


def test_a_reward_model_with_a_tied_embedding_is_refused(save_reward_model: Save) -> None:
    """Its head would not be random but the embedding, which was never trained to be one."""
    with pytest.raises(HarnessError, match="is a reward model"):
        hf(save_reward_model(tie_word_embeddings=True))


def test_a_loaded_reward_model_is_refused(reward_model: Path, tokenizer: Any) -> None:
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(reward_model)
    with pytest.raises(HarnessError, match=re.escape(f"pretrained={reward_model}")):
        HFLM(loaded, tokenizer=tokenizer)


def test_only_the_language_model_classes_are_guarded(reward_model: Path) -> None:
    """A subclass that loads another class is no business of ours."""
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForSequenceClassification

    class Classifier(HFLM):
        AUTO_MODEL_CLASS = AutoModelForSequenceClassification

    assert Classifier(str(reward_model), device="cpu").model.config.num_labels == 1


def test_an_adapter_on_a_language_model_still_loads(language_model: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(language_model)
    get_peft_model(base, LoraConfig(task_type="CAUSAL_LM")).save_pretrained(tmp_path)
    assert hf(language_model, peft=str(tmp_path)).peft == str(tmp_path)


@pytest.mark.parametrize(
    ("architectures", "refused"),
    [
        (["Qwen2ForSequenceClassification"], True),
        (["LlamaForCausalLM"], False),
        (["LlamaForCausalLM", "LlamaForSequenceClassification"], False),
        ([], False),
        (None, False),
    ],
)
def test_what_is_known_before_the_weights(architectures: Any, refused: bool) -> None:
    class Config:
        pass

    config = Config()
    config.architectures = architectures  # type: ignore[attr-defined]
    if refused:
        with pytest.raises(HarnessError, match=r"a-model is a reward model .*; do this"):
            refuse_reward_model(config, "a-model", "do this")
    else:
        refuse_reward_model(config, "a-model", "do this")


def rewritten(
    folder: Path, drop: Iterable[str] = (), add: Mapping[str, Any] | None = None, **config: Any
) -> Path:
    """The folder with tensors left out and added, and entries of its config set."""
    from safetensors.torch import load_file, save_file

    tensors = {
        name: tensor
        for name, tensor in load_file(folder / "model.safetensors").items()
        if name not in drop
    }
    save_file({**tensors, **(add or {})}, folder / "model.safetensors", metadata={"format": "pt"})
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **config}))
    return folder


def ones(*shape: int) -> Any:
    import torch

    return torch.ones(shape)


OWN = """
import torch
from transformers import LlamaModel, LlamaPreTrainedModel

class Own(LlamaPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.reward = torch.nn.Linear(config.hidden_size, 1, bias=False)
        self.post_init()
"""


@pytest.mark.parametrize("load", ["hf", "policy", "reference"])
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("another class's head", r"\(LlamaRewardModel\) is no .*language model.* lm_head.weight"),
        ("no architectures", r"\(unknown architecture\) is no .*language model.* lm_head.weight"),
        ("tied", r"\(LlamaRewardModel\) is a reward model: it holds the head v_head"),
        ("tied, no architectures", r"\(unknown architecture\) is a reward model: .* score.weight"),
        ("own code", r"\(Own\) is no .*language model: .* lm_head.weight"),
        ("own code by the same Auto class", r"\(Own\) is a reward model: .* head reward.weight"),
    ],
)
def test_reward_models_by_what_they_hold(
    save_language_model: Save,
    save_reward_model: Save,
    language_model: Path,
    kind: str,
    words: str,
    load: str,
) -> None:
    from harness.models.implicit import RewardImplicit

    lm_head, named = ["lm_head.weight"], ["LlamaRewardModel"]
    if kind == "another class's head":
        head = {"regression_head.weight": ones(1, 32)}
        folder = rewritten(save_language_model(), lm_head, head, architectures=named)
    elif kind == "no architectures":
        folder = rewritten(save_reward_model(seed=3), architectures=None)
    elif kind == "tied":
        head = {"v_head.summary.weight": ones(1, 32)}
        folder = save_language_model(tie_word_embeddings=True)
        rewritten(folder, (), head, architectures=named)
    elif kind == "tied, no architectures":
        folder = rewritten(save_reward_model(seed=3, tie_word_embeddings=True), architectures=None)
    else:
        auto = "AutoModel" if kind == "own code" else "AutoModelForCausalLM"
        own = {"architectures": ["Own"], "auto_map": {auto: "own.Own"}}
        folder = rewritten(save_language_model(), lm_head, {"reward.weight": ones(1, 32)}, **own)
        (folder / "own.py").write_text(OWN)
    with pytest.raises(HarnessError, match=f"{re.escape(str(folder))} {words}"):
        if load == "hf":
            hf(folder, trust_remote_code=True)
        else:
            options = {"device": "cpu", "trust_remote_code": True}
            policy = folder if load == "policy" else language_model
            reference = {} if load == "policy" else {"reference": str(folder)}
            RewardImplicit(str(policy), **reference, **options)


@pytest.mark.parametrize("kind", ["plain", "tied", "value head", "tied, value head", "its tensors"])
def test_language_models_are_taken(save_language_model: Save, kind: str) -> None:
    """A model that calls itself one may hold a value head beside its language-model head."""
    from harness.models.implicit import RewardImplicit

    folder = save_language_model(tie_word_embeddings="tied" in kind)
    if "value head" in kind:
        rewritten(folder, (), {"v_head.summary.weight": ones(1, 32)})
    if kind == "its tensors":  # a language-model head is what counts, not the name
        rewritten(folder, (), {"mtp.gate.weight": ones(1, 32)}, architectures=["Other"])
    assert hf(folder).model.lm_head.weight.shape[1] == 32
    assert RewardImplicit(str(folder), device="cpu").backend == "causal"


def test_an_adapter_may_bring_the_language_model_head(
    save_language_model: Save, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = save_language_model()
    base = AutoModelForCausalLM.from_pretrained(folder)
    lora = LoraConfig(task_type="CAUSAL_LM", modules_to_save=["lm_head"])
    get_peft_model(base, lora).save_pretrained(tmp_path)
    rewritten(folder, ["lm_head.weight"])
    assert hf(folder, peft=str(tmp_path)).peft == str(tmp_path)
    with pytest.raises(HarnessError, match=r"holds no lm_head\.weight"):
        hf(folder)


def test_a_loader_of_its_own_need_not_report(language_model: Path) -> None:
    """Code that comes with a checkpoint may give the model alone."""
    from transformers import AutoModelForCausalLM

    from harness.models.language_model import LanguageModelLoader

    class Own:
        @staticmethod
        def from_pretrained(name: str, output_loading_info: bool = False) -> Any:
            return AutoModelForCausalLM.from_pretrained(name)

    loader = LanguageModelLoader(Own)
    assert loader.from_pretrained(str(language_model)).config.model_type == "llama"
    assert (loader.missing, loader.head) == ([], {"lm_head.weight"})


@pytest.mark.parametrize("wrong", ["hf", "reward-implicit"])
def test_the_command_says_in_one_line_what_to_run(wrong: str, reward_model: Path) -> None:
    command = ["run", "--model", wrong, "--limit", "1"]
    command += ["--tasks", "minipref-chat", "--model_args", f"pretrained={reward_model}"]
    done = warm.run("lm_eval", *command)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert f"--model reward --model_args pretrained={reward_model}" in line
