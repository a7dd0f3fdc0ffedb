"""Ray's actors: what they are given to make lives there, and does jobs one after the other."""
