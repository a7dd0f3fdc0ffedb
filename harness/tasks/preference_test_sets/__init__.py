"""RewardBench's prior sets: the four preference test sets that came before it."""
