"""Runs what the OpenVINO target made."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from slimfront.objectives.artifact import Artifact
from slimfront.objectives.sessions.session import SESSIONS, Session
from slimfront.studies.encoding import INPUTS, Batch
from slimfront.studies.private import keep_private

MODEL, WEIGHTS = "openvino_model.xml", "openvino_model.bin"
# How often a model whose answers are no numbers is loaded again before that is believed.
RELOADS = 3

keep_private()


@SESSIONS.register("openvino")
class OpenVinoSession(Session):
    """A compiled model with one inference request.

    Some models read memory that nobody has written, it seems: where something that is not a number was left there,
    no answer of the session is one either (seen of a model of 96 channels, in 3 of 125 loads after memory had been
    filled so on purpose): the model is then loaded again, to another place.
    """

    side_by_side = True
    # Answers differ by the rounding of f32 or bf16 alone, whatever is read with them. More at once would be faster, but
    # a race would read more than it needs.
    reading = 8

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._request = self._load()

    @classmethod
    def prepare(cls, artifact: Artifact) -> None:
        """See :meth:`Session.prepare`: the CPU's plugin is another library, which its first use loads."""
        super().prepare(artifact)
        capabilities()

    def _load(self) -> Any:
        import openvino as ov

        core = ov.Core()
        # Without a memory map the files may be removed while the session lives.
        core.set_property({"ENABLE_MMAP": False})
        model = core.read_model(str(self._artifact.folder / MODEL))
        return core.compile_model(model, "CPU", dict(self._artifact.options)).create_infer_request()

    @property
    def inputs(self) -> tuple[str, ...]:
        """See :attr:`Session.inputs`."""
        ports = self._request.get_compiled_model().inputs
        # A port may have several names.
        return tuple(name for name in INPUTS if any(name in port.get_names() for port in ports))

    @property
    def threads(self) -> int:
        """See :attr:`Session.threads`."""
        return int(self._request.get_compiled_model().get_property("INFERENCE_NUM_THREADS"))

    def run(self, batch: Batch) -> npt.NDArray[np.float32]:
        """See :meth:`Session.run`."""
        found = self._infer(batch)
        for _ in range(RELOADS):
            if np.isfinite(found).all() or not (self._artifact.folder / MODEL).is_file():
                break
            self._request = self._load()
            found = self._infer(batch)
        return found

    def _infer(self, batch: Batch) -> npt.NDArray[np.float32]:
        return np.array(self._request.infer(batch)[0], dtype=np.float32)


def capabilities() -> list[str]:
    """Return what this processor computes fast, in OpenVINO's words."""
    import openvino as ov

    found: list[str] = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return found
