"""The wheel and the editable install, each in a new virtual environment, with the real commands.

The new environments see the heavy libraries of the environment that runs the tests through a
plain path (whose own `.pth` files Python does not read), so that nothing is downloaded.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny import save_pair, write_recipe

ROOT = Path(__file__).parents[1]
LIBRARIES = sysconfig.get_path("purelib")
PARTS = ("dogerm_plugin", "harness", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")

pytestmark = pytest.mark.slow


@dataclass
class Environment:
    """A virtual environment with this project installed."""

    folder: Path
    kind: str

    @property
    def site(self) -> Path:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.folder / "lib" / version / "site-packages"

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        program, *arguments = command
        environ = {k: v for k, v in os.environ.items() if not k.startswith("DOGERM_AUTO")}
        return subprocess.run(
            [str(self.folder / "bin" / program), *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=environ | {"HF_HUB_OFFLINE": "1"} | variables,
        )

    def pip(self, *arguments: str) -> None:
        """The test environment's own pip, at work on this one: a pip of its own takes long."""
        command = [sys.executable, "-m", "pip", "--python", str(self.folder / "bin" / "python")]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def copy_of_the_project(folder: Path) -> Path:
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=skip)
        else:
            shutil.copy(source, folder / part)
    return folder


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = copy_of_the_project(tmp_path_factory.mktemp("source"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(tree)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = (tree / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module", params=["wheel", "editable"])
def environment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, wheel: Path
) -> Environment:
    folder = tmp_path_factory.mktemp(request.param) / "venv"
    venv.create(folder, symlinks=True)
    made = Environment(folder, request.param)
    (made.site / "libraries_of_the_test_environment.pth").write_text(LIBRARIES + "\n")
    if request.param == "wheel":
        what = [str(wheel)]
    else:
        tree = copy_of_the_project(tmp_path_factory.mktemp("checkout"))
        what = ["--no-build-isolation", "-e", str(tree)]
    made.pip("install", "--no-deps", "--no-index", *what)
    for name in ("mergekit-yaml", "lm_eval"):  # the host's own script, for this interpreter
        script = Path(sysconfig.get_path("scripts"), name).read_text()
        target = folder / "bin" / name
        target.write_text(re.sub(r"^#!.*", f"#!{folder / 'bin' / 'python'}", script, count=1))
        target.chmod(0o755)
    return made


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    return write_recipe(folder / "recipe.yml", *save_pair(folder, "llama"))


def test_mergekit_yaml_merges(environment: Environment, recipe: Path, tmp_path: Path) -> None:
    """The unchanged executable knows the method and writes a reward model."""
    done = environment.run("mergekit-yaml", str(recipe), str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "ForSequenceClassification" in (tmp_path / "out" / "config.json").read_text()


def test_lm_eval_lists_the_tasks(environment: Environment) -> None:
    """The unchanged executable has the leaves, the sections and the group.

    `ls tasks`, which reads lm-eval's 13,000 task files twice, of the wheel alone.
    """
    names = ("rewardbench", "rewardbench_chat_hard", "rewardbench-hep-python", "minipref")
    if environment.kind == "wheel":
        done = environment.run("lm_eval", "ls", "tasks")
    else:
        done = environment.run("lm_eval", "validate", "--tasks", ",".join(names))
        assert "All tasks found" in done.stdout
    assert done.returncode == 0, done.stderr
    for name in names:
        assert re.search(rf"\b{re.escape(name)}\b", done.stdout), name


def test_python_starts_without_the_hosts(environment: Environment) -> None:
    """A bare interpreter loads the hook alone: two modules more than without it."""
    code = "import sys; print('\\n'.join(sorted(sys.modules)))"
    with_hook = set(environment.run("python", "-c", code).stdout.split())
    path = environment.site / "dogerm_autoload.pth"
    line = path.read_text()
    path.write_text("")
    try:
        without = set(environment.run("python", "-c", code).stdout.split())
    finally:
        path.write_text(line)
    assert with_hook - without == {"dogerm_plugin", "dogerm_plugin._autoload"}
    costs = []
    for _ in range(10):
        times = environment.run("python", "-X", "importtime", "-c", "pass").stderr
        costs += re.findall(r"\|\s+(\d+) \|\s+dogerm_plugin\._autoload", times)
    assert len(costs) == 10
    best = min(int(cost) for cost in costs) / 1000  # microseconds, cumulative
    print(f"\n{environment.kind}: the hook costs {best:.2f} ms at start, the best of 10")


@pytest.mark.parametrize("environment", ["wheel"], indirect=True)
def test_the_variable_switches_it_off(
    environment: Environment, recipe: Path, tmp_path: Path
) -> None:
    """DOGERM_AUTOLOAD=0 leaves both hosts as they are, however this was installed."""
    done = environment.run("mergekit-yaml", str(recipe), str(tmp_path / "o"), DOGERM_AUTOLOAD="0")
    assert done.returncode != 0 and not (tmp_path / "o").exists()
    asked = ("validate", "--tasks", "gsm8k,rewardbench")
    done = environment.run("lm_eval", *asked, DOGERM_AUTOLOAD="0")
    assert done.returncode == 1 and "Tasks not found: rewardbench\n" in done.stdout


@pytest.mark.parametrize("environment", ["wheel"], indirect=True)
def test_modules_work_without_the_hook(
    environment: Environment, recipe: Path, tmp_path: Path
) -> None:
    """`python -m dogerm_plugin` and `python -m harness` import what the hook would, in any form."""
    off = {"DOGERM_AUTOLOAD": "0"}
    command = ("python", "-m", "dogerm_plugin", str(recipe), str(tmp_path / "out"))
    done = environment.run(*command, **off)
    assert done.returncode == 0, done.stderr
    asked = ("validate", "--tasks", "gsm8k,rewardbench_safety")
    done = environment.run("python", "-m", "harness", *asked, **off)
    assert done.returncode == 0 and "All tasks found" in done.stdout, done.stderr


def test_our_failure_leaves_the_hosts_working(
    environment: Environment, recipe: Path, tmp_path: Path
) -> None:
    """An exception in our registration prints one line; mergekit's own methods go on."""
    code = "import dogerm_plugin as p; print(p.__path__[0])"
    patches = Path(environment.run("python", "-c", code).stdout.strip()) / "patches.py"
    harness_patches = patches.parents[1] / "harness" / "patches.py"
    texts = {path: path.read_text() for path in (patches, harness_patches)}
    lm = recipe.parent / "lm"
    plain = tmp_path / "plain.yml"
    plain.write_text(
        f"merge_method: linear\nmodels:\n"
        f"  - {{model: {lm}, parameters: {{weight: 0.5}}}}\n"
        f"  - {{model: {lm}@main, parameters: {{weight: 0.5}}}}\n"
    )
    try:
        for path in texts:
            path.write_text("raise RuntimeError('broken on purpose')\n")
        done = environment.run("mergekit-yaml", str(plain), str(tmp_path / "out"))
        assert done.returncode == 0, done.stderr
        said = [line for line in done.stderr.splitlines() if "dogerm" in line]
        assert said == ["dogerm: not active in mergekit: RuntimeError: broken on purpose"]
        done = environment.run("lm_eval", "validate", "--tasks", "gsm8k")
        assert done.returncode == 0 and "All tasks found" in done.stdout
        said = [line for line in done.stderr.splitlines() if "dogerm" in line]
        assert said == ["dogerm: not active in lm_eval: RuntimeError: broken on purpose"]
    finally:
        for path, text in texts.items():
            path.write_text(text)


def test_uninstall_leaves_nothing(environment: Environment) -> None:
    """`pip uninstall` removes the .pth too. Runs last: the environment is used up."""
    environment.pip("uninstall", "-y", "dogerm")
    left = [p.name for p in environment.site.iterdir() if "dogerm" in p.name or p.name == "harness"]
    assert left == []
    assert not (environment.folder / "bin" / "dogerm").exists()
    assert environment.run("python", "-c", "pass").stderr == ""


def test_wheel_has_what_the_commands_read(wheel: Path) -> None:
    """Tasks, data, adapters, configs, READMEs and the licence are inside; no test is."""
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "dogerm_autoload.pth",
        "harness/tasks/_section.yaml",
        "harness/tasks/rewardbench/rewardbench.yaml",
        "harness/tasks/bon/bon_gsm8k.yaml",
        "harness/tasks/preference/example.jsonl",
        "harness/tasks/minipref/data.jsonl",
        "harness/tasks/minipref/sums.toml",
        "harness/show/page.html.jinja",
        "dogerm_plugin/py.typed",
        "dogerm_plugin/README.md",
        "harness/README.md",
    ):
        assert wanted in names, wanted
    assert any(n.startswith("harness/demo/adapters/reward/") for n in names)
    assert any(n.endswith("LICENSE") for n in names)
    assert not any(n.startswith(("tests", "merge_recipes")) for n in names)
