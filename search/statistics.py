"""What is computed once from the dense model for all trials: importance of units, and the teacher's logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from slimfront.spaces.criteria import CRITERIA
from slimfront.spaces.criteria.criterion import LabelledBatch
from slimfront.spaces.draft import Scores
from slimfront.spaces.structure import Anatomy
from slimfront.studies.cache import cached
from slimfront.studies.dense import tensors
from slimfront.studies.encoding import Encoded
from slimfront.studies.schema import SparsitySpec
from slimfront.studies.subject import Subject
from slimfront.studies.threads import fitting, torch_threads
from torch import nn

Progress = Callable[[str, float], None]
FILE, ROWS = "values.safetensors", 32


def importance(subject: Subject, anatomy: Anatomy, spec: SparsitySpec | None, progress: Progress) -> Scores:
    """Return the score of each unit, ``(units,)`` by structure, from the cache where it has them.

    Raises:
        StudyError: the study names no criterion that exists.
    """
    if spec is None or not anatomy.structures:
        return {}
    criterion = CRITERIA.get(spec.criterion, where="space.sparsity.criterion")()
    rows = min(spec.rows, len(subject.train))
    names = [structure.name for structure in anatomy.structures]
    key = {
        "criterion": spec.criterion,
        "rows": rows,
        "weights": subject.weights,
        "data": subject.train.fingerprint(),
        "structures": names,
        "torch": torch.__version__,
    }

    def build(folder: Path) -> None:
        batches = _labelled(subject.train, rows, progress)
        with torch_threads(fitting(subject.module)):
            save_file(criterion.scores(subject.module, anatomy.structures, batches), folder / FILE)

    scores: dict[str, torch.Tensor] = load_file(cached("importance", key, build) / FILE)
    return scores


def _labelled(train: Encoded, rows: int, progress: Progress) -> Iterator[LabelledBatch]:
    order = np.random.default_rng(0).permutation(len(train))[:rows].tolist()
    for start in range(0, rows, ROWS):
        progress("scoring heads and neurons", start / rows)
        yield tensors(train, order[start : start + ROWS])
    progress("scoring heads and neurons", 1.0)


def teacher_logits(subject: Subject, progress: Progress) -> torch.Tensor:
    """Return the dense model's logits on the train split, ``(rows, classes)``, from the cache where it has them."""
    key = {"weights": subject.weights, "data": subject.train.fingerprint(), "torch": torch.__version__}

    def build(folder: Path) -> None:
        with torch_threads(fitting(subject.module)):
            save_file({"logits": _logits(subject.module, subject.train, progress)}, folder / FILE)

    logits: torch.Tensor = load_file(cached("teacher", key, build) / FILE)["logits"]
    return logits


def _logits(module: nn.Module, train: Encoded, progress: Progress) -> torch.Tensor:
    found: torch.Tensor | None = None
    done = 0
    with torch.no_grad():
        for indices, _ in train.sorted_batches(ROWS):
            logits = module(**tensors(train, indices)[0]).logits.float()
            found = torch.zeros(len(train), logits.shape[-1]) if found is None else found
            found[indices] = logits
            done += len(indices)
            progress("reading the teacher's predictions", done / len(train))
    assert found is not None
    return found
