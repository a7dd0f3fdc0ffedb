"""The installed commands without their imports: a process that has made them forks for each.

What `lm_eval` and `mergekit-yaml` cost in a test is mostly the import of torch and transformers.
One process imports the hosts, started as every other is (the `.pth` file's hook is active); each
command is then a fork of it that runs the console script, or `python -m MODULE`, itself: a real
process with its own pid, arguments, current folder, output and exit status.

A program that starts `python -m MODULE` in its turn, as torchrun does for each of its processes,
asks for it by `sys.executable`. In a fork that runs a module that is `warm_python.py`, which stands
for another fork as long as that runs: it hands on signals and the exit status, and its death is
the fork's. For anything else that it is asked for it becomes the real interpreter. It can be the
Python of Ray's workers, too (`for_ray`), whose own environment is no other than the tests': a pool
with variables of its own, as PYTHONPATH, gets real ones.

Not for a test whose subject is the start: the environment that libraries read when they are
imported, the hook, the order of hashes. `tests/harness/test_warm.py` holds warm and cold against
each other.
"""

from __future__ import annotations

import atexit
import contextlib
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
from typing import Any

MODULE = "-m"
SHIM = "WARM_PYTHON"
MODULES = (
    "mergekit.scripts.run_yaml",
    "lm_eval.__main__",
    "lm_eval.evaluator",
    "lm_eval.models.huggingface",
    "torch._dynamo",
    "transformers.trainer",
    "mergekit.scripts.moe",
    "matplotlib.pyplot",
    "optuna",
    "scipy.stats",
)
# Of all other variables something may have been read when it was imported.
_READ_LATE = (
    *("DOGERM_CACHE", "DOGERM_DATA_DIR", "PYTEST_", "CUDA_VISIBLE_DEVICES"),
    *("RAY_", "PYTHONBREAKPOINT"),  # which Ray sets where it is started
    # which of several processes it is
    *("ACCELERATE_", "GROUP_", "LOCAL_", "MASTER_", "RANK", "ROLE_", "WORLD_SIZE"),
    *("TORCHELASTIC_", "TORCH_NCCL_"),
)
_LARGEST_REQUEST = 1 << 17
_STARTED = dict(os.environ)
_SHIM = Path(__file__).with_name("warm_python.py")


class Process:
    """A command in a process of its own; of `subprocess.Popen`'s methods what tests need.

    Args:
        program: a console script of the environment, as ``lm_eval``; or ``-m``.
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
        given = parent.completed({**os.environ, **START, **(environment or {})})
        script = str(Path(sys.executable).with_name(program))
        if program == MODULE:
            script, given = program, given | parent.for_shim
        request = {
            "argv": [script, *map(str, arguments)],
            "cwd": str(cwd or Path.cwd()),
            "environment": given,
        }
        out, err = os.pipe(), os.pipe()
        self.stdout, self.stderr = (os.fdopen(pipe[0], encoding="utf-8") for pipe in (out, err))
        self._fork = ask(parent.address, request, [parent.nothing, out[1], err[1]])
        for pipe in (out, err):
            os.close(pipe[1])
        answer = self._fork.recv(_LARGEST_REQUEST).decode()
        if not answer.isdecimal():
            raise ValueError(
                f"{answer}: may be read when the hosts are imported, which is done; "
                "start a new process"
            )
        self.pid = int(answer)
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, or minus the signal that ended it."""
        if self.returncode is None:
            if not select.select([self._fork], [], [], timeout)[0]:
                raise TimeoutError(f"process {self.pid} goes on after {timeout} seconds")
            self.returncode = int(self._fork.recv(_LARGEST_REQUEST))
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

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it writes until it ends, to each of its outputs."""
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.append(self.stderr.read()))
        timer = threading.Timer(timeout or 0, self.kill)
        if timeout:
            timer.start()
        reader.start()
        shown = self.stdout.read()
        reader.join()
        timer.cancel()
        self.wait()
        self.stdout.close()
        self.stderr.close()
        self._fork.close()
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


def ask(address: str, request: Mapping[str, object], files: list[int]) -> socket.socket:
    """Have a command started, whose standard input, output and error are `files`.

    Returns:
        What tells the pid, or which variables differ; then the exit status. Its end is the
        command's end.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(address)
    content = json.dumps(request).encode()
    assert len(content) <= _LARGEST_REQUEST
    socket.send_fds(connection, [content], files)
    return connection


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
        self.address = str(Path(self._home.name) / "socket")
        # by its own interpreter: another one's start may change variables, as pyenv's does PATH
        shim = Path(self._home.name) / _SHIM.name
        shim.write_text(f"#!{sys.executable} -IS\n{_SHIM.read_text('utf-8')}", "utf-8")
        shim.chmod(0o755)
        self.nothing = os.open(os.devnull, os.O_RDWR)
        # read at import: one for all commands
        self._own = {} if "HF_HOME" in os.environ else {"HF_HOME": self._home.name}
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(self.address)
        listener.listen(64)
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(listener.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # the commands' own are given with each of them
            env=self.completed({**os.environ, **START}),
            pass_fds=[listener.fileno()],
        )
        listener.close()
        atexit.register(self._end)

    @property
    def for_shim(self) -> dict[str, str]:
        """What `warm_python.py` is told."""
        return {SHIM: json.dumps([self.address, sys.executable])}

    def completed(self, environment: Mapping[str, str]) -> dict[str, str]:
        """A command's variables, with what the imports had besides."""
        return {**self._own, **environment}

    def _end(self) -> None:
        self._process.communicate()
        self._home.cleanup()


