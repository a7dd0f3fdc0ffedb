"""The YAML files of `dogerm train`: what they may say."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from harness.errors import HarnessError


def _as_number(value: Any) -> Any:
    """YAML reads 1e-4 as text; people write it all the time."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


Number = Annotated[float, BeforeValidator(_as_number)]


DOMAIN = "domain"  # a column of this name needs no mention
ALL, BEST = "all", "best"  # which pairs a list of answers makes


class KnownKeys(BaseModel):
    """A mapping of the file: only the keys and the types that it names."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Columns(KnownKeys):
    """What the columns are called in a file or data set."""

    prompt: str | None = "prompt"  # null: whole conversations in the others
    chosen: str = "chosen"
    rejected: str = "rejected"
    response: str = "response"
    system: str | None = None  # a text that becomes the system message
    tools: str | None = None  # a list, or its JSON text, for the chat template
    documents: str | None = None  # the same
    margin: str | None = None  # how much better the chosen answer is, for TRL's loss
    score: str | None = None  # how good the chosen answer is, for the threshold of `imitation`
    domain: str = DOMAIN  # which expert a row is for, for routers and `train reward --domains`
    responses: str = "responses"  # a list of answers to one prompt, in place of chosen and rejected
    scores: str = "scores"  # of each of them, the higher the better


class Source(KnownKeys):
    """Rows from one place: exactly one of `file`, `hub` and `generator`."""

    file: str | None = None  # .jsonl, .json, .csv (also .gz, .zst) or .parquet
    hub: str | None = None  # a data set's id on the Hub
    split: str = "train"
    generator: str | None = None  # a name in harness/training/generated/
    seed: int = 0  # of the generator, the corruption and the choice of rows
    rows: int | None = None  # how many: made by a generator, or chosen at random from the others
    columns: Columns = Columns()
    domain: str | None = None  # of all rows, in place of a column
    pairs: str = ALL  # of a list of answers: each two, or best: the best one against each other
    balance_length: bool = False  # the longer answer is chosen in half of the pairs
    corrupt: int = 0  # rejected = chosen with so many words exchanged
    allow_markup: bool = False  # texts may hold the tokenizer's special tokens


class Validation(KnownKeys):
    """Held-out prompts: a share of the training data's, or data of its own."""

    share: Number = 0.1
    data: list[Source] = []
    rows: int | None = 400  # at most


class Lora(KnownKeys):
    """The settings of a PEFT LoRA adapter."""

    rank: int = 8
    alpha: int = 16
    dropout: Number = 0.0
    targets: str | list[str] = "all-linear"
    layers: list[int] = []  # first and last layer that is adapted; empty = all


class Training(KnownKeys):
    """The optimizer's settings. A step sees batch_size x accumulate rows (a pair is one row)."""

    learning_rate: Number = 5e-4
    epochs: Number = 1.0
    batch_size: int = 16
    accumulate: int = 1
    warmup: Number = 0.05  # share of all steps
    schedule: str = "linear"
    weight_decay: Number = 0.0
    max_grad_norm: Number = 1.0
    center_rewards: Number | None = None  # TRL's center_rewards_coefficient; reward models only
    head: str = "normal"  # or zero: how a reward head starts, even one that the model has
    evaluations: int = 4  # how often validation runs, evenly spread
    checkpoints: int = 4
    dtype: str = "auto"  # bfloat16 where it is fast, else float32
    seed: int = 0


class Policy(KnownKeys):
    """What `dogerm train hybrid` alone reads: the policy's loss (HaF-RM, arXiv 2407.04185)."""

    alpha: Number = 0.2  # its weight beside the reward's loss
    tau: Number = 0.1  # of -log sigmoid(tau (d_chosen - d_rejected)), d = log pi - log pi_ref
    reference: str = "base"  # the model as it starts; or none: log pi_ref = 0
    schedule: str = "constant"  # of alpha: or increase from 0, or decrease to 0, over the steps


class Imitation(KnownKeys):
    """The language-modelling loss on chosen responses, beside the rewards' (arXiv 2309.03126)."""

    weight: Number = 0.0  # 0 is plain reward training
    tokens: str = "response"  # or all: the prompt's, too
    threshold: Number = 0.0  # of the scores, as shares of the largest; without one a row is at 1


class Labels(KnownKeys):
    """How far the labels of preference pairs are believed; see `harness.training.soft_labels`."""

    smoothing: Number = 0.0  # the label of a pair is 1 less this
    rate: Number = 0.0  # of iterative data smoothing, after each epoch


class Aspects(KnownKeys):
    """Numbers to be predicted, a reward head each, in place of pairs: HelpSteer's columns."""

    columns: list[str] = []  # of answers; one of its own for each head
    weights: dict[str, Number] = {}  # of each column in the reward; none: 1 for all


class Gates(KnownKeys):
    """What `dogerm train gates` alone reads."""

    balance: Number = 0.01  # of the load-balancing term, N sum f_i P_i in every layer


class Router(KnownKeys):
    """What `dogerm train router` alone reads."""

    kind: str = "probe"  # or centroid
    template: str | None = None  # a Jinja file or `plain`, for an encoder without a chat template
    # Reward model by domain, or the recipe that makes it, to be calibrated.
    experts: dict[str, str | dict[str, Any]] = {}
    beside: list[str] = []  # of them, those that no prompt is for, to be compared with
    fallback: str | None = None  # of them, for what no other is for
    calibration_rows: int = 400  # pairs that each expert scores, at most


class Config(KnownKeys):
    """One run of `dogerm train`."""

    model: str
    data: list[Source]
    domain: str | None = None  # train on the rows of this one alone
    heads: int = 1  # reward models only: so many on one trunk
    max_length: int = 512  # longer conversations are left out, and counted
    lora: Lora | None = Lora()  # null: all weights; not for gates, which change nothing else
    imitation: Imitation = Imitation()
    labels: Labels = Labels()  # reward models only
    aspects: Aspects = Aspects()  # `train reward` alone
    policy: Policy = Policy()
    gates: Gates = Gates()
    router: Router = Router()
    training: Training = Training()
    validation: Validation = Validation()

    def as_dict(self) -> dict[str, Any]:
        """Plain values with every default filled in."""
        return self.model_dump()

    def refuse(self, section: str, why: str) -> None:
        """Refuse a section, or ``section.key``, that this kind of training would not read.

        Raises:
            HarnessError: the file has it.
        """
        name, _, key = section.partition(".")
        if (key or name) in (getattr(self, name) if key else self).model_fields_set:
            raise HarnessError(f"`{section}` has no effect here, as {why}: leave it out")
