"""A real PostgreSQL server of a test's own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.processes import ALL


def binaries() -> Path:
    """Return where the server's programs are; with all faults asked for, Debian's packages are installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found and ALL and os.getuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-q"], ["install", "-qy", "--no-install-recommends", "postgresql"]):
            subprocess.run(["apt-get", *command], check=True, env=environment, stdout=subprocess.DEVNULL)
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        pytest.skip("no PostgreSQL server on this machine ('make faults' installs one as root, on Debian)")
    return found[-1].parent


@dataclass(frozen=True)
class Postgres:
    """A server whose data lie in a folder.

    Attributes:
        programs: Where its programs are.
        folder: Where its data are.
        port: Where it listens.
    """

    programs: Path
    folder: Path
    port: int

    @classmethod
    def make(cls) -> Postgres:
        """Make an empty database and start its server."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            server = cls(binaries(), Path(tempfile.mkdtemp(prefix="slimfront-server-")), free.getsockname()[1])
        if os.getuid() == 0:
            # The server refuses to run as root.
            shutil.chown(server.folder, "postgres")
        server._run("initdb", "-D", str(server.folder), "-A", "trust", "-U", "searcher", "--no-sync")
        server.start()
        return server

    @property
    def url(self) -> str:
        return f"postgresql://searcher@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run("pg_ctl", "-D", str(self.folder), "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        """Stop it at once, as a machine does that fails: connections break in the middle of whatever they do."""
        self._run("pg_ctl", "-D", str(self.folder), "-w", "-m", "immediate", "stop")

    def remove(self) -> None:
        """Stop it and leave nothing."""
        self.stop()
        shutil.rmtree(self.folder)

    def _run(self, program: str, *arguments: str) -> None:
        user = "postgres" if os.getuid() == 0 else None
        command = [str(self.programs / program), *arguments]
        subprocess.run(command, check=True, user=user, cwd="/", stdout=subprocess.DEVNULL)
