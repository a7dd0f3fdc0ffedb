"""The evaluation side of DogeRM and the tools around it."""
