"""The same token means the same row, whatever its id, and nothing else is touched."""

import json
from pathlib import Path
from types import SimpleNamespace

import merging
import pytest
import tiny
import torch
from mergekit.options import MergeOptions
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dogerm_plugin.anatomy import vocabulary
from dogerm_plugin.anatomy.vocabulary import padded_embeddings
from dogerm_plugin.errors import MergeError

ROWS = "model.embed_tokens.weight"
WEIGHT = 0.3


def pair(
    folder: Path,
    mine: list[str],
    theirs: list[str],
    rows: tuple[int, int] | None = None,
    added: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()),
    **changes: object,
) -> tuple[Path, Path]:
    """A reward model and a language model with these tokens; `rows` where not one per token."""
    first, second = rows or (len(mine) + len(added[0]), len(theirs) + len(added[1]))
    rm, _ = tiny.save_pair(folder / "a", "llama", vocab_size=first, **changes)
    _, lm = tiny.save_pair(folder / "b", "llama", vocab_size=second, **changes)
    merging.save_tokenizer(rm, mine, added[0])
    merging.save_tokenizer(lm, theirs, added[1])
    return rm, lm


def check_rows(folder: Path, rm: Path, lm: Path, weight: float = WEIGHT) -> dict[str, int]:
    """Every token's row of the output against the paper's rule; the other tensors by name."""
    out, mine, theirs = (merging.tensors(path) for path in (folder / "out", rm, lm))
    vocabularies = [AutoTokenizer.from_pretrained(p).get_vocab() for p in (folder / "out", rm, lm)]
    result, own, other = vocabularies
    for token, row in result.items():
        a = mine[ROWS][own[token]] if own.get(token, 1 << 30) < len(mine[ROWS]) else None
        b = theirs[ROWS][other[token]] if other.get(token, 1 << 30) < len(theirs[ROWS]) else None
        if a is not None and b is not None:
            expected = (1 - weight) * a + weight * b
        else:
            expected = a if a is not None else b
        assert expected is not None and torch.equal(out[ROWS][row], expected), token
    name = "model.layers.1.mlp.up_proj.weight"
    assert torch.equal(out[name], (1 - weight) * mine[name] + weight * theirs[name])
    config = json.loads((folder / "out" / "config.json").read_text())
    assert config["vocab_size"] == len(out[ROWS])
    reward = AutoModelForSequenceClassification.from_pretrained(folder / "out")
    assert torch.isfinite(reward(input_ids=torch.tensor([[3, 4, 5]])).logits).all()
    return result


def union(rm: Path, lm: Path, **more: object) -> dict:
    return merging.recipe(rm, (lm, WEIGHT), tokenizer={"source": "union", **more})


def base(rm: Path, lm: Path, **more: object) -> dict:
    return merging.recipe(rm, (lm, WEIGHT), tokenizer={"source": "base", **more})


def test_permuted_ids_are_refused(tmp_path: Path) -> None:
    """Equal shapes and equal tokens under other ids: how many, a few, and what to add."""
    mine = merging.words(96)
    rm, lm = pair(tmp_path, mine, mine[:90] + mine[90:][::-1])
    message = merging.refused(tmp_path, merging.recipe(rm, (lm, WEIGHT)))
    assert "differ in 6 tokens" in message and "'w87': 90 and 95" in message
    assert "`tokenizer:`" in message and "`source: base`" in message and "union" in message


def test_different_tokens_are_refused(tmp_path: Path) -> None:
    """Tokens of one model only are counted and shown for each."""
    rm, lm = pair(tmp_path, merging.words(96), merging.words(96, first=2))
    message = merging.refused(tmp_path, merging.recipe(rm, (lm, WEIGHT)))
    assert f"2 only in {rm} ('w0', 'w1')" in message
    assert f"2 only in {lm} ('w93', 'w94')" in message


def test_the_added_lines_work(tmp_path: Path) -> None:
    """The two lines that the error gives, put below the recipe as they are, make it run."""
    rm, lm = pair(tmp_path, merging.words(96), merging.words(96, first=2))
    text = merging.write(tmp_path, merging.recipe(rm, (lm, WEIGHT))).read_text()
    merging.merged(tmp_path, text + "tokenizer:\n  source: base\n")
    assert check_rows(tmp_path, rm, lm) == AutoTokenizer.from_pretrained(rm).get_vocab()


