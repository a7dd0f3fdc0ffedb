"""Jobs on Ray's actors: the same outcomes, whatever becomes of an actor."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import yaml
from click.testing import CliRunner

from dogerm_plugin.errors import MergeError
from harness.commands.search import search
from harness.errors import HarnessError
from harness.models.actors import cluster as ray_cluster
from harness.models.actors.pool import ActorPool, Made
from harness.study import choose, ray_pool, recipe_file
from harness.study.race_order import Part
from harness.study.ray_pool import RayPool
from harness.study.rows import REPORT
from harness.study.spec import Settings, Spec
from harness.study.worker import Job, LocalPool, Outcome, Worker
from tests import warm
from tests.harness.conftest import preference_rows
from tests.harness.study.recipes import at

ray = pytest.importorskip("ray")

NOTHING = Made(dict, ())  # for whom it is the actors alone that matter
SELECT, REPORTED = "alpacaeval-easy", "donotanswer"
JOBS = [
    Job("λ = 0", at(0.0)),
    *(Job(f"trial {n}", at(n / 5)) for n in range(1, 4)),
    Job("trial 4", at([{"filter": "mlp", "value": 0.9}, {"value": 0.1}])),
    Job("trial 1", at(0.2), share=0.5),
    Job("trial 2", at(0.4), role=REPORT, keep=True),
    Job("trial 3", at(0.6), keep=True, part=Part(2, 3, "trial 3")),
    Job("trial 5", at(1.5)),  # no share: an error that is this job's own
]


@pytest.fixture(scope="module")
def spec(
    tmp_path_factory: pytest.TempPathFactory, reward_model: Path, language_model: Path
) -> Iterator[Spec]:
    """What a worker measures with, on the processor; its data are named by a relative path."""
    folder = tmp_path_factory.mktemp("search")
    content = {
        "merge_method": "reward_preserving_linear",
        "base_model": str(reward_model),
        "models": [{"model": str(language_model)}],
        "dtype": "float32",
    }
    (folder / "recipe.yml").write_text(yaml.safe_dump(content), "utf-8")
    (folder / "data").mkdir()
    rows = [*preference_rows(SELECT, 12), *preference_rows(REPORTED, 6, start=12)]
    lines = [json.dumps(row) + "\n" for row in rows]
    (folder / "data" / "rewardbench.jsonl").write_text("".join(lines), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield Spec(
            recipe=recipe_file.read(Path("recipe.yml")),
            settings=Settings({"device": "cpu"}, batch_size="4"),
            select=(f"rewardbench-{SELECT}",),
            report=(f"rewardbench-{REPORTED}",),
            metadata={"data_dir": "data"},
        )


@pytest.fixture(scope="module")
def expected(spec: Spec) -> dict[str, dict[str, Any]]:
    """What one worker in this process gives for `JOBS`."""
    return measured(all_of(LocalPool(Worker(spec)), JOBS))


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A local Ray that takes this machine for one of 8 cores and 2 GPUs."""
    ray_cluster.ray_module()  # and what it sets
    ray.init(
        "local",
        num_cpus=8,
        num_gpus=2,
        include_dashboard=False,
        object_store_memory=80 << 20,
        log_to_driver=False,
        runtime_env=warm.for_ray(),
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def pool(cluster: None, spec: Spec) -> Iterator[RayPool]:
    """Two workers that are ready; those that end are replaced."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_SET_WHEN_RAY_RAN", "1")
        patch.setenv("PYTHONPATH", "mine")
        made = RayPool(spec, workers=2)
    starting = [worker.doing for worker in made._workers]
    ray.wait(starting, num_returns=2)
    yield made
    made.close()


@pytest.fixture
def told(pool: RayPool, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What that pool tells."""
    lines: list[str] = []
    monkeypatch.setattr(pool, "_say", lines.append)
    return lines


@pytest.fixture
def pool_of(cluster: None) -> Iterator[Callable[..., ActorPool[Any, Any]]]:
    """Makes more pools, of one worker each, and closes them.

    As `pool` has the cores, these get the GPUs, which are not there: they can't load a model.
    """
    pools: list[ActorPool[Any, Any]] = []

    def make(what: Spec | Made, workers: int | None = 1, **options: Any) -> ActorPool[Any, Any]:
        if isinstance(what, Made):
            pools.append(ActorPool(what, "local", workers, **options))
        else:
            what = dataclasses.replace(what, settings=Settings())
            pools.append(RayPool(what, workers=workers, **options))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def all_of(pool: Any, jobs: Sequence[Job]) -> list[Outcome]:
    for job in jobs:
        pool.submit(job)
    return [pool.next() for _ in jobs]


def measured(outcomes: Sequence[Outcome]) -> dict[str, dict[str, Any]]:
    """All of the outcomes, by job, but what differs from run to run."""
    found = {}
    for outcome in outcomes:
        content = dataclasses.asdict(outcome)
        del content["cost"], content["scored"]
        content["results"] = choose.of_tasks(outcome.results, "accuracy")
        content["files"] = {
            task: sorted(name.split("_20")[0] for name in files)
            for task, files in outcome.files.items()
        }
        found[str(outcome.job)] = content
    assert len(found) == len(outcomes), "a job was done twice"
    return found


def test_outcomes_are_those_of_one_process(pool: RayPool, expected: dict[str, Any]) -> None:
    """Several actors share the jobs, and each outcome is what a single worker gives."""
    found = all_of(pool, JOBS)

    assert measured(found) == expected
    scores = {one.score for content in expected.values() for one in content["results"]}
    assert len(scores) > 2  # jobs differ at all
    assert [outcome.job.label for outcome in found if outcome.error] == ["trial 5"]
    used = {worker.pid for worker in pool._workers if worker.subject is not None}
    assert len(used) == 2
    assert os.getpid() not in used


def test_workers_are_set_up_like_the_driver(pool: RayPool) -> None:
    """Folder, environment and search path are the driver's, not those that Ray was started in."""

    def look(actor: Any) -> tuple[Any, ...]:
        import torch

        on_path = os.path.abspath("mine") in sys.path
        return os.getcwd(), os.environ.get("HF_SET_WHEN_RAY_RAN"), on_path, torch.get_num_threads()

    found = ray.get([worker.actor.__ray_call__.remote(look) for worker in pool._workers])
    assert found == [(os.getcwd(), "1", True, 4)] * 2


def test_next_rung_goes_to_the_worker_that_has_the_weights(pool: RayPool) -> None:
    """It is not merged again."""
    # weights that no test before this one has left in a worker
    first = all_of(pool, [Job("trial 1", at(0.31), share=0.5), Job("trial 2", at(0.62), share=0.5)])
    second = all_of(pool, [Job("trial 2", at(0.62)), Job("trial 1", at(0.31))])

    assert all(outcome.cost.merge_seconds > 0 for outcome in first)
    assert [outcome.cost.merge_seconds for outcome in second] == [0.0, 0.0]
    items = [s.items for o in second for s in choose.of_tasks(o.results, "accuracy")]
    assert items == [12, 12]


def test_job_of_a_killed_worker_is_done_by_another(
    pool: RayPool, told: list[str], expected: dict[str, Any]
) -> None:
    """A worker's process is killed in the middle of its job: every job has its one outcome."""
    first = all_of(pool, JOBS[:2])
    victim = pool._workers[0]
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGSTOP)  # so that the job that it gets is not done before
    for job in JOBS[2:]:
        pool.submit(job)
    assert victim.task is not None
    label = victim.task.job.label
    os.kill(victim.pid, signal.SIGKILL)

    assert measured([*first, *(pool.next() for _ in JOBS[2:])]) == expected
    assert told == [
        f"the worker of {label} was lost (its worker process has died); another one takes its place"
    ]
    assert victim not in pool._workers
    assert len(pool._workers) == pool.size


