"""Candidates of every kind, made where need be, and scored on the same rows: `dogerm study`."""
