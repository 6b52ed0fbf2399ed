"""Trials per hour against the loop that one would write by hand, and where a trial's processor time goes."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from slimfront.search.coordinator import Coordinator
from slimfront.search.samplers import SAMPLERS, Observation, Problem, Sampler
from slimfront.search.tournament import requests
from slimfront.search.trial import Trial
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.domain import Value

from tests.benchmarks.material import SENTENCES, Material, Workplace, quickstart
from tests.benchmarks.table import write

COUNT = 30
# NNCF compresses weights to these, and leaves the rest alone. As in the loop by hand, weights that stay do not make up
# for those that go.
SPACE = {
    "sparsity": {"levels": [0.0, 0.25, 0.5, 0.75, 0.9], "criterion": "gradient-weight"},
    "bits": {"granularity": "role", "levels": [4, 8, 32]},
    "precision": ["bf16"],
    "distillation": None,
}
GIVEN: list[Configuration] = []
# Stages inside the runtime: session creation and inference, of which latency and accuracy are made.
RUNTIME = ("session", "inference", "latency")


Answer = Mapping[str, float]
# Our trials, the coordinator's CPU seconds for each, and the loop's answers.
Measured = tuple[list[Trial], list[float], list[Answer]]


@SAMPLERS.register("given")
class Given(Sampler):
    """Suggests the given configurations in their order."""

    def suggest(self, problem: Problem, history: Sequence[Observation], seed: int) -> dict[str, Value]:
        done = {seen.values for seen in history}
        return dict(next(given for given in GIVEN if given not in done))


class Naive:
    """The loop written by hand, in its own process and environment.

    Args:
        python: An interpreter that has nncf.
        folder: Where :func:`export` wrote what the loop is given.
    """

    def __init__(self, python: str, folder: Path) -> None:
        script = Path(__file__).with_name("naive.py")
        log = (folder / "naive.log").open("w")
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self._process = subprocess.Popen(
            [python, str(script), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        )
        self._answer()

    def run(self, number: int) -> dict[str, float]:
        """Evaluate one of the given configurations."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        # Libraries print to standard output too.
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"the loop ended with status {self._process.wait()}; see naive.log")


def export(material: Material, folder: Path) -> None:
    """Write the dense model, the sentences, the importance and the configurations for the loop."""
    subject, space = material.evaluator.subject, material.space
    subject.module.save_pretrained(folder / "dense")
    given = []
    for configuration in GIVEN:
        draft = space.draft(material.evaluator.scores, configuration)
        bits = {name.partition("/")[2]: value for name, value in configuration.items() if name.startswith("bits/")}
        domains = {name: list(domain.values) for name, domain in space.domains.items()}
        choices = {name: configuration[name] for name in domains}
        given.append({"kept": draft.kept, "bits": bits, "choices": choices, "domains": domains})
    (request,) = requests(material.study, subject, subject)
    data = {
        "configurations": given,
        "scores": {name: values.tolist() for name, values in material.evaluator.scores.items()},
        "rows": subject.search.rows,
        "labels": subject.search.labels.tolist(),
        "request": {name: values.tolist() for name, values in request.items()},
    }
    (folder / "given.json").write_text(json.dumps(data))


def ours(place: Workplace, name: str, delta: float, naive: Naive) -> Measured:
    """Return our trials of the given configurations, the coordinator's CPU seconds for each, and the loop's answers."""
    uniform = len(place.space.uniform())
    place.search(f"{name}-uniform", trials=uniform, predicted=0, sampler="given", delta=delta)
    shares: list[float] = []
    answers: list[Answer] = []
    last = [time.process_time()]

    def tell(coordinator: Coordinator) -> None:
        shares.append(time.process_time() - last[0])
        if coordinator.progress().done > uniform:
            answers.append(naive.run(len(answers)))
        last[0] = time.process_time()

    trials = place.search(f"{name}-uniform", tell, trials=uniform + COUNT, predicted=0, sampler="given", delta=delta)
    return [trial for trial in trials if trial.kind == "sampled"], shares, answers


