"""M-RewardBench: RewardBench in 23 languages."""
