"""No network in any test, and both sides registered also where the hook is switched off."""

import gc
import os
import shutil
import tempfile
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
# Tiny models: a second thread only waits, and waits long where something else runs beside.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

from dogerm_plugin import _autoload

_autoload.install(force=True)


_CACHE = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Every process of the session shares one cache, an empty one at first.

    Files go to pytest-xdist's workers in the order of the collection, not by how many tests.
    """
    if config.pluginmanager.hasplugin("xdist"):
        config.option.loadscopereorder = False
    if not hasattr(config, "workerinput"):
        # pytest-xdist's workers inherit the variable.
        config.stash[_CACHE] = os.environ["DOGERM_CACHE"] = tempfile.mkdtemp(prefix="dogerm-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the session's cache."""
    if _CACHE in config.stash:
        shutil.rmtree(config.stash[_CACHE], ignore_errors=True)


# What `pytest --durations` says of whole files, longest first; but not both of Ray's at once, which
# have many processes at work, or none.
LONGEST = (
    "harness/study/test_ray_pool.py",
    "test_packaging.py",
    "hosts/test_lm_eval.py",
    "harness/models/routing/test_ray_experts.py",
    "dogerm_plugin/run/test_merge.py",
    "harness/demo/test_demo.py",
    "harness/test_warm.py",
    "dogerm_plugin/run/experts/test_experts.py",
    "dogerm_plugin/anatomy/test_architectures.py",
    "hosts/test_mergekit.py",
    "harness/models/load/test_saved_layouts.py",
    "harness/models/row_files/test_score.py",
    "dogerm_plugin/run/test_conversions.py",
    "harness/models/load/test_processes.py",
    "harness/bon/test_smollm2.py",
    "harness/study/test_search.py",
    "dogerm_plugin/run/test_output.py",
    "dogerm_plugin/run/test_in_memory.py",
    "harness/study/test_sweep.py",
    "harness/models/test_live.py",
    "harness/test_command.py",
    "harness/bon/test_command.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first, so that no worker ends long after the others."""
    here = Path(__file__).parent
    places = {here / name: place for place, name in enumerate(LONGEST)}
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def rank(item: pytest.Item) -> int:
        return places.get(item.path, len(places) if item.path in slow else len(places) + 1)

    items.sort(key=rank)


def pytest_collection_finish() -> None:
    """What the imports have made stays: no garbage collection has to walk it again."""
    gc.collect()
    gc.freeze()
