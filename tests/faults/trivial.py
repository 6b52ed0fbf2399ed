"""A worker that measures nothing: trials take no time, and misbehave when they are told to; all around it is real."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slimfront.search.worker import Server, main

Json = dict[str, Any]
# What is told of the model; which trials misbehave, and how; seconds of a trial.
GUIDE, BAD, PACE = "SLIMFRONT_TRIVIAL_GUIDE", "SLIMFRONT_TRIVIAL_BAD", "SLIMFRONT_TRIVIAL_PACE"
UNITS = {"size": "byte", "latency": "ms", "accuracy": "fraction"}


def values_of(configuration: Mapping[str, Any]) -> dict[str, float]:
    """Return made-up values that depend on the configuration alone."""
    text = json.dumps(dict(configuration), sort_keys=True)
    draws = [byte / 255 for byte in hashlib.sha256(text.encode()).digest()[:2]]
    numbers = [float(value) for value in configuration.values() if isinstance(value, int | float)]
    weight = sum(numbers) / len(numbers)
    return {"size": 1000 * weight, "latency": 1 + draws[0], "accuracy": 0.8 - 0.1 * draws[1] / (1 + weight)}


class Trivial(Server):
    """Answers every task at once."""

    def warm_up(self) -> None:
        """Import nothing."""

    def get_ready(self) -> None:
        """Import nothing."""

    def prepare(self, first: Json) -> Json:
        return {"guide": json.loads(Path(os.environ[GUIDE]).read_text()) if first["guide"] else None}

    def serve(self, task: Json) -> Json:
        bad = json.loads(os.environ.get(BAD, "{}"))
        if task["do"] == "tournament":
            if "tournament" in bad:
                MISBEHAVIOURS[bad["tournament"]]({}, self)
            own = [measured(values_of(entry["configuration"]))["latency"]["value"] for entry in task["entrants"]]
            times = [[one] for one in (1.0, *own)]
            around = {"load": 0, "rounds": 1, "waited": 0.0}
            return {"occasion": {"times": times, "tokens": [[8]] * len(times), "conditions": around}}
        folder, found = Path(task["folder"]), measured(values_of(task["configuration"]))
        if task["do"] == "held_out":
            return {"held_out": {"accuracy": found["accuracy"]}}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.bin").write_text(json.dumps(task["configuration"]))
        if task["do"] == "rebuild":
            return {"files": {}, "lock": {"weights": "none"}}
        time.sleep(float(os.environ.get(PACE, "0")))
        how = bad.get(str(task["number"]))
        if how is not None:
            found = MISBEHAVIOURS[how](found, self)
        return {"measurements": found, "files": {}, "divergence": 0.01, "sentences": 10, "cpu": {"total": 0.001}}


def measured(values: Mapping[str, float]) -> Json:
    return {n: {"value": v, "unit": UNITS[n], "interval": [v, v], "steer": v} for n, v in values.items()}


def raising(_found: Json, _server: Trivial) -> Json:
    raise ValueError("this quantizer cannot")


def endless(_found: Json, _server: Trivial) -> Json:
    return endless(_found, _server)


def not_a_number(found: Json, _server: Trivial) -> Json:
    return {**found, "accuracy": {**found["accuracy"], "value": float("nan")}}


def infinite(found: Json, _server: Trivial) -> Json:
    return {**found, "size": {**found["size"], "value": float("inf")}}


def not_finite_measurement(_found: Json, _server: Trivial) -> Json:
    from slimfront.objectives.measurement import Measurement

    return {"accuracy": Measurement(float("nan"), "fraction").to_json()}


def misshapen(_found: Json, _server: Trivial) -> Json:
    import numpy as np
    from slimfront.objectives.sessions.session import read

    class Wrong:
        def run(self, _batch: object) -> Any:
            return np.zeros((3, 2, 2))

    class Examples:
        def batch(self, _rows: object) -> None: ...

    read(Wrong(), Examples(), [[0, 1]])  # type: ignore[arg-type]
    return {}


def leaving(_found: Json, _server: Trivial) -> Json:
    os._exit(0)


def failing(_found: Json, _server: Trivial) -> Json:
    os._exit(3)


def segmentation_fault(_found: Json, _server: Trivial) -> Json:
    ctypes.string_at(0)
    return {}


def killed(_found: Json, _server: Trivial) -> Json:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def greedy(_found: Json, _server: Trivial) -> Json:
    held = []
    while True:
        held.append(bytearray(os.urandom(2**16) * 16 * 16))
        time.sleep(0.005)


def greedy_child(_found: Json, _server: Trivial) -> Json:
    grow = "import time; held = []\nwhile True: held.append(bytearray(b'x' * 2**24)); time.sleep(0.005)"
    subprocess.run([sys.executable, "-c", grow], check=False)
    return {}


def refused(_found: Json, _server: Trivial) -> Json:
    return {"held": len(bytearray(2**60))}


def sleeping(_found: Json, _server: Trivial) -> Json:
    time.sleep(3600)
    return {}


def sleeping_parent(_found: Json, _server: Trivial) -> Json:
    children = [subprocess.Popen(["sleep", "3599"]) for _ in range(3)]
    return {"status": [child.wait() for child in children]}


def stuck(_found: Json, _server: Trivial) -> Json:
    ctypes.PyDLL(None).sleep(3600)  # with the interpreter's lock
    return {}


def shouting(_found: Json, _server: Trivial) -> Json:
    line = "all work and no play " * 50_000
    for _ in range(100):
        print(line, flush=True)
    time.sleep(60)
    return {}


def babbling(found: Json, server: Trivial) -> Json:
    server._out.write("no JSON at all\n")
    server._out.flush()
    return found


def changing(_found: Json, _server: Trivial) -> Json:
    from slimfront.search.failures import Tainted

    raise Tainted("the trial changed the weights that all trials share")


MISBEHAVIOURS: dict[str, Callable[[Json, Trivial], Json]] = {
    f.__name__: f
    for f in (
        raising, endless, not_a_number, infinite, not_finite_measurement, misshapen, leaving, failing,
        segmentation_fault, killed, greedy, greedy_child, refused, sleeping, sleeping_parent, stuck, shouting,
        babbling, changing,
    )
}  # fmt: skip

if __name__ == "__main__":
    main(Trivial)
