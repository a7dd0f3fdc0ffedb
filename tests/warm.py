"""The installed commands without their imports: a process that has made them forks for each.

What `lm_eval` and `mergekit-yaml` cost in a test is mostly the import of torch and transformers.
One process imports the hosts, started as every other is (the `.pth` file's hook is active); each
command is then a fork of it that runs the console script itself: a real process with its own pid,
arguments, current folder, output and exit status.

Not for a test whose subject is the start: the environment that libraries read when they are
imported, the hook, the order of hashes. `tests/test_warm.py` holds warm and cold against each
other.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

MODULES = (
    "mergekit.scripts.run_yaml",
    "lm_eval.__main__",
    "lm_eval.evaluator",
    "lm_eval.models.huggingface",
    "torch._dynamo",
)
# Of all other variables something may have been read when it was imported.
_READ_LATE = ("DOGERM_CACHE", "DOGERM_DATA_DIR", "PYTEST_")
_LARGEST_REQUEST = 1 << 17


class Process:
    """A command in a process of its own; of `subprocess.Popen`'s methods what tests need.

    Args:
        program: a console script of the environment, as ``lm_eval``.
        arguments: what follows it.
        cwd: the current folder; this process's where left out.
        environment: changes to this process's variables.

    Raises:
        ValueError: a variable differs from what the hosts were imported under.
    """

    def __init__(
        self,
        program: str,
        *arguments: object,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        parent = _parent()
        script = str(Path(sys.executable).with_name(program))
        request = {
            "argv": [script, *map(str, arguments)],
            "cwd": str(cwd or Path.cwd()),
            "environment": parent.late({**os.environ, **START, **(environment or {})}),
        }
        out, err, status = (os.pipe() for _ in range(3))
        parent.send(request, [out[1], err[1], status[1]])
        self.stdout, self.stderr = (os.fdopen(pipe[0], encoding="utf-8") for pipe in (out, err))
        self._status = os.fdopen(status[0])
        self.pid = int(self._status.readline())
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, or minus the signal that ended it."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise TimeoutError(f"process {self.pid} goes on after {timeout} seconds")
            self.returncode = int(self._status.readline())
        return self.returncode

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        try:
            return self.wait(0)
        except TimeoutError:
            return None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it writes until it ends, to each of its outputs."""
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.append(self.stderr.read()))
        timer = threading.Timer(timeout or 0, self.send_signal, [signal.SIGKILL])
        if timeout:
            timer.start()
        reader.start()
        shown = self.stdout.read()
        reader.join()
        timer.cancel()
        self.wait()
        for file in (self.stdout, self.stderr, self._status):
            file.close()
        return shown, errors[0]


def run(
    program: str,
    *arguments: object,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """`Process` run to its end; killed after ten minutes."""
    process = Process(program, *arguments, cwd=cwd, environment=environment)
    shown, errors = process.communicate(timeout=600)
    return subprocess.CompletedProcess([program, *arguments], process.wait(), shown, errors)


START = {
    "DOGERM_AUTOLOAD": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",  # no pool of threads, which a fork would lose
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # pyarrow's own thread
}


class _Parent:
    """The process that forks; it ends with this one."""

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="dogerm-warm-")
        # read at import: one for all commands
        self._own = {} if "HF_HOME" in os.environ else {"HF_HOME": self._home.name}
        environment = {**os.environ, **START, **self._own}
        self._early = _early(environment)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the commands' own are given with each of them
            env=environment,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        atexit.register(self._end)

    def late(self, environment: dict[str, str]) -> dict[str, str]:
        """The variables that a command may have for itself, all others being as they were."""
        wanted = {**self._own, **_early(environment)}
        differ = sorted(
            name
            for name in wanted.keys() | self._early.keys()
            if wanted.get(name) != self._early.get(name)
        )
        if differ:
            raise ValueError(
                f"{', '.join(differ)}: may be read when the hosts are imported, which is done; "
                "start a new process"
            )
        return {name: value for name, value in environment.items() if _is_late(name)}

    def send(self, request: dict[str, object], files: list[int]) -> None:
        """Have a command started; `files` are closed here."""
        content = json.dumps(request).encode()
        assert len(content) <= _LARGEST_REQUEST
        socket.send_fds(self._control, [content], files)
        for file in files:
            os.close(file)

    def _end(self) -> None:
        self._control.close()
        self._process.wait()
        self._home.cleanup()


@functools.cache
def _parent() -> _Parent:
    return _Parent()


def _is_late(name: str) -> bool:
    return name.startswith(_READ_LATE)


def _early(environment: Mapping[str, str]) -> dict[str, str]:
    ignored = ("KMP_",)  # set by libraries in a process that imports them
    return {
        name: value
        for name, value in environment.items()
        if not _is_late(name) and not name.startswith(ignored)
    }


def _import_hosts() -> None:
    for name in MODULES:
        __import__(name)
    threads = os.listdir("/proc/self/task")
    if len(threads) > 1:
        raise RuntimeError(f"the imports have started threads, which a fork loses: {len(threads)}")
    gc.collect()
    gc.freeze()


def _serve(control: socket.socket) -> None:
    """Fork for each request; returns in the children only, when all is as the command has it."""
    while True:
        content, files, *_ = socket.recv_fds(control, _LARGEST_REQUEST, 3)
        if not content:
            sys.exit()
        keeper = os.fork()
        if keeper:
            for file in files:
                os.close(file)
            _reap()
            continue
        *outputs, status = files
        pid = os.fork()
        if pid == 0:
            os.close(status)
            control.close()
            _become(json.loads(content), outputs)
            return
        for file in outputs:
            os.close(file)
        os.write(status, f"{pid}\n".encode())
        ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.write(status, f"{ended}\n".encode())
        os._exit(0)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _become(request: dict[str, object], outputs: list[int]) -> None:
    for ours, theirs in zip(outputs, (1, 2), strict=True):
        os.dup2(ours, theirs)
        os.close(ours)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in filter(_is_late, list(os.environ)):
        del os.environ[name]
    os.environ.update(request["environment"])  # type: ignore[call-overload]
    os.chdir(str(request["cwd"]))
    sys.argv[:] = request["argv"]  # type: ignore[call-overload]


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches the commands too
    sys.path[0] = str(Path(sys.executable).parent)  # as for the scripts
    _import_hosts()
    _serve(socket.socket(fileno=int(sys.argv[1])))
    # What it raises, SystemExit too, ends this process as it would end the script.
    runpy.run_path(sys.argv[0], run_name="__main__")
