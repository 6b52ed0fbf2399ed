"""Nothing of a study is told to anyone: libraries that report their use are kept from it."""

from __future__ import annotations

import sys


def keep_private() -> None:
    """Let OpenVINO, which is to be imported afterwards, not find the package with which it reports every import.

    It would do so in a thread, at whose locks processes hang that are forked meanwhile.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
