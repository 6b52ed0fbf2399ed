"""A worker process: keeps the model loaded, reads one JSON task a line, writes one JSON result a line."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from slimfront.search.begun import Begun

Json = dict[str, Any]


def main(kind: type[Server] | None = None) -> None:
    """Serve until standard input closes. The first line names the study; see :class:`Remote` for the other end."""
    begun = Begun()
    lines = _lines(begun)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        # Where memory runs out, the system ends a worker rather than the search.
        Path("/proc/self/oom_score_adj").write_text("1000")
    # Whatever libraries print goes to the log; only results go up the pipe.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    server = (kind or Server)(out, begun)
    _imported(server)
    first = json.loads(lines.get())
    log = os.open(first["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    going = server.answer(lambda: server.prepare(first))
    while going:
        server.get_ready()
        task = json.loads(lines.get())
        server.answer(lambda task=task: server.do(task))  # type: ignore[misc]
        going = not server.leaving


def _imported(server: Server) -> None:
    # What is imported stays: to look again and again for garbage among it takes a quarter of the time.
    gc.disable()
    server.warm_up()
    gc.freeze()
    gc.enable()


def _lines(begun: Begun) -> queue.SimpleQueue[str]:
    """Return the lines of standard input; when it closes, the parent is gone and this process ends at once."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        begun.leave()
        if os.getpgrp() == os.getpid():
            # With whatever a trial started and left behind.
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return lines


class Server:
    """Answers tasks.

    Args:
        out: Where answers go.
        begun: Marks the trial that is evaluated.

    Attributes:
        evaluator: Does them, once the study is loaded.
        leaving: Whether this process is of no more use: another one must do the next task.
    """

    def __init__(self, out: TextIO, begun: Begun | None = None) -> None:
        self._out, self._begun = out, begun or Begun()
        self.evaluator: Any = None
        self.leaving = False

    def warm_up(self) -> None:
        """Import the libraries that take seconds while the coordinator is still busy with its own."""
        with contextlib.suppress(Exception):
            # What cannot be imported is reported where it is needed.
            from slimfront.studies.private import keep_private

            keep_private()
            import openvino  # noqa: F401
            import transformers.modeling_utils
            import transformers.models.auto  # noqa: F401
            from slimfront.search import evaluator, guide  # noqa: F401

    def get_ready(self) -> None:
        """Import what tasks need, while none has come."""
        # Intervals need it.
        import scipy.stats  # noqa: F401

    def prepare(self, first: Json) -> Json:
        """Load or compute everything that trials share; return what the coordinator must know of it."""
        import torch
        from slimfront.search.evaluator import Evaluator
        from slimfront.search.guide import guide
        from slimfront.studies.memory import give_back
        from slimfront.studies.reader import parse_study

        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        self.evaluator = Evaluator.prepare(parse_study(first["study"]), self._progress)
        told = {"guide": guide(self.evaluator, self._progress) if first["guide"] else None}
        give_back()
        return told

    def do(self, task: Json) -> Json:
        """Return the answer to one task, whose trial is marked meanwhile."""
        if task["do"] != "evaluate":
            return self.serve(task)
        with self._begun.at(Path(task["folder"])):
            return self.serve(task)

    def serve(self, task: Json) -> Json:
        """Return the answer to one task."""
        from slimfront.search.evaluator import Reference
        from slimfront.search.failures import Tainted
        from slimfront.search.racing import Bar
        from slimfront.spaces.configuration import Configuration

        start = time.perf_counter()
        if task["do"] == "tournament":
            entrants = [(Configuration(entry["configuration"]), Path(entry["folder"])) for entry in task["entrants"]]
            rest = float("inf") if task["rest"] is None else float(task["rest"])
            dense, patience, rounds = Path(task["dense_folder"]), task["patience"], task["rounds"]
            return {"occasion": self.evaluator.timed(entrants, dense, rest, patience, rounds)}
        folder = Path(task["folder"])
        configuration = Configuration(task["configuration"])
        if task["do"] == "held_out":
            return {"held_out": self.evaluator.held_out(configuration, folder, Path(task["dense_folder"]))}
        if task["do"] == "rebuild":
            rebuilt: Json = self.evaluator.rebuild(configuration, folder, task["predictions"])
            return rebuilt
        if task["do"] == "convert":
            from slimfront.search.export.converted import convert

            return convert(self.evaluator, configuration, folder, task["to"], Path(task["out"]))
        if task["dense"]:
            self.evaluator.supply(Path(task["dense_folder"]), task["dense_files"])
        others = [Path(path) for path in task["others"]]
        reference = Reference(Path(task["dense_folder"]), task["dense"], task["cost"], others)
        bar = Bar(**task["bar"]) if task["bar"] else None
        try:
            result: Json = self.evaluator.evaluate(configuration, task["seed"], folder, reference, bar)
        finally:
            if self.evaluator.touched():
                raise Tainted("the trial changed the weights that all trials share")
        return {**result, "seconds": round(time.perf_counter() - start, 3)}

    def result(self, work: Callable[[], Json]) -> Json:
        """Return what some work gives, or the error that it ended with."""
        from slimfront.search.failures import Tainted, kind_of
        from slimfront.studies.errors import SlimfrontError, explained

        try:
            return work()
        except Exception as error:
            import traceback

            with contextlib.suppress(OSError):
                # The disk with the log may be full.
                traceback.print_exc()
            # Nobody knows what is left of what trials share.
            self.leaving = isinstance(error, MemoryError | Tainted)
            told = explained(error)
            text = str(told) if isinstance(told, SlimfrontError) else f"{type(told).__name__}: {told}"
            code = getattr(told, "exit_code", 70)
            return {"error": kind_of(error), "message": text, "exit_code": code, "leaving": self.leaving}

    def answer(self, work: Callable[[], Json]) -> bool:
        """Do some work and write its result; return whether it succeeded."""
        message = self.result(lambda: readable(work()))
        self._write(message)
        return "error" not in message

    def _progress(self, text: str, share: float) -> None:
        self._write({"progress": [text, share]})

    def _write(self, message: Json) -> None:
        self._out.write(json.dumps(message, allow_nan=False) + "\n")
        self._out.flush()


def readable(message: Json) -> Json:
    """Return an answer as it is.

    Raises:
        NotFinite: a number in it is not finite, which JSON cannot say.
    """
    from slimfront.studies.errors import NotFinite

    try:
        json.dumps(message, allow_nan=False)
    except ValueError as error:
        raise NotFinite(str(error)) from None
    return message


if __name__ == "__main__":
    main()
