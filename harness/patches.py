"""The changes that the hook makes to lm-evaluation-harness, one function each.

lm-eval 0.4.13 decides on the model before it loads tasks and looks for tasks in its own folder
and `--include_path` only. Every function below runs once, right after the module that it is given
(`dogerm_plugin._autoload.AFTER`).
"""

from __future__ import annotations

import functools
import inspect
import json
import sys
from collections.abc import Iterable
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.models import NAMES
from harness.tasks.base.parsed_configs import let_list_what_is_kept, let_parse_once, parsed_once

TESTED = ("0.4.13", "0.5")


def _refuse_untested_release() -> None:
    from packaging.version import Version

    installed = Version(version("lm_eval"))
    if not Version(TESTED[0]) <= installed < Version(TESTED[1]):
        raise RuntimeError(
            f"lm-eval {installed} is installed, tested are >={TESTED[0]},<{TESTED[1]}: "
            f"pip install 'lm-eval>={TESTED[0]},<{TESTED[1]}'"
        )


def register_models(_: ModuleType) -> None:
    """Add `--model reward`. Retired by the entry-point group `lm_eval.models` after 0.4.13."""
    _refuse_untested_release()
    _tell_users_in_one_line()
    from lm_eval.api.registry import model_registry

    for name, target in NAMES.items():
        if name not in model_registry:
            model_registry.register(name, target=target)


def _tell_users_in_one_line() -> None:
    """Print a `HarnessError` that nobody catches as one line, without the traceback.

    lm-eval has no error type for users' mistakes: whatever a model or a task raises ends in a
    traceback. The exit status stays 1; other exceptions are shown as before.
    """
    before = sys.excepthook
    if getattr(before, "tells_users", False):
        return

    def excepthook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        from harness.errors import HarnessError

        if issubclass(kind, HarnessError):
            print(f"Error: {' '.join(str(error).split())}", file=sys.stderr)
        else:
            before(kind, error, trace)

    excepthook.tells_users = True  # type: ignore[attr-defined]
    sys.excepthook = excepthook


def keep_answers(model: ModuleType) -> None:
    """Keep this project's answers as JSON where lm-eval's `--use_cache` pickles.

    Reading a pickle runs what its writer put into it, and a damaged file ends in SQLite's
    traceback. Other models' caches stay as they are. Retired when lm-eval lets a model say how its
    answers are kept.
    """
    _refuse_untested_release()
    caching: Any = model.CachingLM

    def __new__(cls: Any, lm: Any, *args: Any, **kwargs: Any) -> Any:
        if cls is caching and getattr(type(lm), "KEEPS_ANSWERS", False):
            from harness.models.score.kept_answers import KeptAnswers as cls
        return object.__new__(cls)

    caching.__new__ = __new__


def register_tasks(manager: ModuleType) -> None:
    """Add harness/tasks to lm-eval's own, and let names that overlap be asked for together.

    The first is retired when tasks have an entry-point group, the second when `TaskManager.load`
    takes a task that stands in two groups. The index has its files from `parsed_configs`, which is
    retired when lm-eval no longer parses all of them in every process.
    """
    _refuse_untested_release()
    let_parse_once()
    manager.TaskIndex = _with_our_tasks(manager)  # type: ignore[attr-defined]
    check = manager.TaskManager._check_duplicates

    @functools.wraps(check)
    def _check_duplicates(built: list[Any]) -> None:
        from harness.tasks.base.overlap import shared_once

        check(shared_once(built))

    manager.TaskManager._check_duplicates = staticmethod(_check_duplicates)


def adds_tasks(manager: ModuleType) -> bool:
    """Whether `register_tasks` has run: tasks of ours are found beside lm-eval's own."""
    return bool(manager.TaskIndex.__module__ == __name__)


def _with_our_tasks(manager: ModuleType) -> type:
    """lm-eval's index of tasks, with ours wherever it has its defaults.

    Where a caller leaves the defaults out, ours are left out; `include_path` stays the caller's.
    """
    theirs, ours = Path(str(manager.__file__)).parent, Path(__file__).parent / "tasks"
    let_list_what_is_kept(manager, (theirs, ours))
    original: type = manager.TaskIndex

    class TaskIndex(original):
        @staticmethod
        def build(paths: Iterable[Path], **options: Any) -> Any:
            # Right after the defaults: a path that the user gives comes later and wins.
            both = [[path, ours] if path == theirs else [path] for path in paths]
            with parsed_once((theirs, ours)):
                index: Any = original.build(list(chain.from_iterable(both)), **options)  # type: ignore[attr-defined]
            return index

    return TaskIndex


