"""A pytest plugin for lm-eval's suite: a file of its own tasks is parsed once.

Each TaskManager of some fifty in the suite walks 13,000 of them.
"""

import functools
import pickle
from pathlib import Path
from typing import Any

import lm_eval.tasks
import pytest
from lm_eval.tasks import _index

OWN = Path(lm_eval.tasks.__file__).parent
parsed: dict[tuple[Path, bool], bytes] = {}


@pytest.fixture(scope="session", autouse=True)
def parsed_once() -> Any:
    load = _index.load_yaml

    @functools.wraps(load)
    def once(path: Path, *, resolve_func: bool = True, recursive: bool = True) -> Any:
        if resolve_func or not path.is_relative_to(OWN):
            return load(path, resolve_func=resolve_func, recursive=recursive)
        if (path, recursive) not in parsed:
            found = load(path, resolve_func=False, recursive=recursive)
            parsed[path, recursive] = pickle.dumps(found)
        return pickle.loads(parsed[path, recursive])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_index, "load_yaml", once)
        yield
