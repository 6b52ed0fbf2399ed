"""What an artifact's bytes depend on, beside its configuration: enough to say why it comes out otherwise elsewhere."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from slimfront.studies.errors import RecordsError
from slimfront.studies.processor import processor_name

if TYPE_CHECKING:
    from slimfront.search.evaluator import Evaluator

Json = dict[str, Any]
# What trials of one run must share.
CONTENT = (
    "dense weights",
    "weights that are stitched",
    "methods and their data",
    "train split",
    "search split",
    "held-out split",
)
LIBRARIES = ("slimfront", "torch", "transformers", "tokenizers", "numpy")


def lock(evaluator: Evaluator) -> Json:
    """Return hashes of weights, data and methods, versions of the libraries, and the processor."""
    subject = evaluator.subject
    return {
        "dense weights": subject.weights,
        "weights that are stitched": evaluator.base.weights,
        "methods and their data": evaluator.bank.methods,
        "train split": subject.train.fingerprint(),
        "search split": subject.search.fingerprint(),
        "held-out split": subject.held_out.fingerprint(),
        **{name: importlib.metadata.version(name) for name in (*LIBRARIES, *evaluator.runtime.libraries)},
        "processor": processor_name(),
    }


def require_same(before: Mapping[str, Any], after: Mapping[str, Any], place: str) -> None:
    """Refuse to go on with weights or data other than those of the trials so far.

    Raises:
        RecordsError: they differ.
    """
    found = differences({name: before[name] for name in CONTENT if name in before}, after)
    if found:
        raise RecordsError(
            "weights or data are not those with which this run began",
            where=place,
            given="; ".join(found),
            hint="go on with the machine, versions and cache of its trials, or begin another run with --new",
        )


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return in words what differs between two locks."""
    names = [name for name in before if before[name] != after.get(name)]
    return [f"{name}: {str(before[name])[:24]}, here {str(after.get(name))[:24]}" for name in names]
