"""A disk that fills up costs the step that needed it, and nothing that was finished."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from slimfront.search.records import Records
from slimfront.studies.errors import RecordsError
from slimfront.studies.schema import Study

from tests.faults.mutations import rare
from tests.faults.searching import code_of, found


class Quota:
    """Lets the n-th write under some folders find the disk full, and all that follow."""

    def __init__(self) -> None:
        self.folders: tuple[str, ...] = ()
        self.left = -1
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.left < 0 or event not in ("open", "os.mkdir", "os.rename"):
            return
        path = arguments[1] if event == "os.rename" else arguments[0]
        writes = event != "open" or bool(int(arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if writes and str(path).startswith(self.folders):
            if self.left == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            self.left -= 1

    @contextlib.contextmanager
    def after(self, count: int, *folders: Path) -> Iterator[None]:
        self.folders, self.left = tuple(map(str, folders)), count
        try:
            yield
        finally:
            self.left = -1


QUOTA = Quota()


def finished(folder: Path) -> list[tuple[Any, ...]]:
    try:
        return found(folder)
    except RecordsError as error:
        # It never began.
        assert "no records" in str(error) or "no study" in str(error), error
        return []


def test_every_write_may_find_the_disk_full(
    study: Study, undisturbed: list[tuple[Any, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    step, stopped = max(1, round(100 / rare(100))), 0
    for count in range(step // 2, 100, step):
        folder = tmp_path / f"run-{count}"
        with QUOTA.after(count, folder):
            code = code_of(study, folder)
        assert code in (0, 4), (count, code, capsys.readouterr().err)
        stopped += code == 4
        before = finished(folder)
        assert before == undisturbed[: len(before)] and (code or before == undisturbed)
        assert code_of(study, folder) == 0, capsys.readouterr().err
        assert found(folder) == undisturbed, count
        shutil.rmtree(folder)
    print(f"{stopped} of {len(range(step // 2, 100, step))} searches were stopped by a full disk")
    assert stopped


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which a test fills."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path, left: int) -> Path:
    """Leave so many bytes of a small disk free; return the file that takes the others."""
    ballast = place / "ballast"
    ballast.unlink(missing_ok=True)
    state = os.statvfs(place)
    with ballast.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, max(1, state.f_bavail * state.f_frsize - left))
    return ballast


def used(place: Path) -> int:
    state = os.statvfs(place)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


@pytest.mark.parametrize("cold", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_disk_that_is_really_full(
    cold: bool,
    study: Study,
    undisturbed: list[tuple[Any, ...]],
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Cold, the cache too is on the small disk, and still empty."""
    folder, cache = small_disk / "run", small_disk / "cache"
    if cold:
        monkeypatch.setenv("SLIMFRONT_CACHE", str(cache))
    assert code_of(study, folder, cold) == 0
    most, stopped, times = used(small_disk), 0, rare(20 if cold else 100)
    for number in range(times):
        shutil.rmtree(folder)
        shutil.rmtree(cache, ignore_errors=True)
        left = round(most * (number + 0.5) / times)
        ballast = fill(small_disk, left)
        code = code_of(study, folder, cold)
        assert code in (0, 4), (left, code, capsys.readouterr().err)
        stopped += code == 4
        ballast.unlink()
        before = finished(folder)
        assert before == undisturbed[: len(before)]
        assert code_of(study, folder, cold) == 0, (left, capsys.readouterr().err)
        assert found(folder) == undisturbed, left
    print(f"{stopped} of {times} searches were stopped with less than {most} bytes left")
    assert stopped


@pytest.mark.slow
def test_the_command_says_so_and_goes_on(small_disk: Path, study_file: Callable[..., Path]) -> None:
    """As a user meets it: exit code 4 and one message; with space again the same command ends well."""
    from tests.commands import forked

    path = study_file(trials=3, sampler="random")
    ballast = fill(small_disk, 600_000)
    command = ("launch", path, "--run", small_disk / "run")
    full = forked(*command)
    assert full.returncode == 4 and "no space left" in full.stderr.lower() and "Traceback" not in full.stderr
    ballast.unlink()
    done = forked(*command)
    assert done.returncode == 0, done.stderr
    assert len(Records(small_disk / "run").trials()) == 3
