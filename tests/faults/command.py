"""The command line, with workers whose trials take no time."""

from __future__ import annotations

from slimfront.search import remote
from slimfront.search.cli import main

if __name__ == "__main__":
    remote.WORKER = "tests.faults.trivial"
    main()
