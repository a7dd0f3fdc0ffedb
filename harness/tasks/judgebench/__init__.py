"""JudgeBench: pairs of a right and a wrong response to hard questions."""
