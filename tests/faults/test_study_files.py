"""Whatever stands in a study file is a study, or one message: soon, and in little memory."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from slimfront.studies.errors import StudyError
from slimfront.studies.reader import read_study

from tests.faults.mutations import SCALE, flip, scaled

Data = dict[str, Any]
# Seconds and bytes of memory that a file may cost at most.
# Other tests may run beside these: seconds are counted where all faults are tried.
TIME, MEMORY = 2.0 if SCALE >= 1 else 60.0, 500 * 2**20
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, -(10**400), 0.5, -0.0, 1e-320, 1e308),
    *(float("nan"), float("inf"), float("-inf"), "", " ", "a", "nan", "1e-4", "0x10", "0o17", "1_000", "yes", "~"),
    *("\u202egpj.exe", "\u0000", "\ud7ff", "\ufeff", "é" * 3, "😀", "\u2028", "\x85", "${HOME}", "{{7*7}}", "%s%n"),
    *("../../etc/passwd", "/etc/passwd", "<script>alert(1)</script>", "'", '"', "\\", "#", ":", "- ", "a" * 50_000),
    *([], [[]], [None], [1, "a"], {}, {"a": 1}, {"": None}, [[[[[[1]]]]]], [{}] * 50, list(range(5000))),
)
EXTRA = ("name", "seed", "levels", "", "é", "__class__", "model_config", "trials ", "TRIALS", "1", "a.b", "<<")
# Texts that JSON cannot say.
YAML = (
    *("name: &a x\nmodel: *a\n", "a: &a [*a]\n", "<<: {name: x}\n", "name: x\nname: y\n", "!!binary aGk=\n"),
    *("!!python/object:os.system x\n", "? [a, b]\n: c\n", "? {a: b}\n: c\n", "--- 1\n--- 2\n", "name: 'x\n"),
    *("%YAML 9.9\n---\na: b\n", "name: |\n  x\n y\n", "\tname: x\n", "- a\n- b\n", "just text\n", "...\n", "", "\x00"),
    *("name: 2026-11-26\n", "name: !!set {a, b}\n", "name: !!omap [a: 1]\n", "name: .nan\n", "a: 0b1111\n"),
    *("a: 190:20:30\n", "name: @x\n", "%TAG ! tag:x,2000:\n---\na: !b c\n", "a: !!timestamp 9999-99-99\n", "{a\n"),
    *("a: !!int x\n", "a: !!float x\n", "a: 1e999999999\n", "a: 07777777777777777777777777\n", "a: !!null x\n"),
    *(
        "a: " + "9" * 5000 + "\n",
        "a: !!bool x\n",
        "name: !!str 1\nmodel: !!map {}\n",
        "a: !!seq {}\n",
        "a: !!merge x\n",
    ),
    *("? \n", ": \n", "a: b: c\n", "[1, 2\n", "\ufeffname: x\n"),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from places(part, (*path, key))


def changed(data: Data, rng: random.Random) -> Data:
    """Return a study with one to three odd values, missing keys or unknown keys."""
    made: Data = json.loads(json.dumps(data))
    for _ in range(rng.randint(1, 3)):
        *parents, last = rng.choice([path for path in places(made) if path])
        at: Any = made
        for key in parents:
            at = at[key]
        way = rng.random()
        if way < 0.6:
            at[last] = rng.choice(ODD)
        elif way < 0.8 and isinstance(at, dict):
            del at[last]
        elif isinstance(at, dict):
            at[rng.choice(EXTRA)] = rng.choice(ODD)
    return made


def mangled(text: str, rng: random.Random) -> bytes:
    """Return a study's text, damaged: a turned bit, a piece of YAML put in, a line twice, or a cut."""
    way, lines = rng.randrange(4), text.splitlines(keepends=True)
    if way == 0:
        return flip(text.encode(), rng)
    place = rng.randrange(len(lines))
    if way == 1:
        return "".join([*lines[:place], rng.choice(YAML), *lines[place:]]).encode()
    if way == 2:
        return "".join([*lines[: place + 1], lines[place], *lines[place + 1 :]]).encode()
    return text.encode()[: rng.randrange(len(text))]


def texts(data: Data, count: int) -> Iterator[bytes]:
    rng = random.Random(0)
    for number in range(count):
        if number < len(YAML):
            yield YAML[number].encode()
        elif number % 2:
            yield json.dumps(changed(data, rng), indent=rng.choice((None, 1)), ensure_ascii=rng.random() < 0.5).encode()
        else:
            yield mangled(json.dumps(data, indent=1), rng)


def test_generated_and_damaged_files(study_data: Callable[..., Data], tmp_path: Path) -> None:
    path, found = tmp_path / "study.yaml", Counter[str]()
    for number, text in enumerate(texts(study_data(), scaled(10_000))):
        path.write_bytes(text)
        start = time.process_time()
        try:
            read_study(path)
            found["studies"] += 1
        except StudyError as error:
            assert str(error) and "\x1b" not in str(error)
            found["refused"] += 1
        except Exception as error:
            raise AssertionError(f"file {number}: {text[:300]!r}") from error
        assert time.process_time() - start < TIME, f"file {number}: {text[:300]!r}"
    print(dict(found))
    assert found["studies"] and found["refused"] > found.total() / 2


def bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(lines)


HUGE = {
    "aliases": bomb,
    "merge keys": lambda: "a: &a {x: 1}\n" + "".join(f"b{n}:\n  <<: [{', '.join(['*a'] * 99)}]\n" for n in range(99)),
    "brackets": lambda: "name: " + "[" * 5000 + "]" * 5000,
    "braces": lambda: "name: " + "{a: " * 5000 + "1" + "}" * 5000,
    "indents": lambda: "".join(" " * n + "a:\n" for n in range(430)),
    "dashes": lambda: "- " * 5000 + "a",
    "questions": lambda: "? " * 5000 + "a",
    "long list": lambda: "x: [" + "1, " * 33_000 + "1]",
    "just allowed": lambda: "x: [" + "1, " * 9_990 + "1]",
    "many keys": lambda: "".join(f"k{n}: {n}\n" for n in range(9_000)),
    "one long text": lambda: "name: " + "a" * 99_000,
    "one long number": lambda: "name: " + "9" * 99_000,
    "escapes": lambda: 'name: "' + "\\x41" * 24_000 + '"',
    "many documents": lambda: "--- a\n" * 16_000,
    "comments": lambda: "# x\n" * 24_000,
    "tags": lambda: "a: !!x " * 1000,
    "50 MB": lambda: "a: " + "x" * 50_000_000,
}
READING = """
import re, sys, time
from pathlib import Path
from slimfront.studies.errors import StudyError
from slimfront.studies.reader import read_study
for path in map(Path, sys.argv[1:]):
    start, text = time.process_time(), ""
    try:
        read_study(path)
    except StudyError as error:
        text = str(error)
    print(path.stem, len(text), time.process_time() - start, sep=";")
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
print(int(peak) * 1024)
"""


def test_files_that_ask_for_too_much(tmp_path: Path) -> None:
    paths = [tmp_path / f"{kind}.yaml" for kind in HUGE]
    for path in paths:
        path.write_text(HUGE[path.stem]())
    command = [sys.executable, "-c", READING, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-400:]
    *lines, peak = done.stdout.splitlines()
    for kind, length, seconds in (line.split(";") for line in lines):
        assert 0 < int(length) < 2000 and float(seconds) < TIME, (kind, length, seconds)
    print(done.stdout)
    assert len(lines) == len(HUGE) and int(peak) < MEMORY
