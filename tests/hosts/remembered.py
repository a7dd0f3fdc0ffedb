"""A pytest plugin for lm-eval's suite: a file of its own tasks is parsed once.

Each TaskManager of some fifty in the suite walks 13,000 of them.
"""

import functools
import os
import pickle
from pathlib import Path
from typing import Any

import lm_eval.tasks
import pytest
from lm_eval.tasks import _index

OWN = f"{Path(lm_eval.tasks.__file__).parent}{os.sep}"
parsed: dict[tuple[str, bool], bytes] = {}


@pytest.fixture(scope="session", autouse=True)
def parsed_once() -> Any:
    load = _index.load_yaml

    @functools.wraps(load)
    def once(path: Path, *, resolve_func: bool = True, recursive: bool = True) -> Any:
        name = str(path)
        if resolve_func or not name.startswith(OWN):
            return load(path, resolve_func=resolve_func, recursive=recursive)
        if (name, recursive) not in parsed:
            found = load(path, resolve_func=False, recursive=recursive)
            parsed[name, recursive] = pickle.dumps(found)
        return pickle.loads(parsed[name, recursive])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_index, "load_yaml", once)
        yield
