"""minipref: a small preference set of this project's own, and the programs that build it."""
