# SPDX-License-Identifier: Apache-2.0
"""Auto-J's pairs as preferences: ties dropped, scenarios grouped as the DogeRM paper groups them.

Data: Li et al., Generative Judge for Evaluating Alignment (arXiv 2310.05470). Rule: DogeRM (arXiv
2407.01470), its script ``inference_autoj.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.rows.datasets import Row, Schema
from harness.rows.documents import Document
from harness.tasks.base.preference import PreferenceTask

# A row's label: which response people preferred.
FIRST, SECOND, TIE = 0, 1, 2

SECTIONS = {
    "code": [
        "code_correction_rewriting",
        "code_generation",
        "code_simplification",
        "code_to_code_translation",
        "explaining_code",
    ],
    "math": ["math_reasoning", "solving_exam_question_with_math"],
    # DogeRM takes any other scenario here; naming them tells a misspelt one.
    "others": [
        "analyzing_general",
        "asking_how_to_question",
        "brainstorming",
        "chitchat",
        "classification_identification",
        "counterfactual",
        "creative_writing",
        "data_analysis",
        "explaining_general",
        "functional_writing",
        "information_extraction",
        "instructional_rewriting",
        "keywords_extraction",
        "language_polishing",
        "note_summarization",
        "open_question",
        "others",
        "paraphrasing",
        "planning",
        "post_summarization",
        "question_generation",
        "ranking",
        "reading_comprehension",
        "recommendation",
        "roleplay",
        "seeking_advice",
        "solving_exam_question_without_math",
        "text_correction",
        "text_simplification",
        "text_summarization",
        "text_to_text_translation",
        "title_generation",
        "topic_modeling",
        "value_judgement",
        "verifying_fact",
        "writing_advertisement",
        "writing_biography",
        "writing_blog_post",
        "writing_cooking_recipe",
        "writing_email",
        "writing_job_application",
        "writing_legal_document",
        "writing_marketing_materials",
        "writing_news_article",
        "writing_personal_essay",
        "writing_presentation_script",
        "writing_product_description",
        "writing_scientific_paper",
        "writing_social_media_post",
        "writing_song_lyrics",
        "writing_technical_document",
    ],
}
SECTION_OF = {name: section for section, names in SECTIONS.items() for name in names}


def check(row: Mapping[str, Any]) -> None:
    """Refuse a label or a scenario that Auto-J does not have."""
    if isinstance(row["label"], bool) or row["label"] not in (FIRST, SECOND, TIE):
        raise HarnessError(
            f"column label is {row['label']!r}, expected 0 (response 1 is preferred), 1 (response "
            "2 is) or 2 (a tie); correct the row"
        )
    if row["scenario"] not in SECTION_OF:
        raise HarnessError(
            f"column scenario is {row['scenario']!r}, expected one of Auto-J's 58, such as "
            "code_generation or math_reasoning; a set with scenarios of its own is evaluated with "
            "harness/tasks/preference"
        )


class AutoJ(PreferenceTask):
    """One of the three sections of Auto-J's test set."""

    SCHEMA = Schema(
        {
            "scenario": (str,),
            "label": (int,),
            "prompt": (str,),
            "response 1": (str,),
            "response 2": (str,),
        },
        responses=("response 1", "response 2"),
        rule=check,
    )

    @classmethod
    def documents(cls, rows: Sequence[Row], config: Any) -> list[Document]:
        """A chosen and a rejected response per row that is no tie."""
        return [
            {
                "prompt": row["prompt"],
                "chosen": row["response 2" if row["label"] == SECOND else "response 1"],
                "rejected": row["response 1" if row["label"] == SECOND else "response 2"],
                "subset": SECTION_OF[row["scenario"]],
                "scenario": row["scenario"],
            }
            for row in rows
            if row["label"] != TIE
        ]
