"""The dense artifact's session, beside which the others are timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slimfront.objectives.artifact import Artifact
from slimfront.objectives.sessions import Session
from torch import nn

# Bytes of weights. A session takes one and a half times as many, and training up to six times as many.
LARGE = 2**28


@dataclass
class Baseline:
    """Keeps the dense artifact's session from trial to trial.

    Attributes:
        load: Loads an artifact.
    """

    load: Callable[[Artifact], Session]
    _kept: tuple[Path, Session] | None = None

    def session(self, folder: Path) -> Session:
        """Return the session of the dense artifact in a folder.

        Raises:
            RecordsError: its files are not those that were measured.
        """
        if self._kept is None or self._kept[0] != folder:
            self._kept = (folder, self.load(Artifact.open(folder)))
        return self._kept[1]

    def make_room(self, module: nn.Module) -> None:
        """Let the session go where the dense module is large; loading it again takes a second, and training minutes."""
        if sum(value.nbytes for value in module.parameters()) > LARGE:
            self._kept = None
