"""Options that several commands share, each with what the shell completes it to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

# Spelled out here: to ask the registries would import it all for a line of help, or at each TAB.
SAMPLERS = ("evolution", "tpe", "nsga2", "nsga3", "gp", "random")
TARGETS = ("openvino", "onnxruntime", "pytorch")
FORMATS = ("openvino", "onnx", "pytorch", "transformers", "torch-export", "executorch", "config")
ENGINES = ("optuna", "ray")
TRACKERS = ("mlflow", "tensorboard")
PICKS = ("knee", "balanced", "smallest", "fastest", "most-accurate")


def completing(names: tuple[str, ...]) -> Callable[[str], list[str]]:
    """Return a callback that completes the beginning of one of some names."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete


def listed(names: tuple[str, ...]) -> str:
    """Return names as a sentence lists them."""
    return f"{', '.join(names[:-1])} or {names[-1]}"


@contextlib.contextmanager
def told_as_options(settings: Mapping[str, object]) -> Iterator[None]:
    """Name in an error the option that was given, where it names the study's key that the option replaces."""
    from slimfront.studies.errors import StudyError

    try:
        yield
    except StudyError as error:
        where = error.where or ""
        key = where.removeprefix("search.").removesuffix(".runtime")
        if settings.get(key) is not None:
            # The one option that is given once for each of a list.
            error.where = "--tracker" if key == "trackers" else f"--{key}"
            error.hint = error.hint and error.hint.replace(where, error.where)
        raise


StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file.")]
StudyOrRun = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file, or the folder of a run.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        help=f"The runtime, in place of the study's: {listed(TARGETS)}.",
        autocompletion=completing(TARGETS),
    ),
]
Sampler = Annotated[
    str | None,
    typer.Option(help=f"What chooses configurations: {listed(SAMPLERS)}.", autocompletion=completing(SAMPLERS)),
]
Engine = Annotated[
    str | None, typer.Option(help=f"Where trials run: {listed(ENGINES)}.", autocompletion=completing(ENGINES))
]
Trackers = Annotated[
    list[str] | None,
    typer.Option(
        "--tracker",
        help=f"Show the search there, too: {listed(TRACKERS)}; repeatable.",
        autocompletion=completing(TRACKERS),
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--to", help=f"{listed(FORMATS)}; by default that of the run's target.", autocompletion=completing(FORMATS)
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", help='Filter, such as "size <= 20MB" or "latency <= dense / 2"; repeatable.'),
]
Pick = Annotated[str | None, typer.Option("--pick", help=f"{listed(PICKS)}.", autocompletion=completing(PICKS))]
Weights = Annotated[
    str | None,
    typer.Option("--weights", help='Pick by how much each objective counts: "size=1,latency=2,accuracy=5".'),
]
Compare = Annotated[
    tuple[str, str] | None,
    typer.Option(
        "--compare",
        metavar="A B",
        help="Compare two points: trial numbers, dense or a pick; RUN2:17 and the like are of another run.",
        autocompletion=completing(("dense", *PICKS)),
    ),
]
