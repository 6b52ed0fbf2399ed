"""What an artifact's bytes depend on, beside its configuration: enough to say why it comes out otherwise elsewhere."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from slimfront.studies.processor import processor_name

if TYPE_CHECKING:
    from slimfront.search.evaluator import Evaluator

Json = dict[str, Any]
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


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return in words what differs between two locks."""
    names = [name for name in before if before[name] != after.get(name)]
    return [f"{name}: {str(before[name])[:24]}, here {str(after.get(name))[:24]}" for name in names]
