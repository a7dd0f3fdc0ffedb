"""The READMEs hold: commands parse, recipes and tasks load, links lead somewhere, names exist."""

from __future__ import annotations

import ast
import json
import re
import shlex
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from mergekit import merge_methods
from mergekit.config import MergeConfiguration

from dogerm_plugin._autoload import AFTER
from dogerm_plugin.recipe.keys import check_text
from dogerm_plugin.run.experts.recipe import RewardExpert, RewardMixture, parse
from harness.commands.cli import main as dogerm
from harness.models.routing import router_file
from harness.study.candidates.config import read as read_study
from harness.tasks.base.task_index import task_manager
from harness.training.read_config import read_config, read_stages
from tests import command_lines
from tests.markdown import ROOT, Page, commands, first_cells

MERGING, EVALUATION = "dogerm_plugin/README.md", "harness/README.md"
PAGES = ("README.md", MERGING, EVALUATION, "merge_recipes/README.md")
EVERY_PAGE = sorted(
    str(path.relative_to(ROOT))
    for folder in ("", "dogerm_plugin", "harness", "merge_recipes", "tests")
    for path in (ROOT / folder).glob("**/*.md" if folder else "README.md")
)
# As the hook registers them: a test may register one of its own.
METHODS = [
    method.spec
    for method in merge_methods.registered_methods()
    if method.spec.name.startswith("reward_preserving_")
]
RECIPE = (
    "{merge_method: reward_preserving_linear, base_model: rm/, "
    "models: [{model: lm/, parameters: {weight: 0.3}}]}"
)
# How CI begins; .ci/run reads this very line.
CI = (
    "python3 -m venv .venv && . .venv/bin/activate && "
    "pip install -c constraints.txt -e '.[test]' && pytest -n 2 --dist loadfile"
)


def test_readme_is_short() -> None:
    """Five minutes: 1,200 words with all its blocks. The rest is in the packages' READMEs."""
    assert len(Page("README.md").text.split()) <= 1200


def test_readme_has_the_line_that_ci_runs() -> None:
    """On a line of its own."""
    assert CI in Page("README.md").text.splitlines()


@pytest.mark.parametrize("name", PAGES)
def test_commands_parse(name: str) -> None:
    """Each command of a page is one that its program takes, tasks and arguments included."""
    page = Page(name)
    shown = [words for script in page.blocks("bash") for words in commands(script)]
    shown += [w for text in page.code() if command_lines.is_command(text) for w in commands(text)]
    assert shown
    for words in shown:
        try:
            command_lines.check(words)
        except (Exception, SystemExit) as error:
            pytest.fail(f"{name}: {shlex.join(words)}: {error}")


