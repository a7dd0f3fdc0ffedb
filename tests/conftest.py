"""No network in any test, and both sides registered also where the hook is switched off."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
# Tiny models: a second thread only waits, and waits long where something else runs beside.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

from dogerm_plugin import _autoload

_autoload.install(force=True)
