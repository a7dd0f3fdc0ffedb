"""lm-eval tasks of this project: a folder of YAML and a README per benchmark."""
