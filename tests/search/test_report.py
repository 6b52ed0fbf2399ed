"""The report of a run, as a reader and as a browser see it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs
from slimfront.search.export.card import _row
from slimfront.search.front import Front
from slimfront.search.inspect.report import answers, axes, document, write_report
from slimfront.search.run import Run

from tests.browser import CHROMIUM, DARK, LIGHT, PHONE, Page, opened
from tests.search.run_of import BITS, NAME, make_run


def test_a_thousand_trials_are_one_small_file_without_a_network(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 125)
    write_report(run, run.front(), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    library = len(get_plotlyjs().encode())
    assert library + 8 * (len(page.encode()) - library) < 6e6
    assert not re.search(r'(src|href)="', page.split("<script>")[0]) and "@import" not in page.split("<body>")[0]
    assert "<script>alert" not in page and "&lt;/script&gt;&lt;script&gt;alert" in page
    told = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert told["name"] == NAME and len(told["points"]) == 124
    assert re.search(r'<td class="text">failed</td><td>1</td><td class="text">3</td>', page)
    shares = [share for _, share in told["history"]]
    assert shares == sorted(shares) and abs(shares[-1] - run.front().hypervolume()) < 1e-4
    (latency,) = [one for one in told["predictions"] if one["name"] == "latency"]
    assert latency["pairs"][0] == [1, 0.9, pytest.approx(run.front().everything[1].values["latency"] / 10)]


def test_budgets_of_a_report_go_by_the_last_tournament(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 5)
    points = [point for point in run.front().points if point.trial != 0]
    entries = {p.trial: {"value": 1.0 + p.trial, "unit": "ms", "interval": [0.5, 9.0], "noisy": True} for p in points}
    run.records().finish_tournament(entries)
    told = {point["trial"]: point for point in document(run, run.front())["points"]}
    for point in points:
        shown = told[point.trial]
        assert shown["values"]["latency"] == 1.0 + point.trial and shown["intervals"]["latency"] == [0.5, 9.0]
        assert shown["noisy"] == ["latency"] and shown["shown"]["latency"] == f"{1.0 + point.trial:.3f} ms"
    assert told[0]["values"]["latency"] == 10.0


def test_a_report_that_cannot_be_written_names_its_file(tmp_path: Path) -> None:
    run, place = make_run(tmp_path / "run", 5), tmp_path / "nowhere" / "report.html"
    with pytest.raises(FileNotFoundError) as refused:
        write_report(run, run.front(), place)
    assert refused.value.filename == str(place)


def test_answers_are_in_plain_words(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 10)
    told = answers(run.front())
    assert told[0].startswith("Knee") and any("10.0× smaller" in line and "5.3× faster" in line for line in told)
    assert any("-9.0 points of accuracy" in line for line in told)
    fastest = max(point.trial for point in run.front().points)
    run.records().finish_tournament({fastest: {"value": 4.0, "unit": "ms", "interval": [3.9, 4.2]}})
    assert "2.5× faster" in next(line for line in answers(run.front()) if f"trial {fastest})" in line)
    row = _row(run.front(), next(p for p in run.front().points if p.trial == fastest), "latency")
    assert row.endswith("| 4.000 ms (3.900 ms – 4.200 ms), beside the front | 10.000 ms |")
    front = run.front()
    assert answers(Front(front.objectives, front.dense, (), front.everything)) == [
        "No trial keeps the study's constraints."
    ]


def test_a_configuration_is_shown_layer_by_layer() -> None:
    bits, depth = axes(["bits/head", "bits/a.block.0.qkv", "bits/a.block.1.qkv", "depth/a.block.1", "x/y"])
    assert bits["blocks"] == ["head", "block.0", "block.1"] and bits["roles"] == ["all", "qkv"]
    assert bits["cells"] == [[0, None], [None, 1], [None, 2]]
    assert depth["cells"] == [[3]]


BROWSER = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: install 'chromium' to run this test"
)


def read(path: Path, mode: tuple[int, int, str], steps: Callable[[Page], Awaitable[None]]) -> None:
    """Open a report, take some steps on it, and check that nothing was complained about or asked of a network."""

    async def go() -> None:
        async with opened(path, *mode) as page:
            await steps(page)
            assert not page.errors and not page.requests
            assert await page.run("document.documentElement.scrollWidth <= innerWidth")

    asyncio.run(go())


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    folder = tmp_path_factory.mktemp("report")
    run = make_run(folder / "run", 60)
    write_report(run, run.front(), folder / "report.html")
    return run, folder / "report.html"


@BROWSER
@pytest.mark.slow
@pytest.mark.parametrize("mode", [LIGHT, DARK, PHONE], ids=["light", "dark", "phone"])
def test_a_reader_filters_clicks_and_copies_the_command(report: tuple[Run, Path], mode: tuple[int, int, str]) -> None:
    run, path = report
    points = run.front().points

    async def steps(page: Page) -> None:
        assert "the knee" in await page.text("#detail h3")
        await page.run(
            "const size = document.querySelector('#budget-size'); size.value = 9;"
            " size.dispatchEvent(new Event('input'))"
        )
        assert await page.text("#left") == f"10 of {len(points)} points of the front are within these budgets."
        assert await page.run("document.querySelectorAll('#table tr.out').length") == len(points) - 10
        smallest = points[0]
        await page.click(f"#plot-0 .point[aria-label^='choose trial {smallest.trial}:']")
        assert await page.text("#detail h3") == f"Trial {smallest.trial}"
        command = f"slimfront export {run.folder} --trial {smallest.trial} --out deploy-{smallest.trial}/"
        assert await page.text("#command") == command
        shown = await page.run(
            "[...document.querySelector('#layers table').querySelectorAll('td')].map(c => c.textContent)"
        )
        assert sorted(shown) == sorted(str(smallest.configuration[name]) for name in BITS)
        background = await page.run("getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(20, 24, 31)" if mode is DARK else "rgb(255, 255, 255)")

    read(path, mode, steps)


@BROWSER
@pytest.mark.slow
def test_a_keyboard_is_enough(report: tuple[Run, Path]) -> None:
    run, path = report
    by_size = [point.trial for point in run.front().points]
    knee = run.front().pick("knee").trial

    async def steps(page: Page) -> None:
        await page.run("document.querySelector('#budget-accuracy').focus()")
        await page.press("Tab")
        assert f"choose trial {knee}:" in await page.run("document.activeElement.getAttribute('aria-label')")
        beside = by_size[by_size.index(knee) + 1]
        await page.press("ArrowRight")
        await page.press("Enter")
        assert await page.text("#detail h3") == f"Trial {beside}"
        await page.run(f"document.querySelector('#table [aria-label=\"choose trial {by_size[0]}\"]').focus()")
        await page.press("Enter")
        assert await page.text("#detail h3") == f"Trial {by_size[0]}"

    read(path, LIGHT, steps)


@BROWSER
@pytest.mark.slow
def test_a_thousand_trials_open_and_answer_at_once(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 1000)
    write_report(run, run.front(), tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 6e6
    click = (
        "(async () => { const found = []; for (const place of [3, 90, 5, 40, 7]) {"
        " const button = document.querySelectorAll('#table button')[place], start = performance.now(); button.click();"
        " await new Promise(done => requestAnimationFrame(() => setTimeout(done)));"
        " found.push(performance.now() - start); } return found; })()"
    )

    async def steps(page: Page) -> None:
        # The quickest of several: this machine may be busy.
        assert min(await page.run(click)) < 200

    read(tmp_path / "report.html", LIGHT, steps)
