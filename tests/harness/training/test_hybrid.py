# SPDX-License-Identifier: Apache-2.0
"""`dogerm train hybrid`: the loss against formulas of other hands, and real runs of tiny models."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from harness.errors import HarnessError
from harness.training.hybrid import HybridTraining
from harness.training.policy import AnswerLogProbs, PolicyTerm, answers_of
from harness.training.read_config import read_config
from harness.training.reference import FILE, reference_log_probs
from harness.training.trainer import trainer_arguments
from tests.harness.training.conftest import pairs
from tests.harness.training.test_runs import SMALL, Write, _run

ADAPTER = "adapter_model.safetensors"
LN2 = math.log(2)
NAMES = ("ids", "labels", "reference")


@pytest.fixture
def config(write_config: Callable[..., Path], write_jsonl: Write) -> Callable[..., Path]:
    """Writes a tiny configuration."""
    write_jsonl("rows.jsonl", pairs(20))

    def write(name: str = "config.yml", **more: Any) -> Path:
        settings: dict[str, Any] = {
            "model": "some/base",
            "data": [{"file": "rows.jsonl"}],
            "lora": {"rank": 4},
            "training": {**SMALL, "seed": 5},
            "validation": {"share": 0.25},
        }
        return write_config(name, **{**settings, **more})

    return write


class Prepared:
    """A hybrid training before its first step.

    Attributes:
        trainer: not started.
        batch: of all training rows.
        one: the training.
    """

    def __init__(self, config: Path, source: Path, output: Path, double: bool = False) -> None:
        settings = read_config(config)
        self.one = HybridTraining(settings, config.parent, str(source), "float32")
        self.one.training, self.one.validation = self.one.gather()
        self.ids = [row for part in self.one.training for row in part.ids]
        torch.manual_seed(0)
        model = self.one.load()
        if double:
            model.double()
            score = torch.nn.Linear(model.score.in_features, 1, bias=False).double()
            model.score = score
        output.mkdir()
        arguments = trainer_arguments(settings, output / "checkpoints", len(self.ids), "float32", 4)
        self.trainer = self.one.trainer(model, arguments, self.ids, output)
        self.batch = self.collated(self.ids)

    def collated(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """The trainer's batch of some rows."""
        return dict(self.trainer.data_collator(rows))

    def losses(self, batch: dict[str, Any] | None = None) -> tuple[Any, dict[str, float]]:
        """The loss of a batch, and what is logged of it."""
        self.trainer._metrics["train"].clear()
        self.trainer.model.train()
        loss = self.trainer.compute_loss(self.trainer.model, dict(batch or self.batch))
        return loss, {name: seen[-1] for name, seen in self.trainer._metrics["train"].items()}

    def policy_loss(self, batch: dict[str, Any] | None = None) -> float:
        """Of a batch."""
        return float(self.losses(batch)[1]["policy_loss"])


@pytest.fixture
def prepare(config: Callable[..., Path], tmp_path: Path) -> Iterator[Callable[..., Prepared]]:
    """Prepares a training; keyword arguments are top-level keys of its config."""
    made: list[Prepared] = []

    def build(source: Path, double: bool = False, **more: Any) -> Prepared:
        made.append(Prepared(config(**more), source, tmp_path / f"run-{len(made)}", double))
        return made[-1]

    yield build


