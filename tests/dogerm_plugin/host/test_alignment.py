"""Rows gathered while they are merged are mergekit's own, to the bit."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import forms
import merging
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mergekit.architecture import WeightInfo, get_architecture_info
from mergekit.common import ImmutableMap, ModelReference
from mergekit.config import MergeConfiguration
from mergekit.io.tasks import GatherTensors, SaveTensor
from mergekit.merge_methods.task_adapter import ExecuteMergeMethodTask
from mergekit.options import MergeOptions
from mergekit.plan import MergePlanner
from mergekit.tokenizer import BuildTokenizer, PermutedVocabulary, TokenizerInfo
from mergekit.tokenizer.config import TokenEmbeddingConfig

from dogerm_plugin.errors import MergeError
from dogerm_plugin.host import alignment
from dogerm_plugin.host.alignment import Alignment, MergeAligned
from dogerm_plugin.recipe.configuration import prepared
from dogerm_plugin.run.prepare import prepare

MODELS = [ModelReference.model_validate(name) for name in ("rm", "lm", "other", "last")]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


class Case(SimpleNamespace):
    """Some models' embeddings and how they are to be aligned."""

    task: PermutedVocabulary
    info: TokenizerInfo
    tensors: dict[ModelReference, torch.Tensor]

    def by_mergekit(self) -> dict[ModelReference, torch.Tensor]:
        return self.task.execute(self.info, dict(self.tensors))

    def by_gather(self) -> dict[ModelReference, torch.Tensor]:
        parts = list(Alignment(self.task, self.info, self.tensors).parts())
        return {model: torch.cat([part[model] for part in parts]) for model in self.tensors}

    def merge(self, kind: type[ExecuteMergeMethodTask], weight: float = 0.25) -> Any:
        models = list(self.tensors)
        return kind(
            method_name=merging.METHOD,
            gather_tensors=self.task,
            model_order=tuple(models),
            base_model=models[0],
            output_weight=WeightInfo(name="embed.weight", vocabulary_axis=0),
            parameters=ImmutableMap({"result_dtype": None}),
            input_parameters=ImmutableMap(
                {
                    m: ImmutableMap(
                        {
                            "weight": weight,
                            "own_weight": None,
                            "allow_unrelated": False,
                            "reward": False,
                        }
                    )
                    for m in models
                }
            ),
        )


def case(
    tensors: list[torch.Tensor],
    rows: list[list[int]],
    ids: list[int] | None = None,
    base: int | None = 0,
    tokens: dict[str, dict] | None = None,
    pad: int | None = None,
) -> Case:
    """Each model's tensor, and its row of every output id; token `t7` has the id `ids[7]`."""
    models = MODELS[: len(tensors)]
    ids = ids or list(range(len(rows[0])))
    task = PermutedVocabulary(
        gather_tensors=GatherTensors(
            weight_info=ImmutableMap({m: WeightInfo(name="embed.weight") for m in models})
        ),
        tokenizer_task=BuildTokenizer(
            base_model=models[0],
            referenced_models=tuple(models),
            tokenizer_source="union",
            add_tokens=(),
        ),
        tokens={t: TokenEmbeddingConfig.model_validate(c) for t, c in (tokens or {}).items()},
        pad_to_multiple_of=pad,
        base_model=None if base is None else MODELS[base],
        vocabulary_axis=0,
    )
    vocabulary = {f"t{number}": i for number, i in enumerate(ids)}
    info = TokenizerInfo.model_construct(
        tokenizer=SimpleNamespace(get_vocab=lambda: vocabulary),
        permutations={m: dict(enumerate(row)) for m, row in zip(models, rows, strict=True)},
        original_vocabs={m: {"last": len(t) - 1} for m, t in zip(models, tensors, strict=True)},
    )
    return Case(task=task, info=info, tensors=dict(zip(models, tensors, strict=True)))


def check_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Dtype, shape and bytes: 0 is not -0."""
    assert found.dtype == expected.dtype and found.shape == expected.shape
    raw = (one.contiguous().view(-1).view(torch.uint8) for one in (found, expected))
    assert torch.equal(*raw)


def values(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> torch.Tensor:
    """Random numbers of many sizes, some of them 0 and -0."""
    random = torch.Generator().manual_seed(seed)
    found = torch.randn(shape, generator=random) * 10 ** torch.randn(shape, generator=random)
    found[torch.rand(shape, generator=random) < 0.1] *= 0
    return found.to(dtype)


@st.composite
def cases(draw: st.DrawFn, most: int = 4) -> Case:
    """Every option of the alignment, in any mixture."""
    count = draw(st.integers(1, most))
    shape = draw(st.sampled_from([(3,), (32,), (33,), (2, 5)]))
    sizes = draw(st.lists(st.integers(1, 12), min_size=count, max_size=count))
    vocabulary = draw(st.integers(1, 30))
    rows = [
        draw(st.lists(st.integers(-1, n - 1), min_size=vocabulary, max_size=vocabulary))
        for n in sizes
    ]
    if draw(st.booleans()):  # as from one tokenizer: most tokens are in all models
        rows = [[max(row, 0) if i % 3 else row for i, row in enumerate(r)] for r in rows]
    seed = draw(st.integers(0, 99))
    tensors = [
        values((n, *shape), draw(st.sampled_from(DTYPES)), seed + i) for i, n in enumerate(sizes)
    ]
    donor = draw(st.integers(0, count - 1))
    sources: list[Any] = [
        {"kind": "zero"},
        {"kind": "model_token", "model": str(MODELS[donor]), "token": "last"},
        {"kind": "model_token", "model": str(MODELS[donor]), "token_id": 0},
        str(MODELS[donor]),
    ]
    chosen = draw(st.lists(st.integers(0, vocabulary - 1), max_size=5, unique=True))
    tokens = {
        f"t{number}": {"source": draw(st.sampled_from(sources)), "force": draw(st.booleans())}
        for number in chosen
    }
    return case(
        tensors,
        rows,
        draw(st.permutations(range(vocabulary))),
        draw(st.sampled_from([None, 0, count - 1, 3])),
        tokens,
        draw(st.sampled_from([None, 1, 8, 64])),
    )


@pytest.fixture(autouse=True, params=[1 << 22, 64], ids=["one step", "many steps"])
def step(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Rows in one step, or few in each."""
    monkeypatch.setattr(alignment, "STEP", request.param)
    yield