class Deadly:
    """Ends the process that reads it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (1,)


def test_job_that_kills_its_workers_is_given_up(pool_of: Callable[..., Any]) -> None:
    """After its retries; the message has the job and how often its worker was lost."""
    told: list[str] = []
    pool = pool_of(NOTHING, retries=1, say=told.append)
    pool.submit(SimpleNamespace(label="trial 13", subject=Deadly()))
    with pytest.raises(HarnessError, match=r"worker of trial 13 was lost 2 times in a row \(its"):
        pool.next()
    assert len(told) == 2  # how many workers there are, and the first loss


def test_workers_that_die_at_their_start_are_given_up(
    spec: Spec, pool_of: Callable[..., Any]
) -> None:
    """With the number of workers as the way out: each holds a model."""
    deadly: Any = Deadly()
    pool = pool_of(dataclasses.replace(spec, identity=deadly), retries=1)
    pool.submit(JOBS[0])
    with pytest.raises(HarnessError, match=r"starting was lost 2 times in a row .*--workers"):
        pool.next()


@pytest.mark.parametrize("kind", [HarnessError, MergeError])
def test_mistake_is_raised_as_it_is(
    spec: Spec, pool_of: Callable[..., Any], kind: type[Exception]
) -> None:
    """A mistake of the user's is not tried again."""
    told: list[str] = []
    content = {**spec.recipe.content, "models": [{"model": "no_such_model"}]}
    wrong: dict[type[Exception], Any] = {
        HarnessError: {"select": ("no_such_task",)},
        MergeError: {"recipe": dataclasses.replace(spec.recipe, content=content)},
    }
    pool = pool_of(dataclasses.replace(spec, **wrong[kind]), say=told.append)
    pool.submit(JOBS[0])
    with pytest.raises(kind, match="no_such_") as caught:
        pool.next()
    assert type(caught.value) is kind
    assert told == ["Ray: 1 worker with 1 GPU"]


