"""The report of a run, as a reader and as a browser see it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from plotly.offline import get_plotlyjs
from slimfront.objectives.objective import OBJECTIVES
from slimfront.search.front import Front
from slimfront.search.inspect.report import answers, axes, layers, write_report
from slimfront.search.records import Records
from slimfront.search.run import Run
from slimfront.spaces.configuration import Configuration
from slimfront.spaces.domain import Domain
from slimfront.studies.reader import parse_study

NAME = "a-study"
BITS = [f"bits/block.{block}.{role}" for block in range(6) for role in ("qkv", "ffn_in", "ffn_out")]
SHARES = [f"sparsity/block.{block}.{kind}" for block in range(6) for kind in ("attention", "ffn")]
DOMAINS = {name: Domain((32, 8, 4)) for name in BITS} | {name: Domain((0.0, 0.5)) for name in SHARES}


def make_run(folder: Path, study: dict[str, Any], trials: int) -> Run:
    """Return a run whose records hold made-up trials; one of them failed."""
    run = Run.begin(folder, parse_study({**study, "name": NAME}))
    records = Records(folder, create=True)
    objectives = {name: OBJECTIVES.get(name, where="x").entry() for name in ("size", "latency", "accuracy")}
    records.begin(NAME, objectives)
    for number in range(trials):
        values: dict[str, Any] = {name: DOMAINS[name].values[number % len(DOMAINS[name].values)] for name in DOMAINS}
        trial = records.start(number, Configuration(values), DOMAINS, "dense" if not number else "sampled", number)
        if number == 3:
            records.fail(trial, "failed: </script><script>alert(1)</script>")
            continue
        size, latency, accuracy = 1e8 / (1 + number), 10 - 9 * number / trials, 0.9 - 0.1 * number / trials
        measured = {
            "size": {"value": size, "unit": "byte", "interval": None, "steer": size},
            "latency": {"value": latency, "unit": "ms", "interval": [latency * 0.98, latency * 1.03], "steer": 1.0},
            "accuracy": {"value": accuracy, "unit": "fraction", "interval": [0.7, 0.95], "steer": accuracy},
        }
        outcome = {"measurements": measured, "files": {"model": "0"}, "predicted": {"size": size, "latency": 0.9}}
        records.complete(trial, outcome, {})
    return run


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    data = {
        "path": "reviews.csv",
        "text": "text",
        "label": "label",
        "splits": {"train": 10, "search": 10, "held_out": 10},
    }
    return {
        "name": "x",
        "model": {"hub": "some/model", "max_tokens": 48},
        "data": data,
        "train": {"method": "none"},
        "space": {"bits": {}},
    }


def test_a_thousand_trials_are_one_small_file_without_a_network(study: dict[str, Any], tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", study, 250)
    write_report(run, run.front(), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    library = len(get_plotlyjs().encode())
    assert library + 4 * (len(page.encode()) - library) < 6e6
    assert not re.search(r'(src|href)="', page.split("<script>")[0]) and "@import" not in page.split("<body>")[0]
    assert "<script>alert" not in page and "failed: &lt;/script&gt;" in page
    told = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert told["name"] == NAME and len(told["points"]) == 249 and len(told["failures"]) == 1
    shares = [share for _, share in told["history"]]
    assert shares == sorted(shares) and abs(shares[-1] - run.front().hypervolume()) < 1e-4
    assert told["predictions"]["latency"][0] == [0.9, pytest.approx(run.front().everything[1].values["latency"] / 10)]


def test_answers_are_in_plain_words(study: dict[str, Any], tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", study, 10)
    told = answers(run.front())
    assert told[0].startswith("Knee") and any("10.0× smaller" in line and "5.3× faster" in line for line in told)
    assert any("-9.0 points of accuracy" in line for line in told)
    front = run.front()
    assert answers(Front(front.objectives, front.dense, (), front.everything)) == [
        "No trial keeps the study's constraints."
    ]


def test_a_configuration_is_shown_layer_by_layer() -> None:
    configuration = {"bits/head": 8, "bits/block.0.qkv": 4, "bits/block.1.qkv": 2, "depth/block.1": "kept", "x/y": 1}
    bits, depth = axes(configuration)
    assert bits["blocks"] == ["head", "block.0", "block.1"] and bits["roles"] == ["all", "qkv"]
    assert layers(configuration, bits) == [[8, None], [None, 4], [None, 2]]
    assert layers(configuration, depth) == [["kept"]]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs a browser")
def test_a_browser_shows_the_point_that_the_address_names(study: dict[str, Any], tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", study, 12)
    write_report(run, run.front(), tmp_path / "report.html")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000", "--dump-dom"]
    address = f"file://{tmp_path / 'report.html'}"
    for trial, title in ((None, ", the knee</h3>"), (7, "<h3>Trial 7</h3>")):
        asked = address if trial is None else f"{address}#trial-{trial}"
        done = subprocess.run(["chromium", *options, asked], capture_output=True, text=True, check=False, timeout=120)
        assert title in done.stdout, done.stderr[-500:]
        assert done.stdout.count('class="main-svg"') >= 4 and "Uncaught" not in done.stderr
        if trial is not None:
            assert f"--trial {trial} --out deploy/" in done.stdout
