"""Peak memory of a session."""

from __future__ import annotations

import multiprocessing
import re
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from statistics import median

from slimfront.objectives.artifact import Artifact
from slimfront.objectives.measurement import Measurement
from slimfront.objectives.objective import OBJECTIVES, Context, Objective
from slimfront.objectives.sessions import SESSIONS
from slimfront.objectives.sessions.session import load, run_all
from slimfront.studies.encoding import Requests
from slimfront.studies.errors import MissingError

# Where Linux lets a process forget its largest memory so far.
FORGET = Path("/proc/self/clear_refs")
PROCESSES, RUNS = 3, 3


@OBJECTIVES.register("memory")
class Memory(Objective):
    """Bytes by which a process grows at most while it loads the files and answers requests.

    Resident memory beyond that of the runtime's own libraries, in processes that hold nothing else: the median of
    three, with the least and the largest as interval.
    """

    unit = "byte"
    direction = "minimize"
    proxy = "size"
    description = "bytes by which a process grows at most while it loads the model and answers"

    @classmethod
    def require(cls, device: str) -> None:  # noqa: ARG003
        """See :meth:`Objective.require`."""
        if not FORGET.exists():
            raise MissingError(
                "peak memory can be read on Linux only", where="objectives", given="memory", hint="remove it"
            )

    def measure(self, artifact: Artifact, context: Context) -> Measurement:
        """See :meth:`Objective.measure`.

        Raises:
            RuntimeError: a process ended without an answer.
        """
        server, found = _server(artifact), []
        for _ in range(PROCESSES):
            reader, writer = server.Pipe(duplex=False)
            process = server.Process(target=_tell, args=(artifact.folder, context.requests, writer))
            process.start()
            writer.close()
            try:
                found.append(int(reader.recv()))
            except EOFError:
                raise RuntimeError("the process whose memory was to be measured ended") from None
            finally:
                process.join()
        # Told to samplers is what is the same whenever it is measured.
        return Measurement(median(found), self.unit, (min(found), max(found)), steer=float(artifact.size()))


def _server(artifact: Artifact) -> ForkServerContext:
    """Return a server that has imported the libraries and is forked for each process: this one holds other models."""
    server, kind = multiprocessing.get_context("forkserver"), SESSIONS.get(artifact.runtime, where="artifact")
    # The session's own file first: it keeps OpenVINO from reporting that it is imported.
    server.set_forkserver_preload([__name__, kind.__module__, *kind.imports(artifact)])
    return server


def _tell(folder: Path, requests: Requests, writer: Connection) -> None:
    """Load an artifact, run it, and send by how many bytes this process grew at most."""
    artifact = Artifact.open(folder)
    SESSIONS.get(artifact.runtime, where="artifact").prepare(artifact)
    FORGET.write_text("5")
    before = _status("VmRSS")
    session = load(artifact)
    for _ in range(RUNS):
        run_all(session, requests)
    writer.send(_status("VmHWM") - before)


def _status(name: str) -> int:
    """Return an entry of this process's status, in bytes."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
