"""What the commonest mistakes on the command line are told, word for word, and that whatever is said can be read."""

from __future__ import annotations

import copy
import importlib
import shlex
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from slimfront.search.run import Run

from tests.commands import Done, forked, slimfront
from tests.conftest import write_reviews
from tests.search.run_of import DOMAINS, STUDY, make_run

Json = dict[str, Any]
MISTAKES: dict[str, Json] = YAML(typ="safe").load(Path(__file__).with_name("mistakes.yaml").read_text("utf-8"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all that the mistakes name."""
    # Here once, rather than in each fork.
    for name in ("datasets", "slimfront.search.plan", "slimfront.search.schemas", "slimfront.search.inspect.report"):
        importlib.import_module(name)
    from slimfront.search.export import EXPORTERS

    EXPORTERS.names()
    folder = tmp_path_factory.mktemp("mistakes")
    write_reviews(folder / "reviews.csv", 40)
    _repeat(make_run(folder / "runs" / "films", 6), 1)
    rows = "".join(f"a text of {row},another text of {row}\n" for row in range(9))
    (folder / "pairs.csv").write_text(f"first,second\n{rows}")
    for name in ("notes/notes.txt", "model/config.json", "damaged/record.json"):
        (folder / name).parent.mkdir()
        (folder / name).write_text("{}")
    return folder


def _repeat(run: Run, number: int) -> None:
    """Record a duplicate of a trial, as the coordinator does."""
    records = run.records()
    trials = records.trials()
    twin = trials[number]
    trial = records.start(len(trials), twin.configuration, DOMAINS, "sampled", 0)
    told = {"measurements": dict(twin.measurements), "files": dict(twin.files), "cached_from": number}
    records.complete(trial, told, twin.violations)


def changed(study: Json, changes: Json) -> Json:
    """Return a study with values at dotted keys."""
    made = copy.deepcopy(study)
    for key, value in changes.items():
        *parents, last = key.split(".")
        reduce(lambda part, name: part.setdefault(name, {}), parents, made)[last] = value
    return made


def make(mistake: Json, place: Path) -> Done:
    """Write the study as the mistake has it, and run its command."""
    with (place / "study.yaml").open("w", encoding="utf-8") as file:
        if "text" in mistake:
            file.write(mistake["text"])
        else:
            YAML(typ="safe").dump(changed(STUDY, mistake.get("study", {})), file)
    return forked(*shlex.split(mistake["command"]), cwd=place)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_word_for_word(name: str, place: Path) -> None:
    mistake = MISTAKES[name]
    before = set(place.rglob("*"))
    done = make(mistake, place)
    assert done.stderr.replace(str(place), "HERE") == mistake["told"]
    assert (done.returncode, done.stdout) == (mistake["exit"], "")
    left = {path.name for path in set(place.rglob("*")) - before}
    assert left <= {"study.yaml", "records.sqlite3-wal", "records.sqlite3-shm"}


CHECKS = ("verify", "validate", "plan", "doctor")
COMMANDS = ("launch", "inspect", "export", "rebuild", "remeasure", *CHECKS, "init", "schema")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_a_narrow_terminal(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = forked(*command.split(), "--help")
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[0].startswith("Usage: slimfront") and max(map(len, lines)) <= 80
    assert "\x1b" not in done.stdout and done.stderr == ""
    assert command or all(f"\n  {name} " in done.stdout for name in COMMANDS)


def test_tables_are_told_where_no_locale_is_set(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what ASCII lacks a question mark is shown, and nothing is coloured without a terminal."""
    for name, value in {"LC_ALL": "C", "PYTHONUTF8": "0", "NO_COLOR": "1", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PYTHONIOENCODING", raising=False)
    done = slimfront("inspect", place / "runs" / "films", "--compare", 1, 2)
    assert done.returncode == 0, done.stderr
    assert "size" in done.stdout and "\x1b" not in done.stdout and done.stdout.isascii() and "?" in done.stdout
