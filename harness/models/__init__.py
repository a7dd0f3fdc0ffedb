"""lm-eval models of this project, one file each; lm-eval imports them on demand."""
