"""The hook that registers this project in the unchanged `mergekit-yaml` and `lm_eval`.

Neither host looks for plugins when it starts, so a `.pth` line runs `install` in every
interpreter of the environment. It puts one finder on `sys.meta_path`, which does nothing until a
host imports one of the modules named in `AFTER`; the matching function then runs right after
that module's own code. Nothing but `os` and `sys` is imported before that moment.

`DOGERM_AUTOLOAD=0` switches the hook off.
"""

import os
import sys

# host module -> the function that runs right after it, called with that module
AFTER = {
    "mergekit.architecture": "dogerm_plugin.patches:reward_model_layout",
    "mergekit.merge_methods.registry": "dogerm_plugin.patches:register_methods",
    "mergekit.plan": "dogerm_plugin.patches:align_by_gather",
    "mergekit.merge": "dogerm_plugin.patches:finished_merge_or_none",
    "mergekit.scripts.run_yaml": "dogerm_plugin.patches:check_recipe_first",
    "mergekit.scripts.multimerge": "dogerm_plugin.patches:check_recipe_first",
    "mergekit.scripts.moe": "dogerm_plugin.patches:mixture_of_reward_experts",
    "lm_eval.api.model": "harness.patches:keep_answers",
    "lm_eval.config.evaluate_config": "harness.patches:tell_config_mistakes",
    "lm_eval.evaluator": "harness.patches:check_run",
    "lm_eval.models": "harness.patches:register_models",
    "lm_eval.models.huggingface": "harness.patches:language_models",
    "lm_eval.tasks.manager": "harness.patches:register_tasks",
    "lm_eval.loggers.evaluation_tracker": "harness.patches:saved_results_are_whole",
    "lm_eval._cli.run": "harness.patches:unsaved_results_fail",
}
_refused: set = set()


def _run(target, module):
    """Call one hook function; a failure costs one printed line, never the host."""
    host = module.__name__.partition(".")[0]
    if host in _refused:
        return
    try:
        name, _, function = target.partition(":")
        __import__(name)
        getattr(sys.modules[name], function)(module)
    except Exception as error:
        _refused.add(host)
        print(f"dogerm: not active in {host}: {_one_line(error)}", file=sys.stderr)


def _one_line(error):
    return " ".join(f"{type(error).__name__}: {error}".split())


class _Finder:
    """Finds nothing of its own: lets the other finders work, then adds the hook to the result."""

    def find_spec(self, name, path=None, target=None):
        after = AFTER.get(name)
        if after is None:
            return None
        for finder in sys.meta_path:
            find_spec = getattr(finder, "find_spec", None)
            if finder is self or isinstance(finder, _Finder) or find_spec is None:
                continue
            spec = find_spec(name, path, target)
            if spec is not None:
                break
        else:
            return None
        loader = spec.loader
        execute = getattr(loader, "exec_module", None)
        if execute is None:
            return spec

        # On the instance, not in a wrapper: the loader keeps its type, so that
        # inspect.getsource and importlib.resources work on the host as before.
        def exec_module(module):
            # An import makes much and drops little: to look for what it dropped takes a fifth of
            # the time of mergekit's imports.
            import gc

            collects = gc.isenabled()
            gc.disable()
            try:
                execute(module)
            finally:
                if collects:
                    gc.enable()
            if module.__name__ == name:
                _run(after, module)

        try:
            loader.exec_module = exec_module
        except AttributeError:
            print(f"dogerm: not active in {name}: its loader takes no hook", file=sys.stderr)
        return spec


def install(force=False):
    """Put the finder on `sys.meta_path`, and catch up with hosts that are imported already.

    Safe to call more than once. `force` ignores `DOGERM_AUTOLOAD=0` (for `python -m`).
    """
    if os.environ.get("DOGERM_AUTOLOAD") == "0" and not force:
        return
    if is_active():
        return
    sys.meta_path.insert(0, _Finder())
    for name, after in AFTER.items():
        module = sys.modules.get(name)
        if module is not None and not getattr(module.__spec__, "_initializing", False):
            _run(after, module)


def is_active():
    """Whether the finder of this module is on `sys.meta_path`."""
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)