def test_file_that_a_node_lacks_is_named_with_the_node(
    spec: Spec, pool_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is meant from the driver's folder."""
    monkeypatch.setattr(ray_pool, "local_files", lambda spec: ["data", "mine/prefs.yaml"])
    pool = pool_of(spec)
    pool.submit(JOBS[0])
    missing = Path.cwd() / "mine" / "prefs.yaml"
    with pytest.raises(HarnessError, match=rf"^Ray node [\d.]+: {missing} is not there"):
        pool.next()


def test_files_that_a_node_needs(spec: Spec, reward_model: Path, language_model: Path) -> None:
    """Models, data, task files: what is on the Hub, or the recipe, whose text travels, is not."""
    (own := Path("own.yaml")).touch()
    spec = dataclasses.replace(
        spec,
        select=("rewardbench", "own.yaml", "lacking.yaml"),
        metadata={"data_dir": "data", "revision": 3},
        include_path=(Path("."),),
    )
    try:
        found = ray_pool.local_files(spec)
    finally:
        own.unlink()
    assert found == [str(reward_model), str(language_model), "own.yaml", ".", "data"]


def test_division_of_a_cluster(cluster: None) -> None:
    """A GPU each, or a share of the cores; more workers than GPUs share them.

    Fewer have several each where a model is spread over GPUs.
    """

    def divided(workers: int | None, on_cpu: bool, spread: bool = False) -> tuple[Any, ...]:
        found = ray_cluster.divide(workers, on_cpu, spread=spread)
        return found.workers, found.threads, found.ask

    assert divided(None, False) == (2, 4, {"num_gpus": 1, "num_cpus": 0})
    assert divided(3, False) == (3, 2, {"num_gpus": 0.5, "num_cpus": 0})
    assert divided(1, False) == (1, 8, {"num_gpus": 1, "num_cpus": 0})
    assert divided(1, False, True) == (1, 8, {"num_gpus": 2, "num_cpus": 0})
    assert divided(None, False, True) == (2, 4, {"num_gpus": 1, "num_cpus": 0})
    assert divided(None, True) == (2, 4, {"num_cpus": 4})
    assert divided(16, True) == (16, 1, {"num_cpus": 0.5})


@pytest.mark.parametrize(
    ("free", "more"),
    [
        (8.0, ""),
        (4.0, "; 4 of these 8 are free now: some have to wait"),
        (1.0, "; 1 of these 8 are free now: all have to wait"),
    ],
)
def test_a_busy_cluster_is_told(free: float, more: str) -> None:
    """Else nothing would say why nothing happens."""
    division = ray_cluster.Division(2, "CPU", 4.0, 4, free)
    assert division.told() == f"Ray: 2 workers, each with 4 CPU{more}"


def test_each_worker_has_a_gpu(pool_of: Callable[..., Any]) -> None:
    """Without --workers there are as many as GPUs, and each sees its own."""
    pool = pool_of(NOTHING, workers=None)
    visible = [
        worker.actor.__ray_call__.remote(lambda actor: os.environ["CUDA_VISIBLE_DEVICES"])
        for worker in pool._workers
    ]
    assert sorted(ray.get(visible)) == ["0", "1"]


def test_gpu_of_a_worker_is_its_only_one(spec: Spec) -> None:
    """So it can't be asked for another one."""
    spec = dataclasses.replace(spec, settings=Settings({"device": "cuda:1"}))
    with pytest.raises(HarnessError, match="device=cuda:1: with Ray each worker sees its own GPUs"):
        RayPool(spec)


@pytest.mark.parametrize(
    ("nodes", "workers", "each"),
    [
        ([8], 2, 4),
        ([8], 3, 2),
        ([2], 4, 0.5),
        ([1], 3, 0.3333),
        ([4, 4], 3, 2),  # not 8 / 3: one of them would be on two nodes
        ([6, 4], 3, 3),
        ([1, 1], 2, 1),
        ([1, 1], 3, 0.5),
    ],
)
def test_share(nodes: list[float], workers: int, each: float) -> None:
    """As large as it can be, with no worker on two nodes (or GPUs)."""
    assert ray_cluster.share(nodes, workers) == each


@pytest.mark.parametrize("address", ["auto", None])
def test_address_where_nobody_is(
    spec: Spec, address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told at once; Ray itself would try for minutes."""
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as bound:  # but not listening
        bound.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{bound.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", nobody)
        with pytest.raises(HarnessError, match=f"^--ray {nobody}: nobody answers there"):
            RayPool(spec, address or nobody)


def test_without_ray(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how to install it."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(HarnessError, match=r"needs Ray .*pip install 'dogerm\[ray\]'"):
        RayPool(spec)


DRIVER = """
import pickle, sys, psutil
from harness.study.ray_pool import RayPool

address, asked, answered = sys.argv[1:]
with open(asked, "rb") as file:
    spec, jobs = pickle.load(file)
pool = RayPool(spec, address, 2, say=lambda line: print(line, file=sys.stderr))
for job in jobs:
    pool.submit(job)
outcomes = [pool.next() for _ in jobs]
seen = psutil.Process().children(recursive=True)
pool.close()
_, left = psutil.wait_procs(seen, timeout=600)
with open(answered, "wb") as file:
    pickle.dump((outcomes, len(seen), [process.cmdline() for process in left]), file)
"""


def drive(spec: Spec, address: str, folder: Path, **environment: str) -> Any:
    """Run `JOBS` in a process of its own; gives its outcomes, what it started and what is left."""
    asked, answered = folder / "asked", folder / "answered"
    asked.write_bytes(pickle.dumps((spec, JOBS)))
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, address, str(asked), str(answered)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("Ray: 2 workers, each with ")
    return *pickle.loads(answered.read_bytes()), done.stderr


@pytest.mark.slow
def test_ray_is_started_and_ended(spec: Spec, expected: dict[str, Any], tmp_path: Path) -> None:
    """Of Ray's processes none is left; and none of them says a word."""
    outcomes, processes, left, said = drive(spec, "local", tmp_path)
    assert measured(outcomes) == expected
    assert processes > 3
    assert left == []
    assert len(said.splitlines()) == 1


@pytest.mark.slow
def test_grid_search_gives_the_same_with_ray(spec: Spec, tmp_path: Path) -> None:
    """`dogerm search`, one of whose actors is killed, against the same without Ray."""
    given = ["recipe.yml", "--groups", "layers:2", "--sampler", "grid", "--step", "0.5"]
    given += ["--baseline", "0:1:0.5", "--model_args", "device=cpu"]
    given += ["--metadata", '{"data_dir": "data"}', "--select", spec.select[0]]
    given += ["--report", spec.report[0], "-o"]
    alone = CliRunner().invoke(search, [*given, str(tmp_path / "alone")])
    assert alone.exit_code == 0, alone.output

    with_ray = [*given, str(tmp_path / "ray"), "--ray", "local", "--workers", "2"]
    running = warm.Process("-m", "harness", "search", *with_ray)
    kill_an_actor(running)
    _, said = running.communicate()
    assert running.returncode == 0, said
    assert "a worker that was starting was lost (its worker process has died)" in said
    assert trials_and_best(tmp_path / "ray") == trials_and_best(tmp_path / "alone")


def kill_an_actor(running: warm.Process) -> None:
    """The first one that is about to load its models: Ray shows what an actor does as its name."""
    while running.poll() is None:
        for process in psutil.Process(running.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if process.cmdline()[:1] == ["ray::Actor.start"]:
                    process.kill()
                    return
        time.sleep(0.05)


def trials_and_best(out: Path) -> list[Any]:
    """What a search found, without what it took."""
    found = json.loads((out / "search.json").read_text("utf-8"))
    trials = [(one["params"], one["state"], one["score"]) for one in found["trials"]]
    return [trials, found["top"], yaml.safe_load(found["best_recipe"])]


@pytest.mark.slow
def test_running_cluster_is_joined(spec: Spec, expected: dict[str, Any], tmp_path: Path) -> None:
    """Its workers are set up like the driver: folder, data, environment; it runs on afterwards."""
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    # Ray's sockets need a short path.
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
        options = ["--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats"]
        sizes = [f"--port={port}", f"--temp-dir={folder}", f"--object-store-memory={80 << 20}"]
        unlike = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "DOGERM_"))}
        head = subprocess.Popen(
            [*start, *options, *sizes],
            cwd="/",
            env={**unlike, "HF_HUB_OFFLINE": "0"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            address = f"127.0.0.1:{port}"
            wait_for(port)
            spec = dataclasses.replace(spec, metadata={})
            outcomes, processes, _, _ = drive(
                spec, "auto", tmp_path, RAY_ADDRESS=address, DOGERM_DATA_DIR="data"
            )
            assert measured(outcomes) == expected
            assert processes == 0  # they are the cluster's own
            assert head.poll() is None
        finally:
            head.terminate()
            head.wait(600)


def wait_for(port: int) -> None:
    """Until something listens there."""
    for _ in range(6000):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"nothing listens on port {port}")
