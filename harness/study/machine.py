# SPDX-License-Identifier: Apache-2.0
"""Where figures come from: the machine, the process's memory, the versions."""

from __future__ import annotations

import os
import platform
import resource
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any


def peak_memory() -> int:
    """The largest resident memory of this process so far, in bytes; mapped files are counted."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def machine() -> dict[str, Any]:
    """The machine as a reader of a figure wants to know it."""
    import psutil
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory": psutil.virtual_memory().total,
        "gpu": ", ".join(gpus) or None,
        "system": f"{platform.system()} {platform.release()}",
    }


def versions() -> dict[str, str]:
    """The versions of this project, Python and the libraries that the figures depend on."""
    names = ("dogerm", "torch", "transformers", "tokenizers", "mergekit", "lm_eval")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