def test_union_has_all_tokens(tmp_path: Path) -> None:
    """Shared rows are interpolated, rows of one model stay to the bit, and so do the RM's ids."""
    rm, lm = pair(tmp_path, merging.words(96), merging.words(96, first=10))
    merging.merged(tmp_path, union(rm, lm))
    result = check_rows(tmp_path, rm, lm)
    assert len(result) == 106
    assert [result[f"w{93 + i}"] for i in range(10)] == list(range(96, 106))
    assert {t: result[t] for t in merging.words(96)} == {
        t: i for i, t in enumerate(merging.words(96))
    }


def test_base_has_the_reward_models_tokens(tmp_path: Path) -> None:
    """Tokens that only the language model has are left out."""
    rm, lm = pair(tmp_path, merging.words(96), merging.words(120, first=10))
    merging.merged(tmp_path, base(rm, lm))
    result = check_rows(tmp_path, rm, lm)
    assert set(result) == set(merging.words(96))


@pytest.mark.parametrize("source", ["union", "base"])
def test_legacy_key(tmp_path: Path, source: str) -> None:
    """`tokenizer_source:` does the same."""
    rm, lm = pair(tmp_path, merging.words(96), merging.words(96, first=10))
    merging.merged(tmp_path, merging.recipe(rm, (lm, WEIGHT), tokenizer_source=source))
    assert len(check_rows(tmp_path, rm, lm)) == (106 if source == "union" else 96)


def test_special_tokens_pad_id_and_added_tokens(tmp_path: Path) -> None:
    """The reward model's special tokens and ids stay; an LM's added token comes along."""
    words = merging.words(96)
    theirs = ["</s>", "<s>", "<pad>", *words[3:]]
    rm, lm = pair(tmp_path, words, theirs, added=(("<rm>",), ("<lm>", "<tool>")))
    merging.merged(tmp_path, union(rm, lm))
    result = check_rows(tmp_path, rm, lm)
    assert {"<rm>", "<lm>", "<tool>"} <= set(result) and result["<rm>"] == 96
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["pad_token_id"] == result["<pad>"] == 0
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert (tokenizer.pad_token, tokenizer.bos_token, tokenizer.eos_token) == (
        "<pad>",
        "<s>",
        "</s>",
    )
    assert tokenizer.chat_template == merging.TEMPLATE


@pytest.mark.parametrize("rows", [(104, 96), (96, 104), (128, 104)])
def test_padded_rows_without_alignment(tmp_path: Path, rows: tuple[int, int]) -> None:
    """Equal tokens, unlike padding: token rows merge, padding follows the reward model."""
    words = merging.words(90)
    rm, lm = pair(tmp_path, words, words, rows)
    out = merging.merged(tmp_path, merging.recipe(rm, (lm, WEIGHT)))
    check_rows(tmp_path, rm, lm)
    mine = merging.tensors(rm)[ROWS]
    assert len(out[ROWS]) == rows[0]
    assert torch.equal(out[ROWS][rows[1] :], mine[rows[1] :])


@pytest.mark.parametrize("source", ["union", "base"])
@pytest.mark.parametrize("rows", [(104, 96), (96, 104), (96, 96)])
def test_padded_rows_with_alignment(tmp_path: Path, source: str, rows: tuple[int, int]) -> None:
    """Padding is cut, as mergekit does, and config.json says so."""
    words = merging.words(90)
    rm, lm = pair(tmp_path, words, words, rows)
    recipe = merging.recipe(rm, (lm, WEIGHT), tokenizer={"source": source})
    assert len(merging.merged(tmp_path, recipe)[ROWS]) == 90
    check_rows(tmp_path, rm, lm)


def test_pad_to_multiple_of(tmp_path: Path) -> None:
    """`pad_to_multiple_of` pads what the alignment cut."""
    rm, lm = pair(tmp_path, merging.words(96), merging.words(96, first=10))
    out = merging.merged(tmp_path, union(rm, lm, pad_to_multiple_of=64))
    assert len(out[ROWS]) == 128
    check_rows(tmp_path, rm, lm)


@pytest.mark.parametrize("source", ["union", "base"])
@pytest.mark.parametrize("rows", [(90, 96), (96, 90)])
def test_tokenizer_knows_more_tokens_than_rows(
    tmp_path: Path, source: str, rows: tuple[int, int]
) -> None:
    """Tokens beyond the rows do not exist for that model."""
    words = merging.words(96)
    rm, lm = pair(tmp_path, words, words, rows)
    recipe = merging.recipe(rm, (lm, WEIGHT), tokenizer={"source": source})
    merging.merged(tmp_path, recipe)
    check_rows(tmp_path, rm, lm)


