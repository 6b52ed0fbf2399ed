"""Runs what the ONNX Runtime target made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from slimfront.objectives.artifact import Artifact
from slimfront.objectives.sessions.session import SESSIONS, Session
from slimfront.studies.encoding import Batch

MODEL = "model.onnx"
QUIET = 3


@SESSIONS.register("onnxruntime")
class OnnxSession(Session):
    """An inference session."""

    def __init__(self, artifact: Artifact) -> None:
        self._session = session(str(artifact.folder / MODEL), artifact.options)

    @property
    def inputs(self) -> tuple[str, ...]:
        """See :attr:`Session.inputs`."""
        return tuple(entry.name for entry in self._session.get_inputs())

    @property
    def threads(self) -> int:
        """See :attr:`Session.threads`."""
        return int(self._session.get_session_options().intra_op_num_threads)

    def run(self, batch: Batch) -> npt.NDArray[np.float32]:
        """See :meth:`Session.run`."""
        return np.array(self._session.run(None, dict(batch))[0], dtype=np.float32)


def session(model: bytes | str, options: Mapping[str, Any], profile: Path | None = None) -> Any:
    """Return an inference session of the library.

    Args:
        model: The model's bytes, or its path.
        options: As in the artifact: ``threads``.
        profile: Where to write how long each node takes.
    """
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = int(options["threads"])
    settings.inter_op_num_threads = 1
    settings.log_severity_level = QUIET
    if profile is not None:
        settings.enable_profiling = True
        settings.profile_file_prefix = str(profile)
    return onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
