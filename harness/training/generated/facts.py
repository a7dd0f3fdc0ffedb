# SPDX-License-Identifier: Apache-2.0
"""Well-known facts as preference pairs: a reward model learns to tell a true answer from a false.

In each pair the false answer has the words of the true one but for the fact itself, which is
another of its kind. A fifth of the countries and things is never trained on, so that what a reward
model says of them it knows from its language model.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256

# country | capital | continent | language of most people | currency; - where more than one is right
_COUNTRIES = """\
Afghanistan|Kabul|Asia|-|afghani; Albania|Tirana|Europe|Albanian|lek;
Algeria|Algiers|Africa|Arabic|dinar; Angola|Luanda|Africa|Portuguese|kwanza;
Argentina|Buenos Aires|South America|Spanish|peso; Armenia|Yerevan|-|Armenian|dram;
Australia|Canberra|-|English|dollar; Austria|Vienna|Europe|German|euro;
Bangladesh|Dhaka|Asia|Bengali|taka; Belarus|Minsk|Europe|Russian|ruble;
Belgium|Brussels|Europe|-|euro; Bolivia|La Paz|South America|Spanish|boliviano;
Brazil|Brasilia|South America|Portuguese|real; Bulgaria|Sofia|Europe|Bulgarian|lev;
Cambodia|Phnom Penh|Asia|Khmer|riel; Canada|Ottawa|North America|-|dollar;
Chile|Santiago|South America|Spanish|peso; China|Beijing|Asia|Chinese|yuan;
Colombia|Bogota|South America|Spanish|peso; Croatia|Zagreb|Europe|Croatian|-;
Cuba|Havana|North America|Spanish|peso; Czechia|Prague|Europe|Czech|koruna;
Denmark|Copenhagen|Europe|Danish|krone; Ecuador|Quito|South America|Spanish|dollar;
Egypt|Cairo|Africa|Arabic|pound; Estonia|Tallinn|Europe|Estonian|euro;
Ethiopia|Addis Ababa|Africa|Amharic|birr; Finland|Helsinki|Europe|Finnish|euro;
France|Paris|Europe|French|euro; Georgia|Tbilisi|-|Georgian|lari;
Germany|Berlin|Europe|German|euro; Ghana|Accra|Africa|English|cedi;
Greece|Athens|Europe|Greek|euro; Hungary|Budapest|Europe|Hungarian|forint;
Iceland|Reykjavik|Europe|Icelandic|krona; India|New Delhi|Asia|Hindi|rupee;
Indonesia|Jakarta|Asia|Indonesian|rupiah; Iran|Tehran|Asia|Persian|rial;
Iraq|Baghdad|Asia|Arabic|dinar; Ireland|Dublin|Europe|English|euro;
Israel|Jerusalem|Asia|Hebrew|shekel; Italy|Rome|Europe|Italian|euro;
Jamaica|Kingston|North America|English|dollar; Japan|Tokyo|Asia|Japanese|yen;
Kenya|Nairobi|Africa|-|shilling; Laos|Vientiane|Asia|Lao|-; Latvia|Riga|Europe|Latvian|euro;
Lebanon|Beirut|Asia|Arabic|pound; Libya|Tripoli|Africa|Arabic|dinar;
Lithuania|Vilnius|Europe|Lithuanian|euro; Malaysia|Kuala Lumpur|Asia|Malay|ringgit;
Mali|Bamako|Africa|-|-; Mexico|Mexico City|North America|Spanish|peso;
Mongolia|Ulaanbaatar|Asia|Mongolian|tugrik; Morocco|Rabat|Africa|Arabic|dirham;
Namibia|Windhoek|Africa|-|-; Nepal|Kathmandu|Asia|Nepali|rupee;
New Zealand|Wellington|-|English|dollar; Nigeria|Abuja|Africa|English|naira;
Norway|Oslo|Europe|Norwegian|krone; Pakistan|Islamabad|Asia|Urdu|rupee;
Paraguay|Asuncion|South America|-|-; Peru|Lima|South America|Spanish|sol;
Philippines|Manila|Asia|-|peso; Poland|Warsaw|Europe|Polish|zloty;
Portugal|Lisbon|Europe|Portuguese|euro; Romania|Bucharest|Europe|Romanian|leu;
Russia|Moscow|-|Russian|ruble; Rwanda|Kigali|Africa|-|-; Saudi Arabia|Riyadh|Asia|Arabic|riyal;
Senegal|Dakar|Africa|French|franc; Serbia|Belgrade|Europe|Serbian|dinar;
Slovakia|Bratislava|Europe|Slovak|euro; Slovenia|Ljubljana|Europe|Slovenian|euro;
Somalia|Mogadishu|Africa|Somali|shilling; South Korea|Seoul|Asia|Korean|won;
Spain|Madrid|Europe|Spanish|euro; Sudan|Khartoum|Africa|Arabic|pound;
Sweden|Stockholm|Europe|Swedish|krona; Switzerland|Bern|Europe|-|franc;
Syria|Damascus|Asia|Arabic|pound; Tanzania|Dodoma|Africa|Swahili|shilling;
Thailand|Bangkok|Asia|Thai|baht; Tunisia|Tunis|Africa|Arabic|dinar; Turkey|Ankara|-|Turkish|lira;
Uganda|Kampala|Africa|-|shilling; Ukraine|Kyiv|Europe|Ukrainian|hryvnia;
Uruguay|Montevideo|South America|Spanish|peso; Venezuela|Caracas|South America|Spanish|bolivar;
Vietnam|Hanoi|Asia|Vietnamese|dong; Zambia|Lusaka|Africa|English|kwacha;
Zimbabwe|Harare|Africa|-|-
"""
_KINDS = {
    "mammal": "dog cat whale horse elephant sheep lion",
    "bird": "eagle sparrow penguin owl duck swan",
    "fish": "salmon shark tuna cod trout",
    "reptile": "snake lizard turtle crocodile",
    "insect": "ant bee butterfly mosquito beetle",
    "flower": "rose tulip daisy lily",
    "tree": "oak pine maple birch",
    "vegetable": "carrot potato onion cabbage spinach",
    "fruit": "apple banana cherry pear grape",
    "instrument": "violin piano guitar trumpet flute",
    "tool": "hammer saw wrench screwdriver",
    "metal": "gold iron copper silver zinc",
    "planet": "Mars Venus Jupiter Saturn",
    "sport": "football tennis hockey basketball",
    "shape": "triangle circle square rectangle",
    "colour": "red blue green yellow",
    "season": "winter summer autumn spring",
    "furniture": "table chair sofa wardrobe",
    "clothing": "shirt jacket skirt coat",
    "drink": "tea coffee milk beer",
}
_SYMBOLS = (
    "hydrogen H helium He lithium Li carbon C nitrogen N oxygen O fluorine F neon Ne sodium Na "
    "magnesium Mg silicon Si phosphorus P sulfur S chlorine Cl argon Ar potassium K calcium Ca "
    "titanium Ti iron Fe nickel Ni copper Cu zinc Zn silver Ag tin Sn iodine I gold Au mercury Hg "
    "lead Pb uranium U platinum Pt"
)


@dataclass(frozen=True)
class Relation:
    """A question about a thing, and the sentence that answers it.

    Attributes:
        question: with ``{thing}``.
        sentence: with ``{thing}`` and ``{value}``.
        values: thing -> the right value.
        about: thing -> what is held out with it, such as a capital's country.
    """

    question: str
    sentence: str
    values: dict[str, str]
    about: dict[str, str]

    def fact(self, thing: str, value: str) -> tuple[str, str]:
        """The question, and the answer with this value."""
        question = self.question.format(thing=thing)
        return question, self.sentence.format(thing=thing, value=value)

    def others(self, value: str) -> list[str]:
        """All other values of this kind, sorted."""
        return sorted({*self.values.values()} - {value})


@cache
def relations() -> tuple[Relation, ...]:
    """All kinds of facts."""
    table = [
        [cell.strip() for cell in row.split("|")]
        for row in _COUNTRIES.replace("\n", " ").split(";")
    ]
    columns = dict(zip(("country", "capital", "continent", "language", "currency"),
                       zip(*table, strict=True), strict=True))  # fmt: skip

    def country(question: str, sentence: str, thing: str, value: str) -> Relation:
        known = zip(columns["country"], columns[thing], columns[value], strict=True)
        # "Kuwait City is in Kuwait" tells itself
        told = [(c, t, v) for c, t, v in known if v != "-" and v not in t and t not in v]
        values = {t: v for _, t, v in told}
        return Relation(question, sentence, values, {t: c for c, t, _ in told})

    def thing(question: str, sentence: str, values: dict[str, str]) -> Relation:
        return Relation(question, sentence, values, {one: one for one in values})

    kinds = {one: kind for kind, things in _KINDS.items() for one in things.split()}
    symbols = _SYMBOLS.split()
    capital = ("What is the capital of {thing}?", "The capital of {thing} is {value}.")
    return (
        country(*capital, "country", "capital"),
        country("In which country is {thing}?", "{thing} is in {value}.", "capital", "country"),
        country("On which continent is {thing}?", "{thing} is in {value}.", "country", "continent"),
        country("Which language is spoken in {thing}?", "In {thing} people speak {value}.",
                "country", "language"),
        country("What is the currency of {thing}?", "The currency of {thing} is the {value}.",
                "country", "currency"),
        thing("What kind of thing is {thing}?", "{thing} is a kind of {value}.", kinds),
        thing("What is the chemical symbol of {thing}?",
              "The chemical symbol of {thing} is {value}.",
              dict(zip(symbols[::2], symbols[1::2], strict=True))),
    )  # fmt: skip


def pairs(count: int, seed: int) -> list[dict[str, str]]:
    """`count` rows of `prompt`, `chosen` and `rejected`, of facts that may be trained on."""
    return _drawn(count, seed, held_out=False)


def rows(count: int, seed: int) -> list[dict[str, str]]:
    """`count` of these facts as rows of `prompt` and `response`, for a language model."""
    made = pairs(count, seed)
    return [{"prompt": one["prompt"], "response": one["chosen"]} for one in made]


def unseen_pairs(count: int, seed: int, without: Collection[str] = ()) -> list[dict[str, str]]:
    """As `pairs`, of countries and things that `pairs` never asks about.

    Args:
        count: of pairs.
        seed: of their order.
        without: countries and things to leave out, too.
    """
    return _drawn(count, seed, held_out=True, without=without)


def _drawn(
    count: int, seed: int, held_out: bool, without: Collection[str] = ()
) -> list[dict[str, str]]:
    """Each fact once before any comes a second time, then with another false answer."""
    made: list[dict[str, str]] = []
    rounds = _rounds(random.Random(f"facts {seed}"), held_out, without)
    while len(made) < count:
        made += next(rounds)
    return made[:count]


def _rounds(
    rng: random.Random, held_out: bool, without: Collection[str]
) -> Iterator[list[dict[str, str]]]:
    known = [
        (relation, thing, value)
        for relation in relations()
        for thing, value in relation.values.items()
        if _is_held_out(relation.about[thing]) is held_out and relation.about[thing] not in without
    ]
    left = [rng.sample(one.others(value), len(one.others(value))) for one, _, value in known]
    while any(left):
        order = rng.sample(range(len(known)), len(known))
        made = []
        for index in order:
            if left[index]:
                relation, thing, value = known[index]
                prompt, chosen = relation.fact(thing, value)
                rejected = relation.fact(thing, left[index].pop())[1]
                made.append({"prompt": prompt, "chosen": chosen, "rejected": rejected})
        yield made


def _is_held_out(name: str) -> bool:
    return sha256(name.encode()).digest()[0] % 5 == 0