def main(folder: Path) -> None:
    """Run the benchmark; NAIVE_PYTHON names an interpreter with nncf."""
    folder = folder / "trials"
    folder.mkdir(parents=True, exist_ok=True)
    material = Material(quickstart(SPACE, SENTENCES))
    # The loop by hand runs at OpenVINO's default precision: bf16, where the machine has it.
    fast = {"precision/inference": "bf16"} if "precision/inference" in material.space.domains else {}
    GIVEN[:] = [material.space.canonical({**c, **fast}) for c in material.draw(COUNT, 0)]
    export(material, folder)
    naive = Naive(os.environ["NAIVE_PYTHON"], folder)
    plain_place = Workplace(quickstart(SPACE, SENTENCES, delta=0), folder / "plain")
    plain, plain_shares, answers = ours(plain_place, "plain", 0.0, naive)
    plain_place.close()
    raced_place = Workplace(quickstart(SPACE, SENTENCES), folder / "raced")
    raced, raced_shares, others = ours(raced_place, "raced", 0.05, naive)
    raced_place.close()
    report((plain, plain_shares, answers), (raced, raced_shares, others))
    overhead(plain, plain_shares)


def report(whole: Measured, stopping: Measured) -> None:
    """Write the table of trials per hour."""
    (plain, _, answers), (raced, _, _) = whole, stopping
    rows = []
    for label, (trials, shares, loop) in (("every sentence", whole), ("raced", stopping)):
        base = float(np.mean([answer["cpu"] for answer in loop]))
        spent = float(np.mean([trial.details["cpu"]["total"] for trial in trials])) + float(np.mean(shares))
        rows.append([f"by hand, beside ours, {label}", f"{base:.2f}", f"{3600 / base:.0f}", "1.0"])
        rows.append([f"ours, {label}", f"{spent:.2f}", f"{3600 / spent:.0f}", f"{base / spent:.1f}"])
    sizes = np.array([trial.value("size") / a["size"] - 1 for trial, a in zip(plain, answers, strict=True)])
    gaps = np.array([trial.value("accuracy") - a["accuracy"] for trial, a in zip(plain, answers, strict=True)])
    stopped = sum(trial.state == "stopped" for trial in raced)
    whole_ones = sum(trial.details["cpu"]["total"] for trial in raced if trial.state == "complete") / COUNT
    free = float(np.mean([answer["cpu"] for answer in stopping[2]])) / whole_ones
    text = f"""
{COUNT} random configurations without recovery, {SENTENCES} sentences as in the shipped study, given to both in
the same order, one thread each; the loop by hand
(`naive.py`) runs interleaved with both of ours, its importance computed once and not counted, nor are our tables and
bank.
CPU seconds are those of the whole process; ours include the coordinator. Raced, {stopped} of {COUNT} trials were
stopped; had these cost nothing at all, the ratio would be {free:.1f}.

For the same configuration our size differs by {100 * sizes.mean():+.2f} % on average ({100 * sizes.min():+.2f} to
{100 * sizes.max():+.2f}), our accuracy by {100 * gaps.mean():+.2f} points on average, {100 * np.abs(gaps).max():.1f} at
most; {int((np.abs(gaps) <= 0.005).sum())} of {COUNT} agree within 0.5 points. See `naive.py` for what differs.
"""
    write("trials", "Trials per hour", text, ("loop", "CPU seconds a trial", "trials per CPU hour", "ratio"), rows)


def overhead(trials: Sequence[Trial], shares: Sequence[float]) -> None:
    """Write the table of where a trial's time goes."""
    spent: dict[str, float] = defaultdict(float)
    for trial in trials:
        for stage, seconds in trial.details["cpu"].items():
            spent[stage] += seconds / len(trials)
    total = spent.pop("total") + float(np.mean(shares))
    spent["coordinator"] = float(np.mean(shares))
    rows = [
        [stage, f"{1000 * seconds:.1f}", f"{100 * seconds / total:.1f} %"]
        for stage, seconds in sorted(spent.items(), key=lambda item: -item[1])
    ]
    inside = sum(spent[stage] for stage in RUNTIME) / total
    text = f"""
Inside the runtime (session creation, inference for accuracy, requests for latency): {100 * inside:.1f} % of a trial's
CPU time of {total:.2f} s. Trials without recovery, every sentence read.
"""
    write("overhead", "Where a trial's CPU time goes", text, ("stage", "ms a trial", "share"), rows)
