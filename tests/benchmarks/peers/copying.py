# SPDX-License-Identifier: Apache-2.0
"""What no merge can do without: read all bytes of two models, and write as many as the first has.

python -I -S copying.py OUT FILES_OF_THE_FIRST ... -- FILES_OF_THE_SECOND ...
"""

import os
import sys


def main(out: str, *files: str) -> None:
    """Read the files, and write those before ``--`` again."""
    first = files[: files.index("--")]
    second = files[len(first) + 1 :]
    buffer = bytearray(1 << 20)
    view = memoryview(buffer)
    os.mkdir(out)
    for source in first:
        target = os.path.join(out, os.path.basename(source))
        with open(source, "rb", buffering=0) as file, open(target, "wb", buffering=0) as copy:
            while count := file.readinto(buffer):
                copy.write(view[:count])
    for source in second:
        with open(source, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


if __name__ == "__main__":
    main(*sys.argv[1:])
