"""lm-eval tasks of this project: a folder of YAML and a README per benchmark."""

from pathlib import Path

FOLDER = Path(__file__).parent
