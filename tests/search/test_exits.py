"""How commands end when nobody reads what they say, or a signal comes at a bad moment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = f"{sys.executable} -m slimfront.search.cli"


def ended(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


@pytest.mark.parametrize(
    ("line", "streams", "code"),
    [("schema", ">&-", 0), ("inspect no-such-run", "2>&-", 2), ("inspect no-such-run", "2>/dev/full", 2)],
)
def test_a_closed_stream_changes_no_exit_code(line: str, streams: str, code: int, tmp_path: Path) -> None:
    done = ended(["sh", "-c", f"{COMMAND} {line} {streams}"], tmp_path)
    assert done.returncode == code and "Traceback" not in done.stderr and "bug" not in done.stderr


@pytest.mark.parametrize(("line", "code"), [("schema", 0), ("inspect no-such-run", 2)])
def test_a_reader_that_went_away_changes_no_exit_code(line: str, code: int, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*COMMAND.split(), *line.split()], stdout=writer, stderr=writer, cwd=tmp_path, check=False)
    os.close(writer)
    assert done.returncode == code


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    done = ended(["sh", "-c", f"{COMMAND} schema > /dev/full"], tmp_path)
    assert done.returncode == 4 and "No space left" in done.stderr


def test_a_signal_during_an_import_ends_the_command_at_once(tmp_path: Path) -> None:
    """Libraries that call Python while they set themselves up abort the process over an exception there."""
    (tmp_path / "slow.py").write_text(
        "import os, signal, time\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(1)\n"
        "except BaseException:\n    os._exit(134)\n"
    )
    code = "from slimfront.search.exits import run_and_exit\ndef app(**_options):\n    import slow\nrun_and_exit(app)\n"
    done = ended([sys.executable, "-c", code], tmp_path)
    assert (done.returncode, done.stderr) == (130, "stopped\n")
