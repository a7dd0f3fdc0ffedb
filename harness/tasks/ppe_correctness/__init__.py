"""PPE Correctness: 32 answers to a question, of which some are right: by pairs, and best of K."""
