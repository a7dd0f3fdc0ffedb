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

    def excepthook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        from harness.errors import HarnessError

        if issubclass(kind, HarnessError):
            print(f"Error: {' '.join(str(error).split())}", file=sys.stderr)
        else:
            before(kind, error, trace)

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


def check_run_options(evaluator: ModuleType) -> None:
    """Check `--limit` and `--samples` where a run has a task of ours.

    lm-eval's own tasks alone are run as ever. Retired when lm-eval checks them itself.
    """
    _refuse_untested_release()
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
    _refuse_reward_models(huggingface.HFLM)
    _tell_truncation(huggingface.HFLM)


def _refuse_reward_models(hflm: Any) -> None:
    """Refuse a reward model, whose language-model head would be random.

    Where the config tells, before the weights are loaded; else by what was missing in them. It is
    the class to load that decides: our own models, which set another one, and those of other
    packages that do, pass. Retired when lm-eval's `hf` refuses a checkpoint that lacks the weights
    of its head.
    """
    get_backend, create_model = hflm._get_backend, hflm._create_model

    def guarded(self: Any) -> bool:
        import transformers

        classes = transformers.AutoModelForCausalLM, transformers.AutoModelForSeq2SeqLM
        return self.AUTO_MODEL_CLASS in classes

    def way_out(name: str) -> str:
        return f"use: lm_eval --model reward --model_args pretrained={name}"

    @functools.wraps(get_backend)
    def _get_backend(self: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        get_backend(self, config, *args, **kwargs)
        from harness.models.language_model import refuse_reward_model

        if guarded(self):
            name = str(getattr(config, "_name_or_path", "") or "the model")
            refuse_reward_model(config, name, way_out(name))

    @functools.wraps(create_model)
    def _create_model(self: Any, pretrained: str, *args: Any, **kwargs: Any) -> None:
        from harness.models import language_model

        if not guarded(self) or kwargs.get("gguf_file"):
            create_model(self, pretrained, *args, **kwargs)
            return
        auto_class = self.AUTO_MODEL_CLASS
        self.AUTO_MODEL_CLASS = loader = language_model.LanguageModelLoader(auto_class)
        try:
            create_model(self, pretrained, *args, **kwargs)
        finally:
            self.AUTO_MODEL_CLASS = auto_class
        if loader.loaded:  # not by autogptq or gptqmodel
            said = pretrained, way_out(pretrained), kwargs
            language_model.refuse_random_head(loader, self._model.config, *said)
            language_model.refuse_reward_head(loader, self._model, *said)

    hflm._get_backend = _get_backend
    hflm._create_model = _create_model


def _tell_truncation(hflm: Any) -> None:
    """Count truncated rows of our tasks, and share prompts. Retired when lm-eval does both."""
    original = hflm._loglikelihood_tokens

    @functools.wraps(original)
    def _loglikelihood_tokens(self: Any, requests: Any, *args: Any, **kwargs: Any) -> Any:
        from harness.models.shared_likelihood import answers

        return answers(self, requests, functools.partial(original, self), *args, **kwargs)

    hflm._loglikelihood_tokens = _loglikelihood_tokens


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
