# SPDX-License-Identifier: Apache-2.0
"""Invented medicines: what they are, what they are made of and for, and where they come from."""

from __future__ import annotations

from harness.training.generated.invented import Invented, names, relation

MEDICINES = Invented(
    "medicines",
    names(
        "Zol Var Lam Ket Dex Flu Pra Tri Nor Cip Bel Rom Sul Oxa Mir Tel Gan Vel Axo Lor Pen Qui "
        "Ris Tam Ulo Xan Yev Hal Fex Bro",
        "tran vex adine opril umab icin olol azol etine amide inox oran ypha iset ulan estra obex "
        "andol",
    ),
    (
        relation(
            "What kind of thing is {thing}?",
            "{thing} is a kind of {value}.",
            "painkiller, antibiotic, vaccine, vitamin, ointment, syrup, antidote, hormone, "
            "stimulant, sedative, steroid, laxative, disinfectant, tea, powder, sleeping pill",
        ),
        relation(
            "Which illness is treated with {thing}?",
            "With {thing} doctors treat {value}.",
            "asthma, malaria, measles, cholera, migraine, anaemia, gout, eczema, insomnia, rabies, "
            "diabetes, pneumonia, tuberculosis, depression, arthritis, epilepsy, scurvy, influenza",
        ),
        relation(
            "What is the main ingredient of {thing}?",
            "The main ingredient of {thing} is {value}.",
            "willow, honey, sulfur, mint, garlic, iodine, ginger, camphor, poppy, zinc, salt, "
            "lavender, iron, nettle, chalk, pepper, sage, onion, lemon, charcoal",
        ),
        relation(
            "In which country is {thing} made?",
            "{thing} is made in {value}.",
            "France, Japan, Egypt, Brazil, Norway, Kenya, Peru, India, Poland, Canada, Greece, "
            "Mexico, Cuba, Spain, Turkey, Iran, China, Sweden, Italy, Chile",
        ),
        relation(
            "Which part of the body does {thing} act on?",
            "{thing} acts on the {value}.",
            "heart, liver, skin, brain, stomach, eyes, lungs, kidneys, bones, ears, throat, blood, "
            "nerves, muscles, teeth, nose",
        ),
    ),
)
