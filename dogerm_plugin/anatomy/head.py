"""Whether the tensors outside a trunk make a reward, and which tensors a class leaves unread.

A value head's name says nothing; its shapes do, by the rule that `--model reward` goes by too
(`head_layers`): the one module beside trunk and LM head is a chain of linear layers from
the hidden size to one number. A language model's other modules outside its trunk (layers that
predict a further token, with gates of one output) are no such chain.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from transformers import PreTrainedModel

from dogerm_plugin.anatomy.checkpoint import Tensor
from dogerm_plugin.anatomy.head_layers import NoSingleHeadError, reward_layers
from dogerm_plugin.errors import MergeError

# Buffers that releases of transformers before 5 stored in every layer, and that most classes no
# longer have: rotary frequencies, and causal masks (1 × 1 × n × n, or one number).
_FREQUENCIES = re.compile(r"rotary_emb\.inv_freq$")
_MASKS = re.compile(r"\b(attn|attention)\.(bias|masked_bias|causal_mask)$")


def is_classifier(network: PreTrainedModel) -> bool:
    """Whether config.json names a class of transformers that ends in a reward (or labels)."""
    return type(network).__name__.endswith("ForSequenceClassification")


def is_single(tensor: Tensor) -> bool:
    """Whether it is the weight of a linear layer with one output."""
    return len(tensor.shape) == 2 and tensor.shape[0] == 1


def is_ignored(network: PreTrainedModel, name: str) -> bool:
    """Whether the class declares that loading passes over a tensor that it lacks.

    Layers that predict a further token (`^mtp.*`), for one. `name` is the one that the class would
    give the tensor.
    """
    declared = network._keys_to_ignore_on_load_unexpected or ()
    return any(re.search(pattern, name) for pattern in declared)


def is_dead(name: str, tensor: Tensor) -> bool:
    """Whether a tensor in the trunk that the class lacks is a buffer of older releases."""
    if not tensor.floating:  # position ids, masks
        return True
    return bool(_FREQUENCIES.search(name) or (_MASKS.search(name) and len(tensor.shape) != 1))


def find_reward_head(
    network: PreTrainedModel,
    prefix: str,
    head: Mapping[str, str],
    tensors: Mapping[str, Tensor],
) -> tuple[str, ...]:
    """The tensors outside a trunk, on disk, that make a reward; none for a language model.

    They do where the class says so (`...ForSequenceClassification` with its whole head stored,
    code of its own that has no LM head or has an output of one number itself), and else by their
    shapes.

    Args:
        network: the class.
        prefix: what its trunk's names begin with.
        head: all tensors outside the trunk: name on disk → the class's.
        tensors: the checkpoint's tensors by name on disk.
    """
    text = network.config.get_text_config()
    rows = getattr(text, "vocab_size", None)
    embedding = _output_embedding(network)
    output = {
        stored
        for stored, final in head.items()
        if final in embedding
        or "lm_head" in stored.split(".")
        or tensors[stored].shape[:1] == (rows,)
    }
    candidates = tuple(name for name in head if name not in output)
    own = {name for name in network.state_dict() if not name.startswith(prefix)}
    whole = is_classifier(network) and own <= {head[name] for name in candidates}
    single = any(is_single(tensors[name]) and head[name] in own for name in candidates)
    its_code = network.is_custom_code() and (single or not output)
    if candidates and (whole or its_code):
        return candidates
    normalized = bool(getattr(network.config, "do_normalize", False))
    shapes = {
        name: tensors[name].shape
        for name in candidates
        # safe-rlhf stores the mean and variance of its rewards even where it uses neither
        if normalized or not name.startswith("normalizer.")
    }
    width = getattr(text, "word_embed_proj_dim", None) or text.hidden_size
    try:
        reward_layers(shapes, width, "")
    except NoSingleHeadError:
        return ()
    return candidates


def outputs(
    network: PreTrainedModel, head: Mapping[str, str], tensors: Mapping[str, Tensor]
) -> int | None:
    """How many numbers a reward head gives, told by its tensors and not by config.json.

    Args:
        network: the class, with as many labels as config.json says.
        head: the reward head: name on disk → the class's.
        tensors: all of the checkpoint's by name on disk.

    Returns:
        None for a model without a reward head, and where only the class's own code knows.

    Raises:
        MergeError: a head tensor that would not fit the class with any number of labels.
    """
    if not head or network.is_custom_code():
        return None
    state = network.state_dict()
    if not is_classifier(network) or any(final not in state for final in head.values()):
        return 1  # a chain of layers that ends in one number
    labels = {}
    for stored, final in head.items():
        have, want = tensors[stored].shape, tuple(state[final].shape)
        if have == want:
            continue
        labels[stored] = have[:1]
        if have[1:] != want[1:] or len(set(labels.values())) > 1:
            raise MergeError(
                f"{tensors[stored].file}: head tensor {stored} has shape {list(have)}, and "
                f"{type(network).__name__} needs {['labels', *want[1:]]}: config.json and weights "
                "don't belong together"
            )
    return next(iter(labels.values()))[0] if labels else network.config.num_labels


def _output_embedding(network: PreTrainedModel) -> set[str]:
    output = network.get_output_embeddings()
    return {
        name
        for name, module in network.named_modules()
        if output is not None and module is output
        for name in (f"{name}.weight", f"{name}.bias")
    }
