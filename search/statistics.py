"""What is computed once from the dense model for all trials: importance of units, and the teacher's logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from slimfront.spaces.criteria import CRITERIA
from slimfront.spaces.criteria.criterion import LabelledBatch
from slimfront.spaces.draft import Scores
from slimfront.spaces.moments import Moments, Ranges, watch
from slimfront.spaces.structure import Anatomy
from slimfront.studies.cache import cached, digest
from slimfront.studies.dense import tensors
from slimfront.studies.encoding import Encoded
from slimfront.studies.space import SparsitySpec
from slimfront.studies.subject import Subject
from slimfront.studies.threads import fitting, torch_threads
from torch import nn

Progress = Callable[[str, float], None]
FILE, ROWS = "values.safetensors", 32
# What follows a weight's name where the ends of ranges are kept; counted up when calibration finds something else.
ENDS, CALIBRATION = "/ends", 1


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
        batches = _labelled(subject.train, rows, "scoring heads and neurons", progress)
        with torch_threads(fitting(subject.module)):
            save_file(criterion.scores(subject.module, anatomy.structures, batches), folder / FILE)

    scores: dict[str, torch.Tensor] = load_file(cached("importance", key, build) / FILE)
    return scores


@dataclass(frozen=True)
class Calibration:
    """What the linear layers read on sentences of the train split.

    Attributes:
        file: Second moments by weight, ``(columns, columns)``, and the ends of each column's range, ``(2, columns)``.
        data: SHA-256 of the sentences.
    """

    file: Path
    data: str

    def moment(self, weight: str) -> torch.Tensor | None:
        """Return the second moments of what a weight multiplies, or None where it is no linear layer's."""
        return self._read(weight)

    def range(self, weight: str) -> torch.Tensor:
        """Return the least and largest value of each column that a linear layer's weight multiplies, ``(2, columns)``.

        Raises:
            KeyError: the weight is no linear layer's.
        """
        found = self._read(f"{weight}{ENDS}")
        if found is None:
            raise KeyError(weight)
        return found

    def _read(self, name: str) -> torch.Tensor | None:
        with safe_open(self.file, framework="pt") as stream:
            found: torch.Tensor | None = stream.get_tensor(name) if name in stream.keys() else None  # noqa: SIM118
        return found


def calibration(subject: Subject, rows: int, progress: Progress) -> Calibration:
    """Return what every linear layer reads, from the cache where it is there."""
    rows = min(rows, len(subject.train))
    data = digest([subject.train.fingerprint(), rows])
    key = {"weights": subject.weights, "data": data, "torch": torch.__version__, "version": CALIBRATION}
    layers = [name for name, part in subject.module.named_modules() if isinstance(part, nn.Linear)]

    def build(folder: Path) -> None:
        batches = _labelled(subject.train, rows, "watching what every layer reads", progress)
        with torch_threads(fitting(subject.module)):
            watch(subject.module, layers, batches, [moments := Moments(), ranges := Ranges()])
        found = {f"{name}.weight": moment for name, moment in moments.found().items()}
        found |= {f"{name}.weight{ENDS}": ends for name, ends in ranges.found().items()}
        save_file(found, folder / FILE)

    return Calibration(cached("moments", key, build) / FILE, data)


def _labelled(train: Encoded, rows: int, text: str, progress: Progress) -> Iterator[LabelledBatch]:
    order = np.random.default_rng(0).permutation(len(train))[:rows].tolist()
    for start in range(0, rows, ROWS):
        progress(text, start / rows)
        yield tensors(train, order[start : start + ROWS])
    progress(text, 1.0)


def teacher_logits(subject: Subject, progress: Progress) -> torch.Tensor:
    """Return the dense model's logits on what it teaches, ``(rows, classes)``, from the cache where it has them."""
    key = {"weights": subject.weights, "data": subject.lessons.fingerprint(), "torch": torch.__version__}

    def build(folder: Path) -> None:
        with torch_threads(fitting(subject.module)):
            save_file({"logits": _logits(subject.module, subject.lessons, progress)}, folder / FILE)

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
