"""Which class of a checkpoint is which label of the data."""

from __future__ import annotations

import re
from collections.abc import Sequence


def places(labels: Sequence[str], names: Sequence[str]) -> list[int] | None:
    """Return the place of each label among some names; None where both are not the same but for capitals and order."""
    wanted, own = [label.casefold() for label in labels], [name.casefold() for name in names]
    if sorted(own) != sorted(wanted) or len(set(own)) < len(own):
        return None
    return [own.index(label) for label in wanted]


def telling(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of a checkpoint's classes, or nothing where they are only numbered."""
    return () if all(re.fullmatch(r"LABEL_\d+|\d+", name) for name in names) else tuple(names)