def for_ray() -> dict[str, Any]:
    """The runtime environment of a Ray whose workers are forks, too, where they can be."""
    parent = _parent()
    python = str(Path(parent.address).with_name(_SHIM.name))
    return {
        "py_executable": python,
        "env_vars": parent.completed({**START, **parent.for_shim}),
    }


@functools.cache
def _parent() -> _Parent:
    return _Parent()


def _is_late(name: str) -> bool:
    return name.startswith(_READ_LATE)


def _early(environment: Mapping[str, str]) -> dict[str, str]:
    ignored = ("KMP_", "SPT_NOENV", SHIM)  # set by libraries in a process that imports them
    return {
        name: value
        for name, value in environment.items()
        if not _is_late(name) and not name.startswith(ignored)
    }


def _import_hosts() -> None:
    from torch.utils import collect_env

    for name in MODULES:
        __import__(name)
    threads = os.listdir("/proc/self/task")
    if len(threads) > 1:
        raise RuntimeError(f"the imports have started threads, which a fork loses: {len(threads)}")
    # lm-eval has pip and half a dozen programs say it for each run's results
    described = collect_env.get_pretty_env_info()
    collect_env.get_pretty_env_info = lambda: described
    gc.collect()
    gc.freeze()


def _serve(listener: socket.socket, owner: int) -> None:
    """Fork for each request; returns in the children only, when all is as the command has it.

    Args:
        listener: where the requests come.
        owner: a pipe that ends with whom this process serves.
    """
    while True:
        readable, _, _ = select.select([listener, owner], [], [])
        if owner in readable:
            sys.exit()
        connection, _ = listener.accept()
        keeper = os.fork()
        if keeper:
            connection.close()
            _reap()
            continue
        listener.close()
        os.close(owner)
        content, files, *_ = socket.recv_fds(connection, _LARGEST_REQUEST, 3)
        if not content:
            os._exit(1)
        request = json.loads(content)
        if differ := _differing(request["environment"]):
            connection.send(", ".join(differ).encode())
            os._exit(0)
        pid = os.fork()
        if pid == 0:
            connection.close()
            _become(request, files)
            return
        for file in files:
            os.close(file)
        _keep(pid, connection)


def _keep(pid: int, connection: socket.socket) -> None:
    """Tell what becomes of a command; end it when nobody is left to be told."""
    connection.send(str(pid).encode())
    handle = os.pidfd_open(pid)
    if handle not in select.select([handle, connection], [], [])[0]:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(OSError):
        connection.send(str(ended).encode())
    os._exit(0)


def _differing(environment: Mapping[str, str]) -> list[str]:
    """The variables that a command may not have for itself: not as before or after the imports."""
    before, after, theirs = _early(_STARTED), _early(os.environ), _early(environment)
    names = before.keys() | theirs.keys()
    return sorted(n for n in names if theirs.get(n) not in (before.get(n), after.get(n)))


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _become(request: dict[str, Any], files: list[int]) -> None:
    for ours, theirs in zip(files, (0, 1, 2), strict=True):
        os.dup2(ours, theirs)
        os.close(ours)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in filter(_is_late, list(os.environ)):
        del os.environ[name]
    os.environ.update({k: v for k, v in request["environment"].items() if _is_late(k)})
    os.chdir(request["cwd"])
    sys.argv[:] = request["argv"]
    sys.path[0] = os.getcwd() if sys.argv[0] == MODULE else os.path.dirname(sys.argv[0])
    if SHIM in request["environment"] and sys.argv[0] == MODULE:
        os.environ[SHIM] = request["environment"][SHIM]
        address, _ = json.loads(os.environ[SHIM])
        sys.executable = str(Path(address).with_name(_SHIM.name))


def _run() -> None:
    """What this raises, SystemExit too, ends this process as it would end the script."""
    if sys.argv[0] == MODULE:
        del sys.argv[0]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches the commands too
    sys.path[0] = str(Path(sys.executable).parent)  # as for the scripts
    _import_hosts()
    _serve(socket.socket(fileno=int(sys.argv[1])), os.dup(sys.stdin.fileno()))
    _run()
