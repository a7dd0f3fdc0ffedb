"""What makes a kept result stale: the code that it depends on, versions, files."""

from __future__ import annotations

import ast
import functools
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from harness.demo import run as demo
from harness.errors import HarnessError
from harness.models.ensemble import RewardEnsemble
from harness.models.reward import Reward
from harness.runs import identity, source
from harness.study import rows
from harness.study.identity import SCORED_BY
from harness.study.merged_model import MEASURED_BY
from harness.tasks.base.fingerprint import fingerprint
from harness.training import reward, sft
from tests.harness.models.test_response_cache import cached
from tests.harness.models.test_reward import requests, some_pairs
from tests.harness.models.test_reward import reward as reward_of
from tests.harness.study.searching import Searching

TRIAL = (*MEASURED_BY, *SCORED_BY)
OF_A_SWEEP = (
    "dogerm_plugin.run.in_memory",
    "dogerm_plugin.anatomy.layout",
    "dogerm_plugin.methods.linear",
    "dogerm_plugin.patches",
    "dogerm_plugin.anatomy.vocabulary",
    "harness.tasks.base.candidates",
    "harness.rows.conversation",
    "harness.tasks.base.metrics",
    "harness.models",
    "harness.models.load.head",
    "harness.models.score.rendering",
    "harness.models.reward",
    "harness.models.score.scorer",
    "harness.models.score.tree",
    "harness.patches",
    "harness.rows.messages",
    "harness.tasks.base.sections",
    "harness.study.merged_model",
    "harness.study.division",
    "harness.study.evaluate",
    "harness.models.live",
    "harness.study.remembering",
    "harness.study.rungs",
    "harness.study.worker",
)
OF_A_TRIAL = (
    "harness.runs.group_tree",
    "harness.study.span",
    "harness.study.choose",
)
OF_NEITHER = (
    "harness.bon.curves",
    "harness.show.card.readme",
    "harness.commands.cli",
    "harness.compare.comparison",
    "harness.show.compare_text",
    "harness.demo.run",
    "harness.runs.results",
    "harness.study.output",
    "harness.study.measuring",
    "harness.study.sweep",
    "harness.commands.doctor",
    "harness.show.html",
    "harness.commands.search",
    "harness.show.trials_plot",
    "harness.show.search_text",
    "harness.commands.sweep",
    "harness.show.sweep_plots",
    "harness.study.search_summary",
    "harness.show.sweep_text",
    "harness.tasks.judgebench.task",
    "harness.show.text_table",
    "harness.training.reward",
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("source")
    for package in source.PACKAGES:
        for file in (source.ROOT / package).rglob("*.py"):
            there = root / file.relative_to(source.ROOT)
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, there)
    return root