def check_run(evaluator: ModuleType) -> None:
    """Check a run's data and options: of our models before they are loaded, of our tasks in time.

    Retired when lm-eval loads tasks before the model, and checks `--limit` and `--samples` itself.
    """
    _refuse_untested_release()
    _tell_users_in_one_line()
    _read_data_first(evaluator)
    _check_run_options(evaluator)


def _read_data_first(evaluator: ModuleType) -> None:
    """A run of one of our models, by its name: its tasks are loaded before it."""
    original: Any = evaluator.simple_evaluate
    signature = inspect.signature(original)

    @functools.wraps(original)
    def simple_evaluate(*args: Any, **kwargs: Any) -> Any:
        from harness.tasks.base.data_first import load_first

        given = signature.bind(*args, **kwargs).arguments
        manager, named = given.get("task_manager"), given.get("model") in NAMES
        if manager is not None and named and given.get("tasks"):
            load_first(manager, given["tasks"], given.get("limit"), given.get("samples"))
        return original(*args, **kwargs)

    evaluator.simple_evaluate = simple_evaluate  # type: ignore[attr-defined]


def _check_run_options(evaluator: ModuleType) -> None:
    """Check `--limit` and `--samples` where a run has a task of ours; others are run as ever."""
    original: Any = evaluator.evaluate
    signature = inspect.signature(original)

    @functools.wraps(original)
    def evaluate(*args: Any, **kwargs: Any) -> Any:
        from harness.tasks.base import run_options

        given = signature.bind(*args, **kwargs)
        loaded = given.arguments.get("task_dict")
        if run_options.ours(loaded):
            run_options.check_limit(given.arguments.get("limit"))
            samples = given.arguments.get("samples")
            given.arguments["samples"] = run_options.checked_samples(samples, loaded)
        return original(*given.args, **given.kwargs)

    evaluator.evaluate = evaluate  # type: ignore[attr-defined]


def tell_config_mistakes(config: ModuleType) -> None:
    """Tell what lm-eval refuses in a command line for our models in one line.

    Such as a file of `--samples` that is no JSON, or `--log_samples` without `--output_path`.
    Retired when lm-eval has an error type for users' mistakes.
    """
    _refuse_untested_release()
    kind: Any = config.EvaluatorConfig
    original = kind._configure

    @functools.wraps(original)
    def _configure(self: Any) -> Any:
        try:
            return original(self)
        except (ValueError, TypeError, OSError) as error:
            if self.model not in NAMES:
                raise
            from harness.errors import HarnessError, first_line

            _tell_users_in_one_line()
            about = f"--samples {self.samples}: " if _is_json(error) else ""
            raise HarnessError(f"{about}{first_line(error)}") from error

    kind._configure = _configure


def _is_json(error: Exception) -> bool:
    return isinstance(error, json.JSONDecodeError | UnicodeDecodeError)


def language_models(huggingface: ModuleType) -> None:
    """Let `--model hf` refuse reward models, share prompts, and say which rows it truncated."""
    _refuse_untested_release()
    from harness.models import patched_hf

    patched_hf.refuse_reward_models(huggingface.HFLM)
    patched_hf.tell_truncation(huggingface.HFLM)


def saved_results_are_whole(tracker: ModuleType) -> None:
    """Look at the files of a run of our models or tasks once lm-eval has saved them.

    Its tracker logs a warning where the disk is full, and leaves empty or cut files. Retired when
    it raises.
    """
    _refuse_untested_release()
    kind = tracker.EvaluationTracker
    save_results, save_samples = kind.save_results_aggregated, kind.save_results_samples

    @functools.wraps(save_results)
    def save_results_aggregated(self: Any, results: Any, *args: Any, **kwargs: Any) -> None:
        from harness.tasks.base.unsaved import UNSAVED

        save_results(self, results, *args, **kwargs)
        UNSAVED.results(self, results)

    @functools.wraps(save_samples)
    def save_results_samples(self: Any, task_name: str, samples: Any) -> None:
        from harness.tasks.base.unsaved import UNSAVED

        save_samples(self, task_name, samples)
        UNSAVED.samples(self, task_name, len(samples))

    kind.save_results_aggregated = save_results_aggregated
    kind.save_results_samples = save_results_samples


def unsaved_results_fail(run: ModuleType) -> None:
    """End the command with a line and status 1 where a file is not whole, its tables printed.

    Retired with `saved_results_are_whole`.
    """
    _refuse_untested_release()
    execute = run.Run._execute

    @functools.wraps(execute)
    def _execute(args: Any) -> None:
        from harness.tasks.base.unsaved import UNSAVED

        execute(args)
        UNSAVED.tell()

    run.Run._execute = staticmethod(_execute)
