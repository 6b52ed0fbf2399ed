"""Size of the artifact."""

from __future__ import annotations

from slimfront.objectives.artifact import Artifact
from slimfront.objectives.measurement import Measurement
from slimfront.objectives.objective import OBJECTIVES, Context, Objective


@OBJECTIVES.register("size")
class Size(Objective):
    """Bytes of the files that the runtime loads, counted on the disk."""

    unit = "byte"
    direction = "minimize"
    description = "bytes of the model's files on the disk"

    def measure(self, artifact: Artifact, context: Context) -> Measurement:  # noqa: ARG002
        """See :meth:`Objective.measure`."""
        return Measurement(artifact.size(), self.unit)
