"""How commands speak: data on standard output, everything else on standard error."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slimfront.search.inspect.documents import Document


def say(text: str) -> None:
    """Tell the user something that is no data; where nobody reads on, nothing."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def print_document(document: Document) -> None:
    """Print a document as JSON."""
    print(json.dumps(document.model_dump(mode="json", exclude_unset=True), indent=1, allow_nan=False))


def print_tables(*tables: Any) -> None:
    """Print tables; without a terminal there is no width to fit, and lines are kept whole."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 200)
    for table in tables:
        console.print(table)