def test_fewer_rows_than_tokens_without_alignment(tmp_path: Path) -> None:
    """Rows that a token needs are missing: not padding, so it is refused with the way out."""
    words = merging.words(96)
    rm, lm = pair(tmp_path, words, words, (96, 90))
    message = merging.refused(tmp_path, merging.recipe(rm, (lm, WEIGHT)))
    assert "96 rows" in message and "and 90 in" in message and "source: base" in message


@pytest.mark.parametrize("instead", [95, 85])
def test_gaps_between_ids(tmp_path: Path, instead: int) -> None:
    """Ids beyond the number of tokens, or two tokens of one: merged as they are, never aligned."""
    words = merging.words(90)
    rm, lm = pair(tmp_path, words, words, (96, 96))
    for path in (rm, lm):
        file = path / "tokenizer.json"
        content = json.loads(file.read_text())
        content["model"]["vocab"]["w86"] = instead
        file.write_text(json.dumps(content))
    merging.merged(tmp_path, merging.recipe(rm, (lm, WEIGHT)))
    check_rows(tmp_path, rm, lm)
    for more in ({}, {"pad_to_multiple_of": 128}):
        assert "gaps between its ids" in merging.refused(tmp_path, base(rm, lm, **more))


def test_two_domain_models_and_a_token_of_two(tmp_path: Path) -> None:
    """A model without a token stands aside for it: the reward model takes over its share."""
    rm, lm = pair(tmp_path, merging.words(96), merging.words(96))
    other = tmp_path / "other"
    tiny.save_language_model(other, "llama", seed=5)
    merging.save_tokenizer(other, merging.words(96, first=1))
    recipe = merging.recipe(rm, (lm, 0.3), (other, 0.2), tokenizer={"source": "union"})
    out = merging.merged(tmp_path, recipe)[ROWS]
    a, b, c = (merging.tensors(path)[ROWS] for path in (rm, lm, other))
    vocabulary = AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab()
    assert torch.allclose(out[vocabulary["w0"]], 0.7 * a[3] + 0.3 * b[3], atol=1e-8)
    assert torch.equal(out[vocabulary["w1"]], 0.5 * a[4] + 0.3 * b[4] + 0.2 * c[3])
    assert torch.equal(out[vocabulary["w93"]], c[95])


def test_token_settings_of_mergekit(tmp_path: Path) -> None:
    """`tokens:` under `tokenizer:` chooses a row's source."""
    rm, lm = pair(tmp_path, merging.words(96), merging.words(96))
    tokens = {
        "w5": {"source": str(lm), "force": True},
        "w6": {"source": {"kind": "model_token", "model": str(rm), "token": "w7"}, "force": True},
    }
    out = merging.merged(tmp_path, union(rm, lm, tokens=tokens))[ROWS]
    assert torch.equal(out[8], merging.tensors(lm)[ROWS][8])
    assert torch.equal(out[9], merging.tensors(rm)[ROWS][10])


def test_another_models_tokenizer_is_refused(tmp_path: Path) -> None:
    """`source: <model>` would leave config.json's pad id pointing at another token."""
    rm, lm = pair(tmp_path, merging.words(96), merging.words(96, first=10))
    recipe = merging.recipe(rm, (lm, WEIGHT), tokenizer={"source": str(lm)})
    assert "use base" in merging.refused(tmp_path, recipe)
    recipe = merging.recipe(rm, (lm, WEIGHT), tokenizer={"source": str(rm)})
    merging.merged(tmp_path, recipe)
    check_rows(tmp_path, rm, lm)


def test_rows_stay_in_the_reward_models_dtype(tmp_path: Path) -> None:
    """mergekit promotes aligned rows; the output does not."""
    rm, lm = pair(tmp_path, merging.words(96), merging.words(96, first=10))
    state = {n: t.half() for n, t in merging.tensors(rm).items()}
    merging.edit(rm, **{n.replace(".", "__"): t for n, t in state.items()})
    out = merging.merged(tmp_path, union(rm, lm))
    assert {tensor.dtype for tensor in out.values()} == {torch.float16}


