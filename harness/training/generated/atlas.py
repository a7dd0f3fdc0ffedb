# SPDX-License-Identifier: Apache-2.0
"""An invented atlas of towns, countries and things, asked about in questions of `facts`."""

from __future__ import annotations

from harness.training.generated.facts import relations
from harness.training.generated.invented import Invented, names

_ASKED = ("In which country", "On which continent", "Which language", "What is the currency",
          "What kind of thing")  # fmt: skip
ATLAS = Invented(
    "atlas",
    names(
        "Bel Dor Vel Kar Mor Tal Zen Lur Osk Fen Gar Hul Nim Pra Quel Ras Sol Tur Ulm Wes Yar Bran "
        "Cal Drim Hest Jor Kel Lom Nar Pel",
        "vor mar dun stad wick holm mere gate ford lin ska rum tov ess burg nau pol zin",
    ),
    tuple(one for one in relations() if one.question.startswith(_ASKED)),
)