def disturb(model: Any, share: float = 0.05) -> None:
    """Let a model differ from its start, as after some steps."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter += share * noise


@pytest.mark.parametrize("labels", [{}, {"smoothing": 0.1, "rate": 0.3}])
def test_alpha_0_is_plain_reward_training(
    config: Callable[..., Path],
    language_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    labels: dict[str, float],
) -> None:
    """The adapter's tensors are equal to the bit, and training never asks for the policy's loss."""
    training = {**SMALL, "seed": 5, "accumulate": 2, "batch_size": 2, "epochs": 2}
    both: dict[str, Any] = {"training": training, "labels": labels}
    plain = config("plain.yml", **both)
    none = config("none.yml", **both, policy={"alpha": 0.0})
    some = config("some.yml", **both, policy={"alpha": 0.2})
    asked = []
    of_term = PolicyTerm.loss

    def counted(self: PolicyTerm, states: Any, batch: Any) -> Any:
        asked.append(torch.is_grad_enabled())
        return of_term(self, states, batch)

    monkeypatch.setattr(PolicyTerm, "loss", counted)
    tensors = {}
    for kind, settings in (("reward", plain), ("hybrid", none), ("hybrid", some)):
        out = tmp_path / settings.stem
        result = _run(kind, settings, "-o", out, "--model", language_model)
        assert result.exit_code == 0, result.output
        tensors[settings.stem] = load_file(out / ADAPTER)
        if settings is none:
            assert asked and not any(asked)
    assert any(asked)
    one, same, other = (tensors[name] for name in ("plain", "none", "some"))
    assert one.keys() == same.keys() == other.keys()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
    figures = json.loads((tmp_path / "none" / "figures.json").read_text())
    assert 0 <= figures["validation"]["all"]["implicit_accuracy"] <= 1


@pytest.mark.parametrize("reference", ["base", "none"])
def test_gradient_is_that_of_the_formula(
    prepare: Callable[..., Prepared], base: Path, reference: str
) -> None:
    """All weights, in float64, against a few lines on whole logits of another copy of the model."""
    policy = {"alpha": 0.3, "tau": 0.2, "reference": reference}
    one = prepare(base, double=True, lora=None, policy=policy)
    model = one.trainer.model
    start = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float64).eval()
    disturb(model)
    loss, logged = one.losses()
    loss.backward()

    lm = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float64)
    score = torch.nn.Linear(32, 1, bias=False).double()
    state = model.state_dict()
    score.load_state_dict({"weight": state.pop("score.weight")})
    left = lm.load_state_dict(state, strict=False)
    assert left.missing_keys == (["lm_head.weight"] if one.one.log_probs.head.tied else [])

    def log_prob(network: Any, ids: Any, labels: list[int]) -> Any:
        found = network(ids[None]).logits[0].log_softmax(-1)
        return sum(found[t - 1, label] for t, label in enumerate(labels) if label != -100)

    total = torch.zeros((), dtype=torch.float64)
    for row in one.ids:
        rewards, shifts = [], []
        for side in ("chosen", "rejected"):
            ids, labels = torch.tensor(row[f"{side}_ids"]), row[f"{side}_labels"]
            rewards.append(score(lm.model(ids[None])[0][0, -1])[0])
            with torch.no_grad():
                before = log_prob(start, ids, labels) if reference == "base" else 0.0
            shifts.append(log_prob(lm, ids, labels) - before)
        of_reward = -torch.nn.functional.logsigmoid(rewards[0] - rewards[1])
        of_policy = -torch.nn.functional.logsigmoid(0.2 * (shifts[0] - shifts[1]))
        total = total + (of_reward + 0.3 * of_policy) / len(one.ids)
    total.backward()

    assert loss.item() == pytest.approx(total.item(), rel=1e-9)
    assert logged["reward_loss"] + 0.3 * logged["policy_loss"] == pytest.approx(total.item())
    expected = {**{name: p.grad for name, p in lm.named_parameters()}, "score.weight": None}
    expected["score.weight"] = score.weight.grad
    found = {name: p.grad for name, p in model.named_parameters()}
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert (found[name] - gradient).abs().max() <= 1e-6 * max(1.0, gradient.abs().max()), name


def test_policy_loss_is_that_of_trls_dpo(
    prepare: Callable[..., Prepared], base: Path, tmp_path: Path
) -> None:
    """`DPOTrainer`'s sigmoid loss on the same tokens, its beta our tau."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    one = prepare(base, lora=None, policy={"tau": 0.1})
    disturb(one.trainer.model)
    lm = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    lm.load_state_dict(one.trainer.model.state_dict(), strict=False)
    dpo = DPOTrainer(
        model=lm,
        ref_model=AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        args=DPOConfig(str(tmp_path / "dpo"), beta=0.1, use_cpu=True, report_to="none", bf16=False),
        train_dataset=Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}]),
        processing_class=one.one.tokenizer,
    )
    batch = {
        "input_ids": one.batch["input_ids"],
        "attention_mask": one.batch["attention_mask"].long(),
        "completion_mask": (one.batch["answer_labels"] != -100).long(),
    }
    theirs = dpo.compute_loss(dpo.model, batch)
    ours = one.policy_loss()
    assert ours != pytest.approx(LN2, abs=1e-3)
    assert ours == pytest.approx(float(theirs), abs=1e-5)


