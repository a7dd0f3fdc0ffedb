"""The command `dogerm check`."""
