"""`python -m MODULE ...`, or a worker of Ray, by a fork of `tests.warm`; else by real Python."""

import json
import os
import signal
import socket
import sys

address, real = json.loads(os.environ["WARM_PYTHON"])
arguments = sys.argv[1:]
words = arguments[1:] if arguments[:1] == ["-u"] else arguments
of_ray = bool(words) and words[0].endswith("/ray/_private/workers/default_worker.py")
environment = dict(os.environ)
if of_ray:  # an actor tells torch itself how many threads it has
    environment["OMP_NUM_THREADS"] = "1"


def forked():
    """The exit status of the fork; None where it can't be one."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(address)
    request = {"argv": words, "cwd": os.getcwd(), "environment": environment}
    socket.send_fds(connection, [json.dumps(request).encode()], [0, 1, 2])
    answer = connection.recv(1 << 17)
    if not answer.isdigit():
        return None
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os.kill(int(answer), number))
    return int(connection.recv(1 << 17))


status = forked() if of_ray or words[:1] == ["-m"] else None
if status is None:
    del os.environ["WARM_PYTHON"]
    os.execv(real, [real, *arguments])
if status < 0:
    if status != -signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
sys.exit(status)
