"""What has to be downloaded."""

from __future__ import annotations

import zstandard
from slimfront.objectives.measurement import Measurement
from slimfront.objectives.objective import OBJECTIVES, Context, Objective
from slimfront.objectives.runtimes.artifact import Artifact

# Higher levels take ten times as long and save less than two percent of codes.
LEVEL = 10


@OBJECTIVES.register("download")
class Download(Objective):
    """Bytes of the files that the runtime loads, each compressed with Zstandard (RFC 8878) at level 10.

    What an app store or an update over the air ships. Zeros among the weights make it smaller on every target.
    """

    unit = "byte"
    direction = "minimize"
    description = "bytes of the model's files, compressed with Zstandard"

    def measure(self, artifact: Artifact, context: Context) -> Measurement:  # noqa: ARG002
        """See :meth:`Objective.measure`."""
        sizes = [packed_size((artifact.folder / name).read_bytes()) for name in artifact.files]
        return Measurement(sum(sizes), self.unit)


def packed_size(data: bytes) -> int:
    """Return how many bytes are left of some when they are compressed."""
    return len(zstandard.ZstdCompressor(level=LEVEL).compress(data))