@pytest.mark.parametrize("name", PAGES)
def test_yaml_is_taken(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each YAML of a page is a recipe, an own task, a router's, a study's or a training's."""
    monkeypatch.chdir(tmp_path)
    for text in Page(name).blocks("yaml"):
        keys = yaml.load(text, yaml.BaseLoader).keys()  # without !function
        if "experts" in keys and "router" in keys:
            (tmp_path / "router.yml").write_text(text, "utf-8")
            for place in map(str, yaml.safe_load(text)["experts"].values()):
                if place.endswith(".yml"):  # a recipe file beside it
                    (tmp_path / place).write_text(RECIPE, "utf-8")
            router_file.read(tmp_path / "router.yml").checked(name)
        elif "merge_method" in keys:
            check_text(text, name)
        elif "experts" in keys:
            parse(yaml.safe_load(text), name)
        elif "class: !function" in text:
            _load_task(text, tmp_path)
        elif "candidates" in keys:
            (tmp_path / "study.yml").write_text(text, "utf-8")
            read_study(tmp_path / "study.yml")
        elif {"general", "customized"} & keys:
            (tmp_path / "config.yml").write_text(text, "utf-8")
            read_stages(tmp_path / "config.yml")
        else:
            (tmp_path / "config.yml").write_text(text, "utf-8")
            read_config(tmp_path / "config.yml")


def _load_task(text: str, folder: Path) -> None:
    """Load it over a file that has the columns of both of the pages' examples."""
    (folder / "task.yaml").write_text(text, "utf-8")
    row = {"question": "q", "good": "a", "bad": "b", "topic": "t"}
    row |= {"prompt": "q", "chosen": "a", "rejected": "b"}
    (path,) = re.findall(r"^dataset_path: (.+)$", text, re.MULTILINE)
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_text(json.dumps(row) + "\n", "utf-8")
    manager = task_manager([folder])
    (task,) = re.findall(r"^task: (.+)$", text, re.MULTILINE)
    assert manager.load(task)


@pytest.mark.parametrize("name", EVERY_PAGE)
def test_links_lead_somewhere(name: str) -> None:
    """Relative links name files that are there, and headings in them."""
    for path, anchor in Page(name).links():
        assert path.exists(), f"{name}: no {path}"
        if anchor:
            target = Page(str(path.relative_to(ROOT)))
            assert anchor in target.anchors(), f"{name}: {path} has no heading #{anchor}"


def test_readme_names_every_command() -> None:
    """What else there is: each `dogerm` command with its line."""
    text = Page("README.md").text
    missing = [name for name in dogerm.list_commands(None) if f"dogerm {name}" not in text]
    assert missing == []


def test_every_task_has_a_row() -> None:
    """The table of tasks has all of them and no other; `*` stands for a group's leaves."""
    names = first_cells(Page(EVALUATION).section("## Tasks"))
    metrics = {"accuracy", "margin", "ties", "longer", "truncated"}
    assert metrics < set(names)
    shown = [name for name in names if name not in metrics]
    known = command_lines.task_names()
    assert [one for one in shown if not any(fnmatch(task, one) for task in known)] == []
    assert [task for task in known if not any(fnmatch(task, one) for one in shown)] == []


def test_every_model_argument_has_a_row() -> None:
    """The arguments that our models add to those of lm-eval's `hf`, and no other."""
    rows = first_cells(Page(EVALUATION).section("## Models"))
    ours = set().union(*map(command_lines.own_arguments, command_lines.MODELS))
    assert {row.rstrip("=") for row in rows if row.endswith("=")} == ours
    assert {*command_lines.MODELS} < {*rows}


def test_every_key_of_a_recipe_has_a_row() -> None:
    """mergekit's keys, and each parameter that a method of ours describes."""
    rows = set(first_cells(Page(MERGING).section("### Every key")))
    ours = [
        m.spec for m in merge_methods.registered_methods() if "reward_preserving" in m.spec.name
    ]
    parameters = {one.name for spec in ours for one in spec.parameters if one.description}
    assert parameters and {*MergeConfiguration.model_fields} | parameters <= rows
    text = Page(MERGING).text
    assert [spec.name for spec in METHODS if f"`{spec.name}`" not in text] == []


def test_every_key_of_a_mixture_has_a_row() -> None:
    """mergekit's and ours."""
    rows = set(first_cells(Page(MERGING).section("## A mixture of reward experts")))
    assert {*RewardMixture.model_fields} | {*RewardExpert.model_fields} <= rows


def test_every_change_to_a_host_has_a_row() -> None:
    """What the hook runs is listed, with what retires it."""
    rows = first_cells(Page(MERGING).section("### Every change to a host"))
    assert {*rows} == {target.partition(":")[2] for target in AFTER.values()}


@cache
def _texts() -> str:
    """Every text in the code, one a line, with `{}` where something is put in."""
    texts = set()
    for package in ("dogerm_plugin", "harness"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                texts.add(" ".join(_text(node).split()))
    return "\n".join(texts)


def _text(node: Any) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "{}" for part in node.values)
    return ""


@pytest.mark.parametrize("name", (MERGING, EVALUATION))
def test_errors_are_those_of_the_code(name: str) -> None:
    """What a table of errors quotes is what the code says."""
    quoted = first_cells(Page(name).section("## What an error means"))
    assert len(quoted) > 5
    assert [text for text in quoted if text not in _texts()] == []
