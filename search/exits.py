"""How a command ends: what it says, and its exit code."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from slimfront.search.printing import say

if TYPE_CHECKING:
    import typer


IMPORTING = "<frozen importlib._bootstrap>"


class Interrupted(BaseException):
    """A signal asked for a clean stop."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run_and_exit(app: typer.Typer) -> NoReturn:
    """Run a command line and exit with its code."""
    from slimfront.studies.errors import explained

    # Streams that were closed before the start; what is said there is lost.
    sys.stdout = sys.stdout or io.StringIO()
    sys.stderr = sys.stderr or io.StringIO()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Tables hold × and →, which not every encoding has.
        sys.stdout.reconfigure(errors="replace")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        code = app(prog_name="slimfront", standalone_mode=False) or 0
        sys.stdout.flush()
    except Interrupted as stop:
        say("stopped")
        _exit(128 + stop.number)
    except BrokenPipeError:
        _exit(0)
    except SystemExit as end:
        # Click's own way to end where nobody reads on.
        code = 0 if isinstance(end.__context__, BrokenPipeError) else end.code or 0
    except Exception as error:
        code = _told(explained(error))
    _exit(code if isinstance(code, int) else 0)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    if _importing(frame):
        # An exception would end some libraries' own initialization, and with it the process, in an abort.
        say("stopped")
        _exit(128 + number)
    raise Interrupted(number)


def _importing(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_filename != IMPORTING:
        frame = frame.f_back
    return frame is not None


def _told(error: BaseException) -> int:
    """Say what went wrong and return the exit code."""
    from slimfront.studies.errors import SlimfrontError

    if isinstance(error, SlimfrontError):
        say(f"error: {error}")
        return error.exit_code
    if isinstance(error, OSError):
        say(f"error: {error.filename or 'a file'}: {error.strerror or error}")
        say("  next:    name a place that exists and that you may write to")
        return 2
    # A usage error is shown as such, and anything else as a bug of ours.
    if hasattr(error, "show") and hasattr(error, "exit_code"):
        error.show()
        return int(error.exit_code)
    if os.environ.get("SLIMFRONT_DEBUG"):
        raise error
    say(f"error: this is a bug in slimfront: {type(error).__name__}: {error}")
    say("  next:    set SLIMFRONT_DEBUG=1 to see where, and report it")
    return 70


def _exit(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    # Threads of a stopped search and of the libraries are not waited for.
    os._exit(code)
