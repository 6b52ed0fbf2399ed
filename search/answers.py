"""What models answered: predictions beside an artifact, and logits that are kept."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from slimfront.objectives.artifact import Artifact
from slimfront.objectives.objective import Context
from slimfront.objectives.runtimes import Runtime
from slimfront.objectives.sessions.session import read
from slimfront.studies.cache import cached, file_sha256
from slimfront.studies.encoding import Encoded
from slimfront.studies.processor import processor_name
from slimfront.studies.tensors import read_tensors

PREDICTIONS, TOKENIZER = "predictions.json", "tokenizer.json"
# Logits of the dense model, in the cache.
KEPT = "logits.npy"
# Files that lie beside those that the runtime loads, and that an export needs.
BESIDE = (PREDICTIONS, TOKENIZER)


def logits_of(artifact: Artifact, runtime: Runtime, examples: Encoded, batch: int) -> npt.NDArray[np.float32]:
    """Return the logits of an artifact, ``(sentences, classes)``.

    They come from the cache where the same files read the same sentences before.
    """
    key = {
        "files": dict(artifact.files),
        "options": dict(artifact.options),
        "data": examples.fingerprint(),
        "batch": batch,
        "machine": processor_name(),
    }

    def build(entry: Path) -> None:
        logits = read(runtime.load(artifact), examples, examples.partition(batch))
        np.save(entry / KEPT, np.stack([logits[index] for index in range(len(examples))]))

    found: npt.NDArray[np.float32] = np.load(cached("logits", key, build) / KEPT)
    return found


def readable_logits(paths: Sequence[Path], shape: tuple[int, ...]) -> list[npt.NDArray[np.float32]]:
    """Return the logits of earlier trials; a file that is damaged costs the race precision, not the trial."""
    found = []
    for path in paths:
        parts = read_tensors(path)
        logits = None if parts is None else parts[0]["logits"].numpy()
        if logits is None or logits.shape != shape or not np.isfinite(logits).all():
            print(f"{path}: damaged, left out of the forecast", file=sys.stderr)
        else:
            found.append(logits)
    return found


def beside(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the files that lie beside those that the runtime loads."""
    return {name: file_sha256(folder / name) for name in BESIDE if (folder / name).is_file()}


def keep_predictions(context: Context, folder: Path) -> None:
    """Write the predictions beside the artifact: an export is verified against them."""
    (folder / PREDICTIONS).write_text(json.dumps(context.predictions().tolist()))
