# SPDX-License-Identifier: Apache-2.0
"""What the YAML of a task names, for `dogerm check`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.errors import HarnessError
from harness.rows.source import Source


def of_yaml(path: Path) -> Source:
    """What the YAML of a task names.

    Raises:
        HarnessError: it is no such YAML.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Reads lm-eval's ``!function`` as text."""

    Loader.add_constructor("!function", lambda loader, node: str(node.value))
    try:
        settings = yaml.load(path.read_text("utf-8"), Loader)  # a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise HarnessError(f"{path} can't be read: {' '.join(str(error).split())}") from error
    if not isinstance(settings, Mapping) or not isinstance(settings.get("dataset_path"), str):
        raise HarnessError(f"{path} has no dataset_path; expected the YAML of a preference task")
    given = Path(settings["dataset_path"]).expanduser()
    places = [path.parent / given, given]
    place = next((str(place) for place in places if place.exists()), settings["dataset_path"])
    columns = settings.get("columns") or {}
    split, name = str(settings.get("test_split") or "test"), settings.get("dataset_name")
    allowed = settings.get("allow_markup") is True
    return Source(place, split, name, columns, allowed, str(settings.get("task") or ""))
