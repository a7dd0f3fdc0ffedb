"""PPE Preference: which of two models' answers people preferred."""