def test_a_model_without_tokenizer_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing to compare: merged by row, with a warning that names the model."""
    rm, lm = pair(tmp_path, merging.words(96), merging.words(96))
    for file in lm.glob("tokenizer*"):
        file.unlink()
    merging.merged(tmp_path, merging.recipe(rm, (lm, WEIGHT)))
    assert f"{lm} has no tokenizer" in caplog.text


def test_a_damaged_tokenizer_is_refused(tmp_path: Path) -> None:
    """A tokenizer that is there and can't be read is no reason to skip the check."""
    rm, lm = pair(tmp_path, merging.words(96), merging.words(96))
    (lm / "tokenizer.json").write_text("{")
    message = merging.refused(tmp_path, merging.recipe(rm, (lm, WEIGHT)))
    assert str(lm) in message and "tokenizer" in message


@pytest.mark.parametrize("source", ["union", "base"])
def test_multimodal_reward_model(tmp_path: Path, source: str) -> None:
    """The number of rows stands in the text part of its config; unused tokens beyond it too."""
    rm, lm = tiny.save_pair(tmp_path, "gemma3")
    merging.save_tokenizer(rm, merging.words(100))
    merging.save_tokenizer(lm, merging.words(96, first=10))
    recipe = merging.recipe(rm, (lm, WEIGHT), tokenizer={"source": source})
    out, mine, theirs = merging.merged(tmp_path, recipe), merging.tensors(rm), merging.tensors(lm)
    name = next(n for n in out if n.endswith("embed_tokens.weight"))
    assert len(out[name]) == (106 if source == "union" else 96)
    assert torch.equal(out[name][3:13], mine[name][3:13])
    vocabulary = AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab()
    row = 0.7 * mine[name][23] + 0.3 * theirs[name][13]
    assert torch.equal(out[name][vocabulary["w20"]], row)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["text_config"]["vocab_size"] == len(out[name])


def test_a_second_table_of_tokens_is_refused() -> None:
    """Per-layer embeddings would keep unaligned rows: no released reward model has them yet."""
    shapes = {"embed.weight": (96, 8), "embed_per_layer.weight": (96, 4), "embed_tiny": (7, 4)}
    model = SimpleNamespace(model="rm")
    layout = SimpleNamespace(
        reward=model,
        others=[model],
        body=list(shapes),
        kept=[],
        vocabulary={"embed.weight"},
        sources={"rm": shapes},
        shape=lambda _, name: shapes[name],
    )
    recipe = SimpleNamespace(tokenizer=object(), tokenizer_source=None)
    with pytest.raises(MergeError, match="embed_per_layer"):
        padded_embeddings(layout, recipe, MergeOptions())
    del shapes["embed_per_layer.weight"]
    layout.body.remove("embed_per_layer.weight")
    assert padded_embeddings(layout, recipe, MergeOptions()) == {}


@pytest.mark.parametrize("change", ["none", "byte", "file", "code"])
def test_tokenizers_are_loaded_where_their_files_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Not where all are equal to the byte; one byte, one file more or code of one's own suffice."""
    rm, lm = pair(tmp_path, merging.words(96), merging.words(96))
    if change == "byte":
        file = lm / "tokenizer.json"
        file.write_text(file.read_text() + " ")
    elif change == "file":
        (lm / "added_tokens.json").write_text("{}")
    elif change == "code":
        for model in (rm, lm):
            file = model / "tokenizer_config.json"
            config = json.loads(file.read_text()) | {"auto_map": {"AutoTokenizer": ["a.B", None]}}
            file.write_text(json.dumps(config))
    loaded = []
    monkeypatch.setattr(vocabulary, "tokenizer_of", lambda one, _: loaded.append(one.model))
    merging.merged(tmp_path, merging.recipe(rm, (lm, WEIGHT)))
    assert len(loaded) == (0 if change == "none" else 2)


def test_equal_files_with_other_rows_are_compared(tmp_path: Path) -> None:
    """Padding rows that differ: how many tokens there are must be known."""
    words = merging.words(90)
    rm, lm = pair(tmp_path, words, words, rows=(90, 96))
    assert merging.merged(tmp_path, merging.recipe(rm, (lm, WEIGHT)))[ROWS].shape[0] == 90
    rm, lm = pair(tmp_path / "few", words, words, rows=(90, 80))
    assert "90 tokens" in merging.refused(tmp_path / "few", merging.recipe(rm, (lm, WEIGHT)))
