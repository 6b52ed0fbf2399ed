"""Runs what the PyTorch target made."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
from slimfront.objectives.artifact import Artifact
from slimfront.objectives.sessions.session import SESSIONS, Session
from slimfront.studies.encoding import Batch

LOADER = "slimfront.objectives.runtimes.pytorch.load"
RECIPE = "compressed.json"


@SESSIONS.register("pytorch")
class PyTorchSession(Session):
    """A loaded module."""

    def __init__(self, artifact: Artifact) -> None:
        from slimfront.objectives.runtimes.pytorch.load import load
        from slimfront.studies.threads import torch_threads

        self._device, self._threads = str(artifact.options["device"]), int(artifact.options["threads"])
        with torch_threads(self._threads):
            self._model = load(artifact.folder).to(self._device)

    @classmethod
    def imports(cls, artifact: Artifact) -> tuple[str, ...]:
        """See :meth:`Session.imports`: Transformers imports the file of a model when it is asked for its class."""
        import transformers

        recipe = json.loads((artifact.folder / RECIPE).read_text(encoding="utf-8"))
        return LOADER, getattr(transformers, recipe["class"]).__module__

    @property
    def inputs(self) -> tuple[str, ...]:
        """See :attr:`Session.inputs`."""
        from slimfront.studies.models import model_inputs

        return model_inputs(self._model)

    @property
    def threads(self) -> int:
        """See :attr:`Session.threads`."""
        import torch
        from slimfront.studies.threads import torch_threads

        with torch_threads(self._threads):
            return torch.get_num_threads()

    def run(self, batch: Batch) -> npt.NDArray[np.float32]:
        """See :meth:`Session.run`."""
        from slimfront.objectives.runtimes.pytorch.execution import logits
        from slimfront.studies.threads import torch_threads

        with torch_threads(self._threads):
            return logits(self._model, batch, self._device)