@pytest.fixture
def edited(copy: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The source file of a module, with one more line in the copy."""
    module = copy.joinpath(*request.param.split("."))
    file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
    text = file.read_text("utf-8")
    file.write_text(f"{text}\nEDITED = True\n", "utf-8")
    yield file.relative_to(copy).as_posix()
    file.write_text(text, "utf-8")


@pytest.fixture
def run_the_copy(copy: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on, this project's source is the copy's."""
    there = functools.partial(source.digests.__wrapped__, root=copy)
    return lambda: monkeypatch.setattr(source, "digests", there)


@pytest.fixture
def searchable(tmp_path: Path, reward_model: Path, language_model: Path) -> Searching:
    return Searching(tmp_path, [reward_model, language_model])


def changed(copy: Path, modules: tuple[str, ...]) -> set[str]:
    """The files that are others in the copy."""
    here = source.digests(*modules)
    there = source.digests.__wrapped__(*modules, root=copy)  # what is there now, not at first
    return {file for file in {*here, *there} if here.get(file) != there.get(file)}


@pytest.mark.parametrize("edited", OF_A_SWEEP, indirect=True)
def test_an_edit_of_what_a_score_depends_on_makes_it_stale(copy: Path, edited: str) -> None:
    assert changed(copy, MEASURED_BY) == changed(copy, TRIAL) == {edited}


@pytest.mark.parametrize("edited", OF_A_TRIAL, indirect=True)
def test_an_edit_of_what_chooses_makes_a_trial_stale(copy: Path, edited: str) -> None:
    """A sweep keeps each row's reward and chooses anew; a trial keeps its score alone."""
    assert changed(copy, TRIAL) == {edited}


@pytest.mark.parametrize("edited", OF_NEITHER, indirect=True)
def test_an_edit_of_what_only_tells_leaves_results_as_they_are(copy: Path, edited: str) -> None:
    assert not changed(copy, TRIAL)


@pytest.mark.parametrize(
    ("edited", "task", "stale"),
    [
        ("harness.tasks.base.own_data", "preference-example", True),
        ("harness.rows.columns", "preference-example", True),
        ("harness.tasks.base.sections", "preference-example", True),
        ("harness.tasks.rewardbench2.task", "preference-example", False),
        ("harness.tasks.base.preference", "minipref-math", True),
        ("harness.tasks.base.own_data", "minipref-math", False),
        ("harness.commands.doctor", "minipref-math", False),
    ],
    indirect=["edited"],
)
def test_a_tasks_own_code_counts_for_its_rows(
    edited: str, task: str, stale: bool, run_the_copy: Callable[[], None]
) -> None:
    (loaded,) = rows.load([task], [])
    before = fingerprint(loaded.loaded)
    run_the_copy()
    assert (fingerprint(loaded.loaded) != before) is stale


@pytest.mark.parametrize(
    ("edited", "stale"),
    [("dogerm_plugin.methods.linear", True), ("harness.study.choose", False)],
    indirect=["edited"],
)
def test_a_sweep_is_measured_anew_where_its_scores_are_stale(
    searchable: Searching, edited: str, stale: bool, run_the_copy: Callable[[], None]
) -> None:
    searchable.swept()
    before = searchable.measured()
    run_the_copy()
    result = searchable.sweep()
    assert result.exit_code == 0, result.output
    assert (f"-> other code ({edited})" in result.stderr) is stale
    assert ("earlier results are set aside" in result.stderr) is stale
    assert (searchable.measured() != before) is stale


@pytest.mark.parametrize(
    ("edited", "stale"),
    [("harness.study.choose", True), ("harness.show.search_text", False)],
    indirect=["edited"],
)
def test_a_search_is_a_new_one_where_its_trials_are_stale(
    searchable: Searching, edited: str, stale: bool, run_the_copy: Callable[[], None]
) -> None:
    searchable.searched("--trials", "2")
    run_the_copy()
    result = searchable.search("--trials", "2")
    assert result.exit_code == 0, result.output
    assert ("a new study" in result.stderr) is stale
    assert (f"-> other code ({edited})" in result.stderr) is stale


@pytest.mark.parametrize(
    ("edited", "stale"),
    [("harness.models.score.scorer", True), ("harness.compare.comparison", False)],
    indirect=["edited"],
)
def test_a_cache_is_refused_where_its_rewards_are_stale(
    reward_model: Path, tmp_path: Path, edited: str, stale: bool, run_the_copy: Callable[[], None]
) -> None:
    path = tmp_path / "cache.db"
    cached(reward_of(reward_model), path).loglikelihood(requests(some_pairs(1)))
    run_the_copy()
    told = rf"version of dogerm \S+ -> other code \({edited}\)"
    with pytest.raises(HarnessError, match=told) if stale else nullcontext():
        cached(reward_of(reward_model), path)


@pytest.mark.parametrize(
    ("edited", "stale"),
    [
        ("harness.demo.base", True),
        ("harness.models.score.scorer", True),
        ("dogerm_plugin.methods.linear", True),
        ("harness.demo.show", False),
        ("harness.commands.doctor", False),
    ],
    indirect=["edited"],
)
def test_the_demo_is_made_anew_where_it_is_stale(
    edited: str, stale: bool, run_the_copy: Callable[[], None]
) -> None:
    before = demo.made_with()
    assert demo.made_with() == before
    run_the_copy()
    assert (demo.made_with() != before) is stale


@pytest.mark.parametrize("edited", ["harness.models.implicit"], indirect=True)
def test_a_cache_depends_on_its_own_kind_of_model(copy: Path, edited: str) -> None:
    assert not changed(copy, (Reward.__module__,))
    assert not changed(copy, (RewardEnsemble.__module__,))
    assert changed(copy, ("harness.models.implicit",)) == {edited}


@pytest.mark.parametrize("edited", ["harness.training.trainer"], indirect=True)
def test_a_training_depends_on_its_loop(copy: Path, edited: str) -> None:
    assert changed(copy, (reward.__name__,)) == changed(copy, (sft.__name__,)) == {edited}
    assert "harness/training/sft.py" not in source.digests(reward.__name__)


def test_imports_are_read_wherever_they_stand(tmp_path: Path) -> None:
    """In functions and branches, of submodules, relative; not those for type checkers alone."""
    files = {
        "harness/__init__.py": "",
        "harness/start.py": "import typing\n"
        "from harness.room import inner\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import harness.types_a\n"
        "if typing.TYPE_CHECKING:\n    import harness.types_b\nelse:\n    import harness.other\n"
        "class A:\n    def f(self):\n        try:\n            import harness.tried\n"
        "        except ImportError:\n            from dogerm_plugin import fallback\n"
        "        with open('x') as y:\n            from harness.start import f\n"
        "'''\nimport harness.named\n'''\n",
        "harness/room/__init__.py": "from .near import thing\n",
        "harness/room/near.py": "from . import beside\nfrom .. import above\n",
        "harness/room/inner.py": "import torch, json\n",
        "dogerm_plugin/__init__.py": "",
    }
    names = ("room/beside", "above", "other", "tried", "types_a", "types_b", "named", "alone")
    files |= {f"harness/{name}.py": "" for name in names}
    files["dogerm_plugin/fallback.py"] = ""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    found = set(source.digests("harness.start", "a_users.module", root=tmp_path))
    unused = {f"harness/{name}.py" for name in ("types_a", "types_b", "named", "alone")}
    assert found == set(files) - unused
    with pytest.raises(ModuleNotFoundError, match=r"harness\.gone"):
        source.digests("harness.gone", root=tmp_path)


def test_imports_are_those_of_the_syntax_tree() -> None:
    """In every module of the project: what its code looks like is what is looked for."""
    for package in source.PACKAGES:
        for file in (source.ROOT / package).rglob("*.py"):
            content = file.read_bytes()
            assert source._imports(content) == set(imported(ast.parse(content))), file


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not isinstance(node, ast.If) or ast.unparse(node.test) != "TYPE_CHECKING":
            yield from imported(node)


def test_differences_say_what_is_not_as_it_was() -> None:
    before = {"version of dogerm": "1", "device": "cpu", "recipe": "a" * 200, "old": "x"}
    now = {"version of dogerm": "1", "device": "cuda", "recipe": "b" * 200, "new": "x"}
    assert identity.differences(before, before) == []
    assert identity.differences(before, now) == [
        "device: cpu -> cuda",
        "new is new",
        "old is gone",
        "recipe has changed",
    ]


def test_changed_code_is_told_once_with_its_version() -> None:
    """With another version the files go without saying."""
    files = [f"code of harness/{name}.py" for name in "abcde"]
    before = {"version of dogerm": "1", **dict.fromkeys(files, "x")}
    now = {"version of dogerm": "1", **dict.fromkeys(files, "y")}
    told = "other code (harness/a.py, harness/b.py, harness/c.py and 2 more)"
    assert identity.differences(before, now) == [f"version of dogerm: 1 -> {told}"]
    one = before | {files[0]: "z"}
    assert identity.differences(before, one) == [
        "version of dogerm: 1 -> other code (harness/a.py)"
    ]
    assert identity.differences(before, now | {"version of dogerm": "2"}) == [
        "version of dogerm: 1 -> 2"
    ]


def test_the_files_of_a_model_are_known_by_their_content(tmp_path: Path) -> None:
    names = (
        "model.safetensors",
        "weights-of-mine.safetensors",
        "config.json",
        "tokenizer.model",
        "chat_template.jinja",
        "additional_chat_templates/tool.jinja",
        "modeling_mine.py",
    )
    for name in (*names, "README.md", "mergekit_config.yml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1", "utf-8")
    found = identity.model_files([tmp_path])
    assert set(found) == {str(tmp_path / name) for name in names}
    (tmp_path / names[0]).write_text("2", "utf-8")
    after = identity.model_files([tmp_path])
    assert {name for name in found if after[name] != found[name]} == {str(tmp_path / names[0])}


def test_a_file_in_an_argument_counts_by_its_content(tmp_path: Path) -> None:
    file = tmp_path / "template.jinja"
    arguments = {
        "chat_template": str(file),
        "dtype": "float32",
        "max_length": 64,
        "text": "x" * 999,
    }
    assert identity.argument_files(arguments) == {}
    file.write_text("1", "utf-8")
    (first,) = identity.argument_files(arguments).values()
    file.write_text("2", "utf-8")
    assert identity.argument_files(arguments) != {f"file chat_template={file}": first}


def test_the_device_counts_without_its_number() -> None:
    assert identity.device({"device": "cuda:1"}) == "cuda"
    assert identity.device({"device": "cpu"}) == "cpu"
