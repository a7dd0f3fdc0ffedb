# SPDX-License-Identifier: Apache-2.0
"""Reads a checkpoint's JSON files (config, index) as transformers does: UTF-8, an object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dogerm_plugin.errors import MergeError
from dogerm_plugin.files.plain_files import require_plain

_BOM = "\ufeff"


def read_object(file: Path) -> dict[str, Any]:
    """The object that a file holds.

    Raises:
        MergeError: it is no plain file, not UTF-8, not JSON, too deep or with too long a number for
            Python's reader, or no object.
    """
    require_plain(file)
    try:
        text = file.read_bytes().decode("utf-8")
    except OSError as error:
        raise MergeError(f"{file}: can't be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise MergeError(f"{file}: is not UTF-8 text ({error}); fetch it again") from None
    if text.startswith(_BOM):
        raise MergeError(
            f"{file}: begins with a byte order mark, which transformers does not read; save it as "
            "UTF-8 without one"
        )
    try:
        content = json.loads(text)
    except RecursionError:
        raise MergeError(f"{file}: is nested too deep to be read; fetch it again") from None
    except ValueError as error:  # not JSON, or more digits than Python takes
        raise MergeError(
            f"{file}: is not JSON, or truncated ({str(error).split(';')[0]}); fetch it again"
        ) from None
    if not isinstance(content, dict):
        kind = "list" if isinstance(content, list) else type(content).__name__
        raise MergeError(f"{file}: holds a JSON {kind}, expected an object; fetch it again")
    return content
