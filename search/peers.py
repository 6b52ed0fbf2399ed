"""Searches that share their records: each sees what the others write, and takes over what a dead one left."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from slimfront.search.lease import Lease
from slimfront.search.records import Records
from slimfront.search.trial import Trial
from slimfront.studies.errors import RecordsError

Json = dict[str, Any]
# Seconds between two signs of life; without one for so long, a search on another machine counts as dead.
BEAT, GRACE = 30.0, 180.0


class Peers:
    """This search among those that share its records.

    Args:
        records: The records.

    Attributes:
        own: This process's lease, as JSON.
    """

    def __init__(self, records: Records) -> None:
        self.own: Json = Lease.mine().to_json()
        self._records, self._over = records, threading.Event()
        records.beat(self.own, time.time())
        threading.Thread(target=self._live, daemon=True).start()

    def left(self, trial: Trial) -> bool:
        """Return whether nobody is at a running trial any longer."""
        if trial.owner is None or trial.owner == self.own:
            return True
        alive = Lease.from_json(trial.owner).alive()
        if alive is None:
            return time.time() - self._records.beats(trial.owner) > GRACE
        return not alive

    def close(self) -> None:
        """Give no more signs of life."""
        self._over.set()

    def _live(self) -> None:
        while not self._over.wait(BEAT):
            # A server that is away is told the next time.
            with contextlib.suppress(RecordsError):
                self._records.beat(self.own, time.time())
