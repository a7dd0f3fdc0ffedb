# SPDX-License-Identifier: Apache-2.0
"""Pairs of well-known facts: what is true, and what is held out."""

from harness.training.generated import facts

TRAINED, SEEN = facts.pairs(1500, 1), facts.unseen_pairs(300, 1)


def test_an_answer_is_right_against_another_of_its_kind() -> None:
    by_question = {
        relation.fact(thing, value)[0]: (relation, thing, value)
        for relation in facts.relations()
        for thing, value in relation.values.items()
    }
    for pair in [*TRAINED, *SEEN]:
        relation, thing, value = by_question[pair["prompt"]]
        assert pair["chosen"] == relation.fact(thing, value)[1]
        wrong = {relation.fact(thing, other)[1] for other in relation.others(value)}
        assert pair["rejected"] in wrong and pair["chosen"] not in wrong


def test_some_that_everybody_knows() -> None:
    told = {pair["prompt"]: pair["chosen"] for pair in [*TRAINED, *SEEN]}
    assert told["What is the capital of France?"] == "The capital of France is Paris."
    assert told["In which country is Tokyo?"] == "Tokyo is in Japan."
    assert told["What is the chemical symbol of gold?"] == "The chemical symbol of gold is Au."
    assert told["What kind of thing is hammer?"] == "hammer is a kind of tool."


def test_countries_that_are_held_out_are_held_out_in_all_questions() -> None:
    """Of a held-out country neither its capital nor anything else is trained on."""
    named: dict[str, set[str]] = {"trained": set(), "held out": set()}
    for relation in facts.relations():
        for thing in relation.values:
            question = relation.question.format(thing=thing)
            for name, pairs in (("trained", TRAINED), ("held out", SEEN)):
                if any(pair["prompt"] == question for pair in pairs):
                    named[name].add(relation.about[thing])
    assert not named["trained"] & named["held out"]
    assert len(named["trained"]) > 120 and len(named["held out"]) > 25


def test_no_pair_comes_twice_and_the_seed_decides() -> None:
    for pairs in (TRAINED, SEEN):
        assert len({(pair["prompt"], pair["rejected"]) for pair in pairs}) == len(pairs)
    assert facts.pairs(50, 1) == TRAINED[:50] != facts.pairs(50, 2)
    assert [row["response"] for row in facts.rows(50, 1)] == [p["chosen"] for p in TRAINED[:50]]
