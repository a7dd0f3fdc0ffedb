# SPDX-License-Identifier: Apache-2.0
"""Every consumer: what was read in the source of the version that is named, and nothing else.

transformers, TRL and the class that verl 0.7.0 loads are run in tests. The servers of vLLM and of
OpenRLHF were run once, and its class (`head_needs.read_scale`); SGLang, verl and NeMo-RL were not.
"""

from __future__ import annotations

from dogerm_plugin.errors import suggest
from harness.check.consumers.config_needs import (
    class_named,
    config_padding,
    ends_added,
    key,
    known_type,
    nemo_rl_padding,
    nothing,
    one_label,
    one_padding,
    padding_token,
    reads,
    served,
    tokenizer,
    tokenizer_padding,
)
from harness.check.consumers.consumer import Consumer
from harness.check.consumers.head_needs import (
    bias_as_mean,
    bias_stored,
    head_named,
    no_bias,
    one_reward,
    read_scale,
    trunk_named,
    value_head,
)
from harness.check.consumers.need import Kind
from harness.errors import HarnessError

# Those of transformers' text classifiers for which vLLM 0.33.0 has the body
# (model_executor/models/registry.py; `_normalize_arch` finds XForCausalLM for them).
_VLLM_BODIES = (
    "Arcee Bloom DeepseekV2 DeepseekV3 Exaone4 Falcon Gemma Gemma2 Glm Glm4 GPT2 GPTBigCode GPTJ "
    "GPTNeoX GptOss HunYuanDenseV1 HunYuanMoEV1 Jamba Llama MiniCPM3 Ministral3 Mistral Mixtral "
    "Nemotron Olmo Olmo2 Olmo3 OPT Phi Phi3 Qwen2 Qwen2Moe Qwen3 Qwen3Moe Qwen3Next SeedOss "
    "SmolLM3 StableLm Starcoder2 Zamba2"
)
_VLLM = frozenset(f"{name}ForSequenceClassification" for name in _VLLM_BODIES.split())
_SGLANG_BIASED = frozenset({"Qwen2ForSequenceClassification", "Qwen3ForSequenceClassification"})
_SGLANG = _SGLANG_BIASED | {"LlamaForSequenceClassification", "Gemma2ForSequenceClassification"}

_VLLM_LACKS = served(
    _VLLM,
    "vLLM 0.33.0 has no class of its own for {}, and what its general one gives is not checked",
    Kind.UNKNOWN,
)
_RAW = "config.json has no problem_type: regression, and {}"
# What vLLM's class reads, whoever has started it.
_ON_VLLM = (
    one_reward,
    known_type,
    _VLLM_LACKS,
    class_named,
    trunk_named,
    head_named,
    one_label,
)

CONSUMERS = (
    Consumer(
        "transformers",
        "transformers 5.23",
        "modeling_layers.py: GenericForSequenceClassification",
        (
            one_reward,
            known_type,
            trunk_named,
            head_named,
            no_bias,
            one_label,
            padding_token,
            reads(config_padding),
        ),
        'AutoModelForSequenceClassification.from_pretrained("{model}")',
        "logits[i, 0]",
    ),
    Consumer(
        "trl",
        "TRL 1.16",
        "trainer/{grpo,rloo}_trainer.py: AutoModelForSequenceClassification, num_labels=1",
        (
            one_reward,
            known_type,
            trunk_named,
            head_named,
            no_bias,
            tokenizer,
            reads(tokenizer_padding),
        ),
        'GRPOTrainer(reward_funcs="{model}", ...)',
        "logits[i, 0]; harness.rewards.RewardFunction is the faster way",
    ),
    Consumer(
        "vllm",
        "vLLM 0.33.0",
        "model_executor/models/adapters.py, layers/pooler/activations.py, config/model.py, "
        "entrypoints/pooling/classify/",
        (
            *_ON_VLLM,
            key(
                "problem_type",
                "regression",
                _RAW.format('without it (or "use_activation": false) vLLM gives sigmoid(reward)'),
            ),
            tokenizer,
            reads(nothing),
        ),
        "vllm serve {model} --runner pooling",
        "data[i].probs[0] of POST /classify",
    ),
    Consumer(
        "sglang",
        "SGLang 0.5.23",
        "srt/models/{llama_reward,gemma2_reward,qwen2_classification,qwen3_classification}.py, "
        "srt/models/transformers.py, srt/entrypoints/openai/serving_classify.py",
        (
            one_reward,
            known_type,
            served(
                _SGLANG,
                "SGLang 0.5.23 has no class for {}, and its general one gives a normalised hidden "
                "state in place of the reward",
            ),
            class_named,
            trunk_named,
            head_named,
            bias_stored(
                _SGLANG_BIASED,
                "SGLang's class for it has a bias, whose start is random, and none is stored",
            ),
            one_label,
            tokenizer,
            reads(nothing),
        ),
        "sglang serve --model-path {model} --is-embedding",
        "[i].embedding[0] of POST /classify (of /v1/classify the softmax, always 1)",
    ),
    Consumer(
        "openrlhf",
        "OpenRLHF 0.11.2",
        "models/model.py, cli/serve_rm.py",
        (
            one_reward,
            trunk_named,
            value_head,
            bias_as_mean,
            read_scale,
            tokenizer,
            reads(nothing),
        ),
        "python -m openrlhf.cli.serve_rm --reward.model_name_or_path {model}",
        "rewards[i] of POST /get_reward; (reward - mean) / std with --reward.normalize_enable",
        takes_scale=True,
    ),
    Consumer(
        "verl",
        "verl 0.9.1 on vLLM",
        "experimental/reward_loop/reward_loop.py; of 0.7.0 that and workers/fsdp_workers.py: "
        "AutoModelForTokenClassification",
        (
            *_ON_VLLM,
            key(
                "problem_type",
                "regression",
                _RAW.format(
                    "verl 0.7.0 sends vLLM a key that newer vLLM ignores, and gets sigmoid(reward);"
                    " 0.9.1 sends the new one"
                ),
            ),
            tokenizer,
            reads(nothing),
        ),
        "python -m verl.trainer.main_ppo reward.reward_model.enable=True "
        "reward.reward_model.model_path={model} reward.reward_model.rollout.name=vllm ...",
        "reward_score",
    ),
    Consumer(
        "nemo-rl",
        "NeMo-RL (commit 001de1b)",
        "nemo_rl/environments/reward_model_environment.py, data/llm_message_utils.py (commit "
        "37b1837), models/automodel/{setup,train}.py; of nemo-automodel 0.7.0 "
        "_transformers/{registry,model_init}.py",
        (
            one_reward,
            known_type,
            class_named,
            trunk_named,
            head_named,
            no_bias,
            tokenizer,
            one_padding,
            ends_added,
            reads(nemo_rl_padding),
        ),
        "uv run examples/run_grpo.py --config examples/configs/grpo_rm_1B.yaml "
        "env.reward_model.model_name={model}",
        "the environment's reward, in bfloat16 unless env.reward_model.precision says float32",
    ),
)


def consumer(name: str) -> Consumer:
    """The consumer of a name.

    Raises:
        HarnessError: there is none.
    """
    known = {one.name: one for one in CONSUMERS}
    if name not in known:
        raise HarnessError(f"--for {name}: nothing here knows it{suggest(name, known)}")
    return known[name]
