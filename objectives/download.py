"""What has to be downloaded."""

from __future__ import annotations

import zstandard
from slimfront.objectives.artifact import Artifact
from slimfront.objectives.measurement import Measurement
from slimfront.objectives.objective import OBJECTIVES, Context, Objective

# The default: of codes without zeros higher levels save nothing, of those with many a tenth in fifty times as long.
LEVEL = 3


@OBJECTIVES.register("download")
class Download(Objective):
    """Bytes of the files that the runtime loads, each compressed with Zstandard (RFC 8878) at its default level.

    What an app store or an update over the air ships. Zeros among the weights make it smaller on every target.
    """

    unit = "byte"
    direction = "minimize"
    description = "bytes of the model's files, compressed with Zstandard"

    def measure(self, artifact: Artifact, context: Context) -> Measurement:  # noqa: ARG002
        """See :meth:`Objective.measure`."""
        return Measurement(downloaded(artifact), self.unit)


def downloaded(artifact: Artifact) -> int:
    """Return how many bytes are left of an artifact's files when each is compressed."""
    return sum(packed_size((artifact.folder / name).read_bytes()) for name in artifact.files)


def packed_size(data: bytes) -> int:
    """Return how many bytes are left of some when they are compressed."""
    return len(zstandard.ZstdCompressor(level=LEVEL).compress(data))
