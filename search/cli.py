"""The command line."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

app = typer.Typer(
    help="Search sparsity, bit-widths and distillation together; get the Pareto front of size, latency and accuracy.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
Target = Annotated[str | None, typer.Option("--target", help="The runtime, in place of the study's.")]
Where = Annotated[list[str] | None, typer.Option("--where", help='Filter, such as "size <= 20MB"; repeatable.')]
# Spelled out here: to ask the registry would import it all for a line of help.
CHOICES = "evolution, tpe, nsga2, nsga3, gp or random"
FORMATS = "openvino, onnx or pytorch, by default that of the run's target; transformers, torch-export or config"
Pick = Annotated[str | None, typer.Option("--pick", help="knee, smallest, fastest or most-accurate.")]


class Interrupted(BaseException):
    """A signal asked for a clean stop."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@app.command()
def launch(
    study: StudyFile,
    run: Annotated[Path | None, typer.Option(help="The run folder; runs/NAME by default, or runs/NAME-TARGET.")] = None,
    trials: Annotated[int | None, typer.Option(help="Configurations to evaluate.")] = None,
    timeout: Annotated[str | None, typer.Option(help="Longest time, such as 30m.")] = None,
    target: Target = None,
    engine: Annotated[str | None, typer.Option(help="Where trials run: optuna or ray.")] = None,
    address: Annotated[str | None, typer.Option(help="A Ray cluster's address.")] = None,
    sampler: Annotated[str | None, typer.Option(help=f"What chooses configurations: {CHOICES}.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the search.")] = None,
    new: Annotated[bool, typer.Option("--new", help="Begin another run beside an earlier one.")] = False,
) -> None:
    """Search a study; the same command continues where it stopped."""
    from slimfront.search.remote import cool_down, warm_up
    from slimfront.studies.reader import read_study

    read = read_study(study)
    warm_up()
    from slimfront.search.inspect.data import notes
    from slimfront.search.inspect.plot import draw_front
    from slimfront.search.inspect.table import front_table
    from slimfront.search.launching import launch as search
    from slimfront.search.progress import Display
    from slimfront.search.run import Run

    settings = {"trials": trials, "timeout": timeout, "engine": engine, "address": address, "sampler": sampler}
    try:
        with Display() as listener:
            front = search(read, run, new=new, target=target, listener=listener, workers=workers, seed=seed, **settings)
    except Interrupted:
        _say("what is finished is kept: the same command continues")
        raise
    finally:
        cool_down()
    folder = front.dense.run
    assert folder is not None
    _print_table(front_table(front, front.points, f"front of {folder}: {len(front.points)} points"))
    opened = Run.open(folder)
    for told in notes(opened, front):
        _say(told)
    draw_front(front, folder / "front.png", opened.study.name)
    _say(f"picture: {folder / 'front.png'}; report: {folder / 'report.html'}")
    _say(f"next: slimfront export {folder} --pick knee --out DIR")


@app.command()
def inspect(
    run: RunFolder,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    where: Where = None,
    pick: Pick = None,
    plot: Annotated[Path | None, typer.Option(help="Write a picture, .png or .svg.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a report that opens without a network.")] = None,
) -> None:
    """Show the front of a run."""
    from slimfront.search.inspect import data
    from slimfront.search.inspect import plot as plots
    from slimfront.search.inspect.report import write_report
    from slimfront.search.inspect.table import front_table
    from slimfront.search.run import Run
    from slimfront.studies.errors import StudyError

    if as_json and as_csv:
        raise StudyError("choose one output", where="--json, --csv", given="both", hint="leave one out")
    if plot is not None and plot.suffix not in (".png", ".svg"):
        raise StudyError("not a picture format", where="--plot", given=str(plot), allowed="a name in .png or .svg")
    opened = Run.open(run)
    front = opened.front()
    if html is not None:
        write_report(opened, front, html)
        _say(f"report: {html}")
    points = (front.pick(pick, where or ()),) if pick else front.where(where or ())
    if plot is not None:
        plots.draw_front(front, plot, opened.study.name)
        _say(f"picture: {plot}")
    if as_json:
        print(json.dumps(data.as_json(opened, front, points), indent=1, allow_nan=False))
    elif as_csv:
        print(data.as_csv(front, points), end="")
    else:
        count = data.counts(opened)
        title = f"{opened.study.name}: {len(points)} of {len(front.points)} points on the front, " + ", ".join(
            f"{number} {name.replace('_', ' ')}" for name, number in count.items()
        )
        _print_table(front_table(front, points, title))
        print(f"hypervolume {front.hypervolume():.4f}")
        for told in data.notes(opened, front):
            print(told)


@app.command()
def export(
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    trial: Annotated[int | None, typer.Option(help="The trial's number.")] = None,
    pick: Pick = None,
    where: Where = None,
    to: Annotated[str | None, typer.Option(help=f"The format: {FORMATS}.")] = None,
    examples: Annotated[bool, typer.Option(help="Ship the search split's texts for verification.")] = True,
) -> None:
    """Write the deployable model of one point."""
    from slimfront.search.export import export as write
    from slimfront.search.run import Run
    from slimfront.studies.errors import StudyError

    if trial is not None and (pick or where):
        raise StudyError("choose a trial or a pick", where="--trial", given=trial, hint="leave --pick and --where out")
    chosen = trial if trial is not None else Run.open(run).front().pick(pick or "knee", where or ()).trial
    write(run, chosen, out, to, examples)
    _say(f"trial {chosen} written to {out}; next: slimfront verify {out}")
    print(out)


