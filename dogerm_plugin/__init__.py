"""Reward-preserving merge methods for mergekit (DogeRM, arXiv 2407.01470)."""
