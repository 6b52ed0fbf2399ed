"""Which class of a checkpoint is which label of the data."""

from __future__ import annotations

from collections.abc import Sequence


def places(labels: Sequence[str], names: Sequence[str]) -> list[int] | None:
    """Return the place of each label among some names; None where both are not the same but for capitals and order."""
    wanted, own = [label.casefold() for label in labels], [name.casefold() for name in names]
    if sorted(own) != sorted(wanted) or len(set(own)) < len(own):
        return None
    return [own.index(label) for label in wanted]
