"""What a search is asked for by: a study file, or the folder of a run."""

from __future__ import annotations

from pathlib import Path

from slimfront.studies.reader import read_study
from slimfront.studies.schema import Study

STUDY = "study.json"


def study_and_run(path: str | Path, run: str | Path | None) -> tuple[Study, str | Path | None]:
    """Return the study in a file, and the run folder as it is given; a run folder in the file's place stands for both.

    Raises:
        SlimfrontError: neither a study nor a run is there, or it is damaged.
    """
    if (Path(path) / STUDY).is_file():
        # Late: whoever gives a bad study file need not wait for the libraries that records need.
        from slimfront.search.run import Run

        return Run.open(path).study, run or path
    return read_study(path), run
