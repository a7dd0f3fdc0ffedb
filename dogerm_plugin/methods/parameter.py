# SPDX-License-Identifier: Apache-2.0
"""A parameter of a merge method: what a recipe may write, and what to say where it may not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dogerm_plugin.errors import MergeError

# The default of a parameter that has none: a recipe must write it.
REQUIRED: Any = object()
# The parameter by which a method that draws random numbers is told which.
SEED = "seed"


class Scope(StrEnum):
    """What has a value of its own, as said to people."""

    DOMAIN_MODEL = "model"
    MERGE = "merge"


@dataclass(frozen=True)
class Parameter:
    """One parameter of a method, as a recipe's `parameters:` may have it.

    Attributes:
        name: in YAML.
        scope: whether each domain model has one, or the merge as a whole.
        meaning: what it is, to go on after "the model's" or "the merge's"; of a switch, what it
            says, to go on after "whether".
        kind: float, int, bool or str; object where only mergekit knows what it may be.
        low: the least number that it may be.
        high: the largest.
        usual: the numbers among which its best is looked for where a user names none.
        tuned: whether a search varies it unasked, if it has bounds.
        default: what it is where a recipe does not write it, or `REQUIRED`.
        by_tensor: whether it may be a gradient over the layers, or filtered by tensor name.
        at_rest: the number at which the merge is the reward model itself, whatever the others are;
            None where no value of this parameter does that.
        most_in_sum: the most that all domain models' values may sum to: they share it among them
            and with the reward model. None where each is free.
        symbol: what people call it (λ).
        example: a value for messages that say what to write.
        on_reward_model: the name by which formula and constraint are given the value that a recipe
            writes beside the reward model, which mergekit would ignore (None: it writes none);
            without such a name, one that is written there is refused.
        of_any_model: whether it may be beside every model, `base_model` too.
    """

    name: str
    scope: Scope
    meaning: str
    kind: type = float
    low: float = -math.inf
    high: float = math.inf
    usual: tuple[float, float] | None = None
    tuned: bool = True
    default: Any = REQUIRED
    by_tensor: bool = True
    at_rest: float | None = None
    most_in_sum: float | None = None
    symbol: str = ""
    example: Any = None
    on_reward_model: str | None = None
    of_any_model: bool = False

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    @property
    def bounded(self) -> bool:
        """Whether values of it can be tried one after another: a number between two others."""
        return self.is_number and all(map(math.isfinite, self.searched))

    @property
    def is_number(self) -> bool:
        return self.kind in (float, int)

    @property
    def searched(self) -> tuple[float, float]:
        """The numbers among which its best is looked for; infinite where nothing says which."""
        return self.usual or (self.low, self.high)

    @property
    def called(self) -> str:
        """What people call it."""
        return self.symbol or self.name

    @property
    def range(self) -> str:
        """Its bounds, to go on after "is": `in 0..1`, `0 or more`, empty without any.

        >>> Parameter("density", Scope.MERGE, "share of weights kept", low=0, high=1).range
        'in 0..1'
        """
        if math.isfinite(self.low) and math.isfinite(self.high):
            return f"in {self.low:g}..{self.high:g}"
        if math.isfinite(self.low):
            return f"{self.low:g} or more"
        return f"{self.high:g} or less" if math.isfinite(self.high) else ""

    @property
    def description(self) -> str:
        """What it is, in a line."""
        return "; ".join(filter(None, (self.described(f"the {self.scope}'s"), self.range)))

    def described(self, owner: str) -> str:
        """`λ, its share of the merged body`, with "its" or another owner."""
        what = f"whether {self.meaning}" if self.kind is bool else f"{owner} {self.meaning}"
        return ", ".join(filter(None, (self.symbol, what)))

    def read(self, value: Any, where: object) -> Any:
        """A plain value as a recipe has it, as the parameter's kind.

        YAML reads 1e-1 as a string, and so does mergekit: such text is a number.

        Args:
            value: no list and no condition.
            where: the model or the place in the recipe, for messages.

        Raises:
            MergeError: another kind, NaN, or out of bounds.
        """
        if self.kind is bool:
            if not isinstance(value, bool):
                raise MergeError(f"{where}: {self.name} {value!r}: expected true or false")
            return value
        if not self.is_number:
            if self.kind is str and not isinstance(value, str):
                raise MergeError(f"{where}: {self.name} {value!r}: expected text")
            return value
        noun = "a whole number" if self.kind is int else "a number"
        try:
            if isinstance(value, bool):
                raise ValueError
            number = float(value)
            if self.kind is int and number != int(number):
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            noun = f"{noun} {self.range}".strip()
            raise MergeError(f"{where}: {self.name} {value!r} is not {noun}") from None
        if not self.low <= number <= self.high or not math.isfinite(number):
            owner = f"the {self.scope}'s"
            raise MergeError(
                f"{where}: {self.name} {value} is not {self.range or 'finite'}: it is "
                f"{self.described(owner)}"
            )
        return self.kind(number)

    def one_for_all(self, where: object) -> str:
        """What to say where it would differ from tensor to tensor, and can't."""
        place = " above the models" if self.scope is Scope.MERGE else ""
        return f"{where}: {self.name} is the same for all tensors: write one value{place}"

    def missing(self, model: object) -> str:
        """What to say where a recipe does not write it at all."""
        what = f"add `parameters: {{{self.name}: {self.example}}}`"
        return (
            f"models: {model} has no {self.name}: {what} to it ({self.described('its')})"
            if self.scope is Scope.DOMAIN_MODEL
            else f"the recipe has no {self.name}: {what} above the models ({self.described('its')})"
        )

    def misplaced(self, model: object) -> str:
        """What to say where a recipe writes it beside a model that has none."""
        if self.scope is Scope.MERGE:
            return f"{model}: {self.name} is one for the whole merge: write it above the models"
        what = f"says that {self.meaning}" if self.kind is bool else "is a domain model's"
        return f"{model}: {self.name} {what}: write it there, or above the models"

    def left_out(self, owner: object, tensor: str) -> str:
        """What to say of a body tensor for which a recipe's filters give no value."""
        value = self.example if self.at_rest is None else f"{self.at_rest:g}"
        return (
            f"{owner} has no {self.name} for {tensor}: the filters leave it out; end the list with "
            f"`- value: {value}` (or another {self.called}) for the rest"
        )


# Every method's: models that are no relatives are merged where a recipe says so (`kinship`).
ALLOW_UNRELATED = Parameter(
    "allow_unrelated",
    Scope.DOMAIN_MODEL,
    "a domain model may be no relative of the reward model",
    kind=bool,
    default=False,
    of_any_model=True,
)
# Of methods whose `base_model` may be another: which of several reward models is meant.
REWARD = Parameter(
    "reward",
    Scope.DOMAIN_MODEL,
    "a model is the one whose head the output keeps",
    kind=bool,
    default=False,
    by_tensor=False,
    of_any_model=True,
)
# Of mergekit's own methods, most of which have no value at which the merge is the reward model.
UNMERGED = Parameter(
    "unmerged",
    Scope.MERGE,
    "tensors stay the reward model's own",
    kind=bool,
    default=False,
    at_rest=True,
)