def test_labels_count_in_the_policys_loss(
    prepare: Callable[..., Prepared], language_model: Path
) -> None:
    """Of a pair with the label y: y of the loss as it stands, 1 - y of that the other way round."""
    one = prepare(language_model, lora=None, policy={"tau": 0.5}, labels={"smoothing": 0.2})
    disturb(one.trainer.model)
    sides = {"chosen": "rejected", "rejected": "chosen"}
    turned = [
        {f"{sides[side]}_{name}": row[f"{side}_{name}"] for side in sides for name in NAMES}
        for row in one.ids
    ]
    soft = one.policy_loss()
    one.trainer.now = torch.ones(len(one.ids))
    plain, other = one.policy_loss(), one.policy_loss(one.collated(turned))
    assert abs(plain - other) > 1e-3
    assert soft == pytest.approx(0.8 * plain + 0.2 * other, abs=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_reference_is_computed_where_training_is(
    prepare: Callable[..., Prepared], base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_answers = AnswerLogProbs.__call__
    found = []

    def seen(self: AnswerLogProbs, *arguments: Any) -> list[float]:
        found.append(next(self.trunk.parameters()).device.type)
        return of_answers(self, *arguments)

    monkeypatch.setattr(AnswerLogProbs, "__call__", seen)
    prepare(base)
    assert found == ["cuda"]


def test_an_adapters_dropout_is_kept(
    prepare: Callable[..., Prepared], language_model: Path
) -> None:
    """TRL switches all dropout of a reward model off."""
    one = prepare(language_model, lora={"rank": 4, "dropout": 0.5})
    found = [m.p for m in one.trainer.model.modules() if isinstance(m, torch.nn.Dropout)]
    assert found and set(found) == {0.5}


@pytest.mark.parametrize("lora", [{"rank": 4}, None])
def test_first_step(prepare: Callable[..., Prepared], base: Path, lora: Any) -> None:
    """With a head of zeros and the start model as reference both losses are ln 2."""
    training = {**SMALL, "head": "zero"}
    one = prepare(base, lora=lora, training=training, policy={"alpha": 0.2})
    loss, logged = one.losses()
    assert logged["reward_loss"] == pytest.approx(LN2, abs=1e-6)
    assert logged["policy_loss"] == pytest.approx(LN2, abs=1e-6)
    assert float(loss) == pytest.approx(1.2 * LN2, abs=1e-6)
    assert logged["min_reward"] == logged["max_reward"] == 0
    trained = {name for name, p in one.trainer.model.named_parameters() if p.requires_grad}
    if lora is None:
        assert ("lm_head.weight" in trained) is not one.one.log_probs.head.tied
        assert one.one.log_probs.head.module.weight.requires_grad
    else:
        assert all("lora_" in name or "score" in name for name in trained)
        assert not one.one.log_probs.head.module.weight.requires_grad


def test_batches_and_padding_change_nothing(prepare: Callable[..., Prepared], base: Path) -> None:
    """A pair's loss is the same alone, beside longer ones, and padded further."""
    one = prepare(base, lora=None)
    disturb(one.trainer.model)
    rows = sorted(one.ids, key=lambda row: row["length"])
    assert rows[0]["length"] < rows[-1]["length"]
    alone = [one.policy_loss(one.collated([row])) for row in (rows[0], rows[-1])]
    together = one.policy_loss(one.collated([rows[0], rows[-1]]))
    assert together == pytest.approx(sum(alone) / 2, abs=1e-5)
    batch = one.collated([rows[0]])
    wider = {
        "input_ids": torch.nn.functional.pad(batch["input_ids"], (0, 9), value=0),
        "attention_mask": torch.nn.functional.pad(batch["attention_mask"], (0, 9)),
        "answer_labels": torch.nn.functional.pad(batch["answer_labels"], (0, 9), value=-100),
        "reference_log_probs": batch["reference_log_probs"],
    }
    assert one.policy_loss(wider) == pytest.approx(alone[0], abs=1e-5)


def test_answers_alone_count(prepare: Callable[..., Prepared], base: Path) -> None:
    """Not the prompt's tokens, nor what the template writes behind the answer's end."""
    one = prepare(base, lora=None, policy={"reference": "none"})
    row = one.ids[0]
    (ids, labels), *_ = answers_of([row])
    at = [place for place, label in enumerate(labels) if label != -100]
    assert at[0] > 0 and at == list(range(at[0], at[-1] + 1))
    assert [ids[place] for place in at] == [labels[place] for place in at]

    def summed(ids: list[int], labels: list[int]) -> float:
        return one.one.log_probs([(ids, labels)])[0]

    plain = summed(ids, labels)
    logits = AutoModelForCausalLM.from_pretrained(base)(torch.tensor([ids])).logits[0]
    chances = logits.log_softmax(-1)
    assert plain == pytest.approx(sum(float(chances[t - 1, ids[t]]) for t in at), abs=1e-4)
    behind = summed([*ids, 7, 8, 9], [*labels, -100, -100, -100])
    assert behind == pytest.approx(plain, abs=1e-5)
    assert summed(ids, [*ids[: at[0]], *labels[at[0] :]]) != pytest.approx(plain, abs=1e-3)


def test_schedules(prepare: Callable[..., Prepared], language_model: Path) -> None:
    """Of alpha, linear over the steps."""
    seen = {}
    for schedule in ("constant", "increase", "decrease"):
        one = prepare(language_model, policy={"alpha": 0.4, "schedule": schedule})
        term = PolicyTerm(one.one.config.policy, one.one.log_probs.head)
        seen[schedule] = [term.weight(share) for share in (0.0, 0.25, 1.0)]
    assert seen == {
        "constant": [0.4, 0.4, 0.4],
        "increase": [0.0, pytest.approx(0.1), 0.4],
        "decrease": [0.4, pytest.approx(0.3), 0.0],
    }


def test_adapter_run(config: Callable[..., Path], base: Path, tmp_path: Path) -> None:
    """Both losses and both accuracies are logged, drawn and in figures.json."""
    out = tmp_path / "out"
    result = _run("hybrid", config(training={**SMALL, "epochs": 3}), "-o", out, "--model", base)
    assert result.exit_code == 0, result.output
    figures = json.loads((out / "figures.json").read_text())
    assert figures["kind"] == "hybrid"
    for part in ("all", "rows"):
        assert {"accuracy", "implicit_accuracy", "implicit_accuracy_stderr"} <= set(
            figures["validation"][part]
        )
    for when in ("training", "validation"):
        for name in ("reward loss", "policy loss", "accuracy", "implicit accuracy"):
            assert figures["curves"][f"{when} {name}"], name
    losses = [value for _, value in figures["curves"]["training policy loss"]]
    assert losses[0] == pytest.approx(LN2, abs=1e-4) and losses[-1] < LN2
    assert "lm_head" not in " ".join(load_file(out / ADAPTER))
    again = _run("hybrid", config(training={**SMALL, "epochs": 3}), "-o", out, "--model", base)
    assert again.exit_code == 0 and f"{out}: finished already" in again.output
    assert result.stdout.endswith(again.stdout) and again.stdout


def test_all_weights(config: Callable[..., Path], base: Path, tmp_path: Path) -> None:
    """The run ends in one checkpoint that both classes load, its language model's head trained."""
    out = tmp_path / "out"
    result = _run("hybrid", config(lora=None), "-o", out, "--model", base)
    assert result.exit_code == 0, result.output
    stored, before = load_file(out / "model.safetensors"), load_file(base / "model.safetensors")
    tied = "lm_head.weight" not in before
    assert ("lm_head.weight" in stored) is not tied
    head = "model.embed_tokens.weight" if tied else "lm_head.weight"
    assert not torch.equal(stored[head], before[head])
    classes = json.loads((out / "config.json").read_text())["architectures"]
    assert classes == ["LlamaForSequenceClassification", "LlamaForCausalLM"]
    reward, report = AutoModelForSequenceClassification.from_pretrained(
        out, output_loading_info=True
    )
    assert not report["missing_keys"] and reward.config.num_labels == 1
    policy, report = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not report["missing_keys"]
    assert torch.equal(policy.lm_head.weight, stored[head])
    assert torch.equal(reward.score.weight, stored["score.weight"])


def test_reference_goes_on_after_a_kill(
    prepare: Callable[..., Prepared], language_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was computed is asked no more; a cut line is; other weights are refused."""
    one = prepare(language_model)
    one.one.load()  # without the adapter that the trainer has put on
    start = one.one.log_probs
    folder = Path(one.trainer.args.output_dir).parent
    answers = answers_of(one.ids)
    whole = (folder / FILE).read_text().splitlines(keepends=True)
    assert len(whole) - 1 >= len({str(answer) for answer in answers})
    expected = reference_log_probs(start, answers, folder)

    asked: list[int] = []
    plain = AnswerLogProbs.__call__

    def counted(self: AnswerLogProbs, answers: Any, *others: Any) -> Any:
        asked.append(len(answers))
        return plain(self, answers, *others)

    monkeypatch.setattr(AnswerLogProbs, "__call__", counted)
    (folder / FILE).write_text("".join(whole[:9]) + whole[9][:20])
    again = reference_log_probs(start, answers, folder)
    assert again == pytest.approx(expected, rel=1e-6)
    assert reference_log_probs(start, answers, folder) == again
    assert 0 < asked[0] < len(answers) and asked[1] == 0

    disturb(start.trunk)
    with pytest.raises(HarnessError, match="of a model with other weights"):
        reference_log_probs(start, answers, folder)
    (folder / FILE).write_text('{"model": 1}\nnothing\n')
    with pytest.raises(HarnessError, match="is damaged"):
        reference_log_probs(start, answers, folder)


def test_a_run_that_broke_off_goes_on(
    config: Callable[..., Path],
    language_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It ends like an unbroken one, and the reference is asked once."""
    from transformers.trainer_callback import DefaultFlowCallback

    class BrokenOffError(Exception):
        """In place of a kill."""

    def break_off(*_: Any, **__: Any) -> None:
        raise BrokenOffError

    settings = config(lora=None, training={**SMALL, "learning_rate": 1e-4, "checkpoints": 4})
    arguments = ["hybrid", settings, "--model", language_model, "-o"]
    with monkeypatch.context() as patch:
        patch.setattr(DefaultFlowCallback, "on_save", break_off)
        with pytest.raises(BrokenOffError):
            _run(*arguments, tmp_path / "out")
    assert not (tmp_path / "out" / "config.json").exists()
    resumed = _run(*arguments, tmp_path / "out")
    assert resumed.exit_code == 0 and "going on from checkpoint-" in resumed.output
    assert "reference log-probabilities" not in resumed.output
    assert _run(*arguments, tmp_path / "whole").exit_code == 0
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("out", "whole"))
    assert one.keys() == other.keys() and "lm_head.weight" in one
    for name, tensor in one.items():
        assert torch.allclose(tensor, other[name], atol=1e-5), name


def test_several_processes_and_a_head_of_its_own(
    config: Callable[..., Path],
    language_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Refused where all weights are trained: DDP would stop with an error of its own."""

    class Two:
        count = 2

    monkeypatch.setattr("harness.training.reward.Processes", Two)
    out = tmp_path / "out"
    result = _run("hybrid", config(lora=None), "-o", out, "--model", language_model)
    assert result.exit_code == 1 and "several processes can't share that" in result.output


def test_mistakes_are_one_line(
    config: Callable[..., Path], language_model: Path, reward_model: Path, tmp_path: Path
) -> None:
    """Exit status 1 and the way out."""
    heads = {"training": {**SMALL, "head": "zero"}, "heads": 2}
    untied = (language_model, reward_model)
    for name, kind, more, source, message in (
        ("a", "reward", {"policy": {"alpha": 0.1}}, untied[0], "`policy` has no effect here"),
        ("b", "sft", {"policy": {"alpha": 0.1}}, untied[0], "`policy` has no effect here"),
        ("c", "hybrid", {"policy": {"alpha": -1}}, untied[0], "`alpha` must be 0 or above"),
        ("d", "hybrid", {"policy": {"tau": 0}}, untied[0], "`tau` must be above 0"),
        ("e", "hybrid", {"policy": {"reference": "x"}}, untied[0], "`reference` is base or none"),
        ("f", "hybrid", {"policy": {"weight": 1}}, untied[0], "unknown key `weight`"),
        ("g", "hybrid", heads, untied[0], "they would stay alike"),
        ("h", "hybrid", {}, untied[1], "is no language model: it holds no lm_head.weight"),
    ):
        settings = config(f"{name}.yml", **more)
        result = _run(kind, settings, "-o", tmp_path / name, "--model", source)
        assert result.exit_code == 1, result.output
        assert message in result.output and "Traceback" not in result.output
