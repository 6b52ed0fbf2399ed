"""Remembers beside the records how much was written into them: a log that lost its end is read without a complaint."""

from __future__ import annotations

import json
import os
from pathlib import Path

from slimfront.studies.cache import digest

FILE = "records.count.json"


class Witness:
    """How many entries of each kind the records of a run held at least.

    It is written after the records are, and read before them: where they hold less, something was lost.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._counts = self.counts()

    def counts(self) -> dict[str, int]:
        """Return how many entries there were; none where the file is missing or damaged."""
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
            counts = {str(name): int(count) for name, count in data["counts"].items()}
            return counts if digest(counts) == data["sha256"] else {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def saw(self, name: str, count: int) -> None:
        """Remember that the records hold so many entries of a kind."""
        self.reset({**self._counts, name: count})

    def reset(self, counts: dict[str, int]) -> None:
        """Remember these numbers of entries in place of all others."""
        if counts == self._counts:
            return
        scratch = self._path.with_name(f".{FILE}.{os.getpid()}")
        try:
            scratch.write_text(json.dumps({"counts": counts, "sha256": digest(counts)}), encoding="utf-8")
            scratch.replace(self._path)
        finally:
            scratch.unlink(missing_ok=True)
        self._counts = dict(counts)