def outcome(run: Any) -> Any:
    """What it returns, or the kind of error; of several rows, either side may name the first."""
    try:
        return run()
    except (AssertionError, MergeError) as error:
        return type(error)


SETTINGS = settings(deadline=None, max_examples=150)


@given(cases())
@SETTINGS
def test_the_aligned_rows(drawn: Case) -> None:
    """By model; a row that `tokens:` asks of a model that lacks it fails as mergekit's does."""
    expected, found = outcome(drawn.by_mergekit), outcome(drawn.by_gather)
    if isinstance(expected, type):
        assert found is expected
        return
    assert list(found) == list(expected)
    for model, rows in expected.items():
        check_same(found[model], rows)


@given(cases())
@SETTINGS
def test_the_merged_rows(drawn: Case) -> None:
    """mergekit's alignment and then the method, against both at once."""
    if len(drawn.tensors) == 1:
        return

    def one_after_the_other() -> Any:
        return drawn.merge(ExecuteMergeMethodTask).execute(drawn.by_mergekit())

    def at_once() -> Any:
        return drawn.merge(MergeAligned).execute(drawn.tensors, tokenizer_info=drawn.info)

    expected, found = outcome(one_after_the_other), outcome(at_once)
    if isinstance(expected, type):
        assert found is expected
    else:
        check_same(found, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [255, 256, 257, 576, 1000])
def test_the_mean_of_padding_by_columns(width: int, dtype: torch.dtype) -> None:
    """The order of a column's sum doesn't change with the columns beside it."""
    tokens = 3001
    rows = [torch.randperm(tokens, generator=torch.Generator().manual_seed(i)) for i in (0, 1)]
    made = case(
        [values((tokens, width), dtype, i) for i in (0, 1)], [r.tolist() for r in rows], pad=64
    )
    expected, found = made.by_mergekit(), made.by_gather()
    for model in expected:
        check_same(found[model][-1], expected[model][-1])
        check_same(found[model], expected[model])


def test_a_token_in_no_model_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Zeros in all models; a token that the recipe chooses zeros for needs no warning."""
    tensors = [torch.ones(2, 3), torch.ones(2, 3)]
    rows = [[0, -1, -1], [1, -1, -1]]
    found = case(tensors, rows, tokens={"t1": {"source": {"kind": "zero"}}}).by_gather()
    assert all(not aligned[1:].any() for aligned in found.values())
    assert "1 tokens are in no model, their rows are zero: 't2'" in caplog.text


def test_shapes_that_do_not_fit() -> None:
    """mergekit's own check."""
    made = case([torch.ones(2, 3), torch.ones(2, 4)], [[0], [0]])
    with pytest.raises(ValueError, match="Non-vocabulary dimensions must match"):
        made.by_gather()


def test_damage_is_told_by_model() -> None:
    """NaN in a row that is used, in whatever step."""
    bad = torch.ones(200, 4)
    bad[150] = float("nan")
    made = case([torch.ones(200, 4), bad], [list(range(200))] * 2)
    with pytest.raises(MergeError, match=r"lm: NaN or Inf in tensor embed\.weight"):
        made.merge(MergeAligned).execute(made.tensors, tokenizer_info=made.info)


def test_the_embedding_is_gathered(tmp_path: Path) -> None:
    """By name, in what is merged in memory, which is planned as mergekit-yaml plans it."""
    form = forms.FORMS["tokenizer union"](tmp_path)
    recipe = MergeConfiguration.model_validate(form.recipe(0.3))
    ready = prepare(prepared(recipe), MergeOptions(quiet=True))
    aligned = [t.tensor_name for t in ready.tasks if isinstance(t.tensor_task, MergeAligned)]
    assert aligned == ["model.embed_tokens.weight"]


def test_mergekits_methods_keep_its_tasks(tmp_path: Path) -> None:
    """The same models and tokenizer, merged by `linear`."""
    _, lm = forms.pair(tmp_path)
    content = merging.recipe(lm, (lm, 0.5), tokenizer={"source": "base"})
    recipe = MergeConfiguration.model_validate(content | {"merge_method": "linear"})
    options = MergeOptions(quiet=True)
    architecture = get_architecture_info(recipe, options)
    plan = MergePlanner(recipe, architecture, options, recipe.base_model.config())
    saved = (task for task in plan.plan_to_disk("") if isinstance(task, SaveTensor))
    tasks = [task.tensor_task for task in saved]
    assert {type(task) for task in tasks} == {ExecuteMergeMethodTask}
    assert sum(isinstance(task.gather_tensors, PermutedVocabulary) for task in tasks) > 0
