"""One exception family: where it went wrong, what was given, what is allowed, what to do next."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable, Sequence


def nearest(name: object, options: Iterable[str]) -> str | None:
    """Return the spelling among ``options`` closest to ``name``, or None where none is near."""
    found = difflib.get_close_matches(str(name).lower(), list(options), n=1, cutoff=0.5)
    return found[0] if found else None


def one_line(value: object, limit: int = 120) -> str:
    """Return ``value`` as a single printable line of at most ``limit`` characters."""
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def last_line(stderr: str, status: int) -> str:
    """Return what a process said last, or its exit status where it said nothing."""
    lines = stderr.strip().splitlines()
    return lines[-1] if lines else f"exit status {status}"


# How libraries say that a disk is full which do not raise what the system does.
FULL = re.compile(r"No space left on device|os error 28|disk is full|Disk quota exceeded|\d+ requested and \d+ written")


class NotFinite(ValueError):
    """A logit, a loss or a measurement is not a finite number."""


class SlimfrontError(Exception):
    """Something that the user can mend.

    Args:
        message: What is wrong, in one sentence.
        where: The key's path in the study file, the option or the file.
        given: The value that was given.
        allowed: What would have been accepted.
        hint: The next step.
        details: More about what was given, in lines.
    """

    exit_code = 70

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        given: object = None,
        allowed: str | None = None,
        hint: str | None = None,
        details: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.message, self.where, self.given, self.allowed, self.hint = message, where, given, allowed, hint
        self.details = tuple(details)

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.message}" if self.where else self.message]
        if self.given is not None:
            lines.append(f"  given:   {one_line(self.given)}")
        lines += [f"           {line}" for line in self.details]
        if self.allowed:
            lines.append(f"  allowed: {self.allowed}")
        if self.hint:
            lines.append(f"  next:    {self.hint}")
        return "\n".join(lines)


def no_such(message: str, name: object, options: Iterable[object], *, where: str, hint: str) -> StudyError:
    """Return the error about a name that is none of those that there are.

    Args:
        message: What it is not.
        name: The name.
        options: Those that there are.
        where: Where it was given.
        hint: What to do where no option is spelt alike.
    """
    known = [str(option) for option in options]
    near = nearest(name, known)
    told = f"did you mean {near!r}?" if near else hint
    return StudyError(message, where=where, given=name, allowed=", ".join(known), hint=told)


class NoFeasiblePoint(SlimfrontError):
    """No trial satisfies the constraints or the filter (exit code 1)."""

    exit_code = 1


class StudyError(SlimfrontError):
    """The study file, an option or the model and data that they name are wrong (exit code 2)."""

    exit_code = 2


class MissingError(SlimfrontError):
    """This machine lacks something that the study needs (exit code 3)."""

    exit_code = 3


class RecordsError(SlimfrontError):
    """The run's records are locked, full or corrupt (exit code 4)."""

    exit_code = 4


def explained(error: BaseException) -> BaseException:
    """Return what is to be told of an error: of whatever ended because a disk is full, that it is."""
    at: BaseException | None = error if getattr(error, "exit_code", 0) != RecordsError.exit_code else None
    while at is not None:
        full = isinstance(at, OSError) and at.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or FULL.search(str(at)):
            return RecordsError(
                "there is no space left on the disk",
                where=getattr(at, "filename", None),
                given=one_line(str(at)),
                hint="free some, then run the same command again: what is finished is kept",
            )
        at = at.__cause__ or at.__context__
    return error


class TooManyFailures(SlimfrontError):
    """More trials failed than the study tolerates (exit code 5)."""

    exit_code = 5
