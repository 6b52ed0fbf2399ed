"""A worker process: keeps the model loaded, reads one JSON task a line, writes one JSON result a line."""

from __future__ import annotations

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

Json = dict[str, Any]


def main() -> None:
    """Serve until standard input closes. The first line names the study; see :class:`Remote` for the other end."""
    lines = _lines()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever libraries print goes to the log; only results go up the pipe.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    evaluator = _answer(out, lambda: _prepare(json.loads(lines.get())))
    if evaluator is None:
        return
    while True:
        task = json.loads(lines.get())
        _answer(out, lambda task=task: _serve(evaluator, task))  # type: ignore[misc]


def _lines() -> queue.SimpleQueue[str]:
    """Return the lines of standard input; when it closes, the parent is gone and this process ends at once."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _prepare(first: Json) -> Any:
    from slimfront.search.evaluator import Evaluator
    from slimfront.studies.reader import parse_study

    return Evaluator.prepare(parse_study(first["study"]), lambda _text, _share: None)


def _serve(evaluator: Any, task: Json) -> Json:
    from slimfront.spaces.configuration import Configuration

    start = time.perf_counter()
    if task["do"] == "held_out":
        return {"held_out": evaluator.held_out(Path(task["folder"]))}
    configuration = Configuration(task["configuration"])
    if task["do"] == "rebuild":
        rebuilt: Json = evaluator.rebuild(configuration, task["seed"], Path(task["folder"]))
        return rebuilt
    result: Json = evaluator.evaluate(
        configuration, task["seed"], Path(task["folder"]), task["dense"], Path(task["dense_folder"])
    )
    return {**result, "seconds": round(time.perf_counter() - start, 3)}


def _answer(out: TextIO, work: Callable[[], Any]) -> Any:
    """Do some work and write its result, or the error that it ended with."""
    value: Any = None
    try:
        value = work()
        message = value if isinstance(value, dict) else {"ready": True}
    except Exception as error:
        import traceback

        traceback.print_exc()
        code = getattr(error, "exit_code", 70)
        message = {"error": type(error).__name__, "message": str(error), "exit_code": code}
    out.write(json.dumps(message, allow_nan=False) + "\n")
    out.flush()
    return value


if __name__ == "__main__":
    main()
