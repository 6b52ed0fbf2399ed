"""Worker processes as tests start them: forks of one process that has imported their libraries, seconds less each."""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NoReturn

import pytest
from slimfront.search import remote
from slimfront.search.worker import Server, _imported, main

from tests.haste import hurry

Spawn = Callable[[dict[str, str]], "subprocess.Popen[str] | Child"]
# Libraries read these when they are imported.
EARLY = ("HF_", "OMP_", "TRANSFORMERS_", "PYTHON", "LD_")
LARGEST = 1 << 20


class Child:
    """A worker as :class:`subprocess.Popen` shows a process: it is no child of this one, so its end is told.

    Args:
        place: Where the nursery listens.
        environment: The worker's.
    """

    def __init__(self, place: Path, environment: dict[str, str]) -> None:
        self._link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._link.connect(str(place))
        (read, given), (answers, written) = os.pipe(), os.pipe()
        message = json.dumps({"environment": environment, "folder": str(Path.cwd())}).encode()
        ends = array.array("i", [read, written])
        self._link.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, ends)])
        os.close(read)
        os.close(written)
        self.stdin: IO[str] = os.fdopen(given, "w", encoding="utf-8")
        self.stdout: IO[str] = os.fdopen(answers, encoding="utf-8")
        word, _, number = self._link.recv(64).decode().partition(" ")
        if word != "pid":
            raise ConnectionError(f"the nursery started no worker: {word}")
        self.pid = int(number)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status; None while the process lives."""
        if self.returncode is None and select.select([self._link], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self) -> int:
        """Return the exit status, once there is one."""
        if self.returncode is None:
            self.returncode = int(self._link.recv(64) or -signal.SIGKILL)
        return self.returncode


@contextlib.contextmanager
def forked_workers(place: Path) -> Iterator[None]:
    """Let this process, and its forks, start workers from a nursery that listens at a place.

    Where a test has changed what libraries read when they are imported, or what a worker is, its worker is a process
    of its own.
    """
    before, early = remote._spawn, _early(dict(os.environ))

    def spawn(more: dict[str, str]) -> subprocess.Popen[str] | Child:
        environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", **more}
        if remote.WORKER == "slimfront.search.worker" and _early(environment) == early:
            with contextlib.suppress(OSError):
                # It is not there while it imports its own libraries.
                return Child(place, environment)
        return before(more)

    command = [sys.executable, "-m", "tests.nursery", str(place)]
    root = Path(__file__).parents[1]
    nursery = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    remote._spawn = spawn  # type: ignore[assignment]
    try:
        yield
    finally:
        remote._spawn = before
        nursery.kill()
        nursery.wait()


def _early(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(EARLY)}


def _serve(place: Path) -> None:
    """Fork whenever somebody asks, until the process that started this one ends."""
    _imported(Server(sys.stdout))
    hurry(pytest.MonkeyPatch())
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # It is there when it is ready.
    server.bind(f"{place}.new")
    server.listen(64)
    Path(f"{place}.new").rename(place)
    while True:
        if sys.stdin in select.select([server, sys.stdin], [], [])[0]:
            return
        link = server.accept()[0]
        message, ends, _, _ = socket.recv_fds(link, LARGEST, 2)
        if os.fork() == 0:
            server.close()
            _attend(link, ends, json.loads(message))
        link.close()
        for end in ends:
            os.close(end)


def _attend(link: socket.socket, ends: list[int], asked: dict[str, object]) -> NoReturn:
    """Start a worker, and tell its process number and its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    worker = os.fork()
    if worker == 0:
        _work(link, ends, asked)
    for end in ends:
        os.close(end)
    code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    with contextlib.suppress(OSError):
        link.send(str(code).encode())
    os._exit(0)


def _work(link: socket.socket, ends: list[int], asked: dict[str, object]) -> NoReturn:
    code = 1
    try:
        os.setsid()
        for own, end in enumerate([*ends, os.open(os.devnull, os.O_WRONLY)]):
            os.dup2(end, own)
            os.close(end)
        sys.stdin, sys.stdout = os.fdopen(0, encoding="utf-8"), os.fdopen(1, "w", encoding="utf-8", closefd=False)
        os.environ.clear()
        os.environ.update(asked["environment"])  # type: ignore[arg-type]
        os.chdir(str(asked["folder"]))
        link.send(f"pid {os.getpid()}".encode())
        link.close()
        main()
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
