"""What the shell completes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from slimfront.objectives.runtimes import RUNTIMES
from slimfront.search import options, picking
from slimfront.search.engines import ENGINES
from slimfront.search.export import EXPORTERS
from slimfront.search.samplers import SAMPLERS
from slimfront.search.trackers import TRACKERS
from slimfront.studies.errors import StudyError


def test_help_names_every_choice() -> None:
    kinds: dict[str, Any] = {
        "SAMPLERS": SAMPLERS,
        "TARGETS": RUNTIMES,
        "FORMATS": EXPORTERS,
        "ENGINES": ENGINES,
        "TRACKERS": TRACKERS,
        "PICKS": picking.PICKS,
    }
    for name, registry in kinds.items():
        assert sorted(getattr(options, name)) == sorted(registry), name


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("slimfront ins", {"inspect"}),
        ("slimfront inspect run --pick ", set(options.PICKS)),
        ("slimfront inspect run --pick s", {"smallest"}),
        ("slimfront launch study.yaml --sampler nsga", {"nsga2", "nsga3"}),
        ("slimfront launch study.yaml --tracker mlflow --tracker t", {"tensorboard"}),
        ("slimfront plan study.yaml --target o", {"openvino", "onnxruntime"}),
        ("slimfront export run --to on", {"onnx"}),
    ],
)
def test_the_shell_completes(line: str, expected: set[str]) -> None:
    """What bash asks the command for, as the script of ``--show-completion`` does."""
    words = line.split(" ")
    asked = {"_SLIMFRONT_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    code = "import sys; sys.argv = ['slimfront']; from slimfront.search.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **asked}, capture_output=True, text=True, check=False
    )
    assert set(done.stdout.split()) == expected, done.stderr


def test_an_error_of_what_an_option_replaced_names_the_option() -> None:
    for where, settings, named in (
        ("target.runtime", {"target": "pytorch"}, "--target"),
        ("search.seed", {"seed": 5, "target": None}, "--seed"),
        ("target.runtime", {"target": None}, "target.runtime"),
    ):
        with pytest.raises(StudyError) as caught, options.told_as_options(settings):
            raise StudyError("x", where=where)
        assert caught.value.where == named
