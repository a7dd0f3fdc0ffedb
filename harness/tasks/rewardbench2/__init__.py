"""RewardBench 2: five subsets of best-of-N, and Ties, whose score is one formula."""
