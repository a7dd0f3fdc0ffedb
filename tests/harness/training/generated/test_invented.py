"""Facts that no model can know: nothing but what was read tells which is right."""

from __future__ import annotations

from collections import Counter

import pytest

from harness.training.generated import facts
from harness.training.generated.atlas import ATLAS
from harness.training.generated.functions import FUNCTIONS
from harness.training.generated.invented import Invented
from harness.training.generated.medicines import MEDICINES

EACH = pytest.mark.parametrize("known", [ATLAS, MEDICINES, FUNCTIONS], ids=lambda one: one.subject)


@EACH
def test_they_are_the_same_however_much_is_asked_for(known: Invented) -> None:
    rows = {row["prompt"]: row["response"] for row in known.rows(360, 1)}
    assert len(rows) == 360
    pairs = known.pairs(720, 1)
    assert {pair["prompt"]: pair["chosen"] for pair in pairs} == rows
    assert set(Counter(pair["prompt"] for pair in pairs).values()) == {2}
    assert all(pair["chosen"] != pair["rejected"] for pair in pairs)
    assert known.pairs(40, 1) == known.pairs(720, 1)[:40] != known.pairs(40, 2)
    with pytest.raises(ValueError, match=f"the {known.subject} has 540 names, and 541 were asked"):
        known.facts(541, 1)


@EACH
def test_nothing_but_the_text_tells_which_answer_is_right(known: Invented) -> None:
    """Right answers are the longer ones as often as not, each value is as likely as another."""
    pairs = known.pairs(720, 1)
    differences = [len(pair["chosen"]) - len(pair["rejected"]) for pair in pairs]
    longer, shorter = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    assert 0.45 < longer / (longer + shorter) < 0.55
    for relation in known.relations:
        drawn = Counter(value for one, _, value in known.facts(540, 1) if one is relation)
        assert len(drawn) >= min(len({*relation.values.values()}), 60) - 6
        assert max(drawn.values()) <= 30  # of 108


@EACH
def test_no_invented_name_is_real(known: Invented) -> None:
    real = {thing.lower() for relation in facts.relations() for thing in relation.values}
    assert not real & {name.lower() for _, name, _ in known.facts(360, 1)}


def test_the_shipped_atlas_has_not_changed() -> None:
    """The demo's domain model has read these; other facts would be news to it."""
    relation, name, value = ATLAS.facts(360, 1)[359]
    assert (relation.question.split()[0], name, value) == ("What", "yarburg", "tree")
