"""The deployable files that a target makes of a configuration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimfront.studies.cache import file_sha256
from slimfront.studies.errors import RecordsError

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Artifact:
    """A folder of files and their sums.

    Attributes:
        folder: Where the files are.
        files: SHA-256 of each file that the runtime loads, by name.
        runtime: The runtime's name.
        options: How the runtime loads the files, as JSON.
    """

    folder: Path
    files: Mapping[str, str]
    runtime: str
    options: Mapping[str, Any]

    @classmethod
    def seal(cls, folder: Path, names: list[str], runtime: str, options: Mapping[str, Any]) -> Artifact:
        """Sum the named files and write the manifest beside them.

        Raises:
            ValueError: the folder holds other files, which the runtime may load and the size would forget.
        """
        if others := sorted({path.name for path in folder.iterdir()} - {*names, MANIFEST}):
            raise ValueError(f"files that would not be counted: {', '.join(others)}")
        artifact = cls(folder, {name: file_sha256(folder / name) for name in names}, runtime, dict(options))
        data = artifact.manifest()
        text = json.dumps({**data, "sha256": _sum(data)}, indent=1, sort_keys=True, allow_nan=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
        return artifact

    @classmethod
    def open(cls, folder: Path) -> Artifact:
        """Open a sealed folder and check its sums.

        Raises:
            RecordsError: the manifest is missing or damaged, or a file is not what it was.
        """
        try:
            data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if _sum({key: value for key, value in data.items() if key != "sha256"}) != data["sha256"]:
                raise ValueError("its own sum differs")
            files = {str(name): str(entry["sha256"]) for name, entry in data["files"].items()}
            artifact = cls(folder, files, str(data["runtime"]), dict(data["options"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RecordsError(
                "the manifest is missing or damaged",
                where=str(folder / MANIFEST),
                given=str(error),
                hint="export the point again",
            ) from None
        for name, expected in files.items():
            if Path(name).name != name or not (folder / name).is_file() or file_sha256(folder / name) != expected:
                raise RecordsError(
                    "this file is missing or not what was measured",
                    where=str(folder / name),
                    allowed=f"SHA-256 {expected}",
                    hint="export the point again",
                )
        return artifact

    def manifest(self) -> dict[str, Any]:
        """Return the manifest as JSON."""
        files = {
            name: {"sha256": total, "bytes": (self.folder / name).stat().st_size} for name, total in self.files.items()
        }
        return {
            "schema_version": 1,
            "runtime": self.runtime,
            "options": dict(self.options),
            "files": files,
            "size": self.size(),
        }

    def size(self) -> int:
        """Return the bytes of all files that the runtime loads."""
        return sum((self.folder / name).stat().st_size for name in self.files)


def _sum(manifest: Mapping[str, Any]) -> str:
    """Return the sum of everything else that a manifest says, such as with how many threads the files are run."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
