"""The report of a run, as a reader and as a browser see it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs
from slimfront.search.front import Front
from slimfront.search.inspect.report import answers, axes, layers, write_report

from tests.search.run_of import NAME, make_run


def test_a_thousand_trials_are_one_small_file_without_a_network(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 250)
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


def test_answers_are_in_plain_words(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 10)
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
def test_a_browser_shows_the_point_that_the_address_names(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 12)
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