@app.command()
def rebuild(
    run: RunFolder,
    trial: Annotated[int, typer.Option(help="The trial's number.")],
    out: Annotated[Path | None, typer.Option(help="Keep the files in this new folder.")] = None,
) -> None:
    """Make the files of a trial once more and compare their sums with those that were measured."""
    import tempfile

    from slimfront.search.rebuild import rebuild as make
    from slimfront.search.rebuild import recorded
    from slimfront.search.run import Run
    from slimfront.studies.errors import StudyError

    if out is not None and out.exists():
        raise StudyError("this is already there", where="--out", given=str(out), hint="name a new folder")
    opened = Run.open(run)
    chosen = recorded(opened, trial)
    _say("making the files in a fresh process")
    with tempfile.TemporaryDirectory() as scratch:
        files = make(opened, chosen, out or Path(scratch) / "artifact")
    _say("every file equals the one that was measured")
    print(json.dumps({"trial": trial, "files": files}))


@app.command()
def verify(folder: Annotated[Path, typer.Argument(metavar="DIR", help="An exported folder.")]) -> None:
    """Load an exported folder in a fresh process and compare it with its record."""
    from slimfront.search.export import verify as compare

    _say("loading the folder in a fresh process and comparing it with its record")
    found = compare(folder)
    told = "bytes, predictions and accuracy equal the record" if found["examples"] else "bytes equal the record"
    _say("files that were made again equal those that were measured" if "files" in found else told)
    print(json.dumps(found))


@app.command()
def remeasure(
    run: RunFolder,
    target: Annotated[
        str | None, typer.Option("--target", help="Another runtime, for which the files are made.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a front anew, here or on another runtime: size and latency, and accuracy where answers are others."""
    from slimfront.search.inspect.table import front_table
    from slimfront.search.progress import Display
    from slimfront.search.remeasure import remeasure as measure
    from slimfront.search.run import Run

    opened = Run.open(run)
    with Display() as listener:
        found = measure(opened, listener.stage, target)
    if as_json:
        print(json.dumps(found.to_json(), indent=1, allow_nan=False))
    else:
        _print_table(front_table(found.front, found.front.points, f"front of {run} on {found.target}, {found.machine}"))
    for trial, reason in found.left_out.items():
        _say(f"left out: trial {trial}: {reason}")
    for text, trials in (("left the front", found.left), ("other answers than in the search", found.recomputed)):
        named = [f"{trial} (dense)" if trial == found.front.dense.trial else str(trial) for trial in trials]
        _say(f"{text}: {'trial ' + ', '.join(named) if named else 'none'}")
    _say(f"kept in {found.save(opened)}")


@app.command()
def validate(study: StudyFile, target: Target = None) -> None:
    """Check a study file with everything that it names; nothing is trained."""
    from slimfront.studies.reader import read_study

    read = read_study(study)
    from slimfront.search.launching import on_target
    from slimfront.search.plan import check

    _study, _subject, space = check(on_target(read, target))
    print(f"{study}: valid; {len(space.free)} parameters, {space.points:.3g} points")


@app.command()
def plan(study: StudyFile, target: Target = None) -> None:
    """Show what a study would search."""
    from slimfront.studies.reader import read_study

    read = read_study(study)
    from slimfront.search.launching import on_target
    from slimfront.search.plan import check, describe_plan

    print("\n".join(describe_plan(*check(on_target(read, target)))))


@app.command()
def doctor() -> None:
    """Show what this machine has, and what it lacks."""
    from slimfront.search.plan import describe_machine
    from slimfront.studies.errors import MissingError

    lines, missing = describe_machine()
    print("\n".join(lines))
    if missing:
        raise MissingError("something is missing on this machine", given=", ".join(missing), hint="install it")


def _print_table(table: Any) -> None:
    from rich.console import Console

    # Without a terminal there is no width to fit: keep whole lines.
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted(number)


def main() -> None:
    """Run the command line and exit with its code."""
    from slimfront.studies.errors import SlimfrontError

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        code = app(standalone_mode=False) or 0
    except Interrupted as stop:
        _say("stopped")
        _exit(128 + stop.number)
    except SlimfrontError as error:
        _say(f"error: {error}")
        _exit(error.exit_code)
    except BrokenPipeError:
        _exit(0)
    except OSError as error:
        _say(f"error: {error.filename or 'a file'}: {error.strerror or error}")
        _say("  next:    name a place that exists and that you may write to")
        _exit(4 if error.errno == errno.ENOSPC else 2)
    except Exception as error:
        code = _usage(error)
    _exit(code if isinstance(code, int) else 0)


def _usage(error: Exception) -> int:
    """Show a usage error as such, and anything else as a bug of ours."""
    if hasattr(error, "show") and hasattr(error, "exit_code"):
        error.show()
        return int(error.exit_code)
    if os.environ.get("SLIMFRONT_DEBUG"):
        raise error
    _say(f"error: this is a bug in slimfront: {type(error).__name__}: {error}")
    _say("  next:    set SLIMFRONT_DEBUG=1 to see where, and report it")
    return 70


def _exit(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of a stopped search and of the libraries are not waited for.
    os._exit(code)


if __name__ == "__main__":
    main()
