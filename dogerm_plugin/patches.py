"""The changes that the hook makes to mergekit, one function each.

mergekit 0.1 has no entry points for merge methods, decides the architecture before it asks the
method, and writes straight into the output folder. Every function below runs once, right after
the module that it is given (`_autoload.AFTER`), and changes nothing for other merge methods.
"""

from __future__ import annotations

import functools
from importlib.metadata import version
from types import ModuleType
from typing import Any

TESTED = {"mergekit": ("0.1.5", "0.2"), "transformers": ("5", "6")}


def _refuse_untested_release() -> None:
    from packaging.version import Version

    for library, (low, high) in TESTED.items():
        installed = Version(version(library))
        if not Version(low) <= installed < Version(high):
            raise RuntimeError(
                f"{library} {installed} is installed, tested are >={low},<{high}: "
                f"pip install '{library}>={low},<{high}'"
            )


def register_methods(registry: ModuleType) -> None:
    """Add the methods. Retired when mergekit loads methods from an entry-point group."""
    _refuse_untested_release()
    import dogerm_plugin.methods.registry  # noqa: F401  (registers itself)


def reward_model_layout(architecture: ModuleType) -> None:
    """Lay the output of our methods out by the reward model.

    mergekit refuses a reward model beside a language model (two architectures), or keeps the one
    that comes first in a set. Retired when a method can supply the architecture itself.
    """
    _refuse_untested_release()
    original = architecture.get_architecture_info

    @functools.wraps(original)
    def get_architecture_info(config: Any, options: Any) -> Any:
        from dogerm_plugin.recipe import configuration
        from dogerm_plugin.run import merge

        if configuration.is_ours(config.merge_method):
            return merge.reward_model_architecture(config, options)
        return original(config, options)

    architecture.get_architecture_info = get_architecture_info  # type: ignore[attr-defined]


def finished_merge_or_none(mergekit_merge: ModuleType) -> None:
    """Stage and verify the output of our methods. Retired when `run_merge` writes atomically."""
    _refuse_untested_release()
    original = mergekit_merge.run_merge
    # Where mergekit was imported before the hook (`python -m`, a notebook), this module holds
    # the name from before `reward_model_layout`.
    from mergekit import architecture

    mergekit_merge.get_architecture_info = architecture.get_architecture_info  # type: ignore[attr-defined]

    @functools.wraps(original)
    def run_merge(
        merge_config: Any, out_path: str, options: Any, config_source: str | None = None
    ) -> None:
        from dogerm_plugin.run import merge

        merge.run(original, merge_config, out_path, options, config_source)

    mergekit_merge.run_merge = run_merge  # type: ignore[attr-defined]


def align_by_gather(plan: ModuleType) -> None:
    """Align rows while our methods merge them, not in a Python loop over all rows before.

    Retired when mergekit's `PermutedVocabulary` gathers rows, and a few at a time.
    """
    _refuse_untested_release()
    original = plan.ExecuteMergeMethodTask

    def task(**fields: Any) -> Any:
        from dogerm_plugin.host import alignment

        kind = alignment.MergeAligned if alignment.is_ours(**fields) else original
        return kind(**fields)

    plan.ExecuteMergeMethodTask = task  # type: ignore[attr-defined]


def check_recipe_first(script: ModuleType) -> None:
    """Check the recipe file before the command parses it.

    mergekit's schema drops unknown keys, and a file that is not YAML ends in a traceback; nor does
    it know where the file lay whose paths it is given. A router file, whose experts are recipes, is
    several merges in one run. Retired when the schema forbids extra keys, the command reports YAML
    errors in one line, and `run_merge` is told the recipe's folder; the router file's part when the
    command asks a registry who reads a file.
    """
    _refuse_untested_release()
    from mergekit import merge as mergekit_merge

    script.run_merge = mergekit_merge.run_merge  # type: ignore[attr-defined]
    command = script.main
    original = command.callback

    @functools.wraps(original)
    def callback(*args: Any, **kwargs: Any) -> Any:
        from dogerm_plugin.recipe import keys, paths
        from dogerm_plugin.run import routed

        if command.name == "mergekit-yaml" and routed.is_router_file(kwargs["config_file"]):
            from mergekit.options import MergeOptions

            told = {key: kwargs[key] for key in MergeOptions.model_fields if key in kwargs}
            options = MergeOptions(**told)
            options.apply_global_options()
            routed.merge(kwargs["config_file"], kwargs["out_path"], options)
            return None
        keys.check_file(kwargs["config_file"], several=command.name != "mergekit-yaml")
        with paths.of_file(kwargs["config_file"]):
            return original(*args, **kwargs)

    command.callback = callback


def mixture_of_reward_experts(script: ModuleType) -> None:
    """Keep the reward head where `mergekit-moe` is given a reward model as its base.

    mergekit writes a causal LM without the head, and exits with status 0. Retired when its output
    architectures know `...ForSequenceClassification`, and the command writes atomically.
    """
    _refuse_untested_release()
    command, build = script.main.callback, script.build

    @functools.wraps(command)
    def callback(**given: Any) -> Any:
        from dogerm_plugin.run.experts import command as ours

        return ours.command(command, given)

    @functools.wraps(build)
    def built(config: Any, out_path: str, merge_options: Any, *args: Any, **kwargs: Any) -> Any:
        from dogerm_plugin.run.experts import command as ours

        kwargs |= dict(zip(_BUILD, args, strict=False))
        return ours.called(build, config, out_path, merge_options, **kwargs)

    script.main.callback = callback
    script.build = built  # type: ignore[attr-defined]


# What `mergekit.scripts.moe.build` takes by position after its first three.
_BUILD = ("load_in_4bit", "load_in_8bit", "device", "allow_all_same", "verbose")
