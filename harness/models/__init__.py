"""lm-eval models of this project, one file each; lm-eval imports them on demand."""

# What users write after --model, and where lm-eval finds it when they do, not before.
NAMES = {
    "reward": "harness.models.reward:Reward",
    "reward-adapters": "harness.models.adapters:RewardAdapters",
    "reward-ensemble": "harness.models.ensemble:RewardEnsemble",
    "reward-http": "harness.models.http:RewardHttp",
    "reward-implicit": "harness.models.implicit:RewardImplicit",
    "reward-router": "harness.models.router:RewardRouter",
}
