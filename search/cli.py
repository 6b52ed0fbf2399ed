"""The command line."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from slimfront.search.authoring import init, schema
from slimfront.search.exits import Interrupted, run_and_exit
from slimfront.search.options import (
    Compare,
    Engine,
    Format,
    Pick,
    RunFolder,
    Sampler,
    StudyFile,
    StudyOrRun,
    Target,
    Trackers,
    Weights,
    Where,
    told_as_options,
)
from slimfront.search.printing import print_document, print_tables, say

if TYPE_CHECKING:
    from slimfront.search.run import Run

app = typer.Typer(
    help="Search sparsity, bit-widths and distillation together; get the Pareto front of size, latency and accuracy.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(version("slimfront"))
        raise typer.Exit


@app.callback()
def _common(
    _show: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """What all commands share."""


@app.command()
def launch(
    study: StudyOrRun,
    run: Annotated[Path | None, typer.Option(help="The run folder; runs/NAME by default, or runs/NAME-TARGET.")] = None,
    trials: Annotated[int | None, typer.Option(help="Configurations to evaluate.")] = None,
    timeout: Annotated[str | None, typer.Option(help="Longest time, such as 30m, what is prepared included.")] = None,
    budget: Annotated[str | None, typer.Option(help="Processor time of all trials, such as 2h.")] = None,
    target: Target = None,
    engine: Engine = None,
    address: Annotated[str | None, typer.Option(help="A Ray cluster's address.")] = None,
    storage: Annotated[str | None, typer.Option(help="URL of a database server for shared records.")] = None,
    sampler: Sampler = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the search.")] = None,
    tracker: Trackers = None,
    new: Annotated[bool, typer.Option("--new", help="Begin another run beside an earlier one.")] = False,
) -> None:
    """Search a study; the same command, or one with the run folder, continues where it stopped."""
    from slimfront.search.remote import cool_down, warm_up

    settings: dict[str, Any] = {"trials": trials, "timeout": timeout, "budget": budget}
    settings |= {
        "engine": engine,
        "address": address,
        "sampler": sampler,
        "storage": storage,
        "workers": workers,
        "seed": seed,
        "trackers": tracker or None,
    }
    warm_up()
    try:
        from slimfront.search.given import study_and_run

        read, run_folder = study_and_run(study, run)
        from slimfront.search.inspect.data import notes
        from slimfront.search.inspect.plot import draw_front
        from slimfront.search.inspect.table import front_table
        from slimfront.search.launching import launch as search
        from slimfront.search.progress import Display
        from slimfront.search.run import Run

        with Display() as listener, told_as_options({**settings, "target": target}):
            front = search(read, run_folder, new=new, target=target, listener=listener, **settings)
    except Interrupted:
        again = "'slimfront launch' with that run's folder" if new else "the same command"
        say(f"what is finished is kept: {again} continues")
        raise
    finally:
        cool_down()
    folder = front.dense.run
    assert folder is not None
    print_tables(front_table(front, front.points, f"front of {folder}: {len(front.points)} points"))
    opened = Run.open(folder)
    for told in notes(opened.records().trials(), front):
        say(told)
    draw_front(front, folder / "front.png", opened.study.name)
    say(f"picture: {folder / 'front.png'}; report: {folder / 'report.html'}")
    say(f"next: slimfront export {folder} --pick knee --out DIR")


@app.command()
def inspect(
    run: RunFolder,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    where: Where = None,
    pick: Pick = None,
    weights: Weights = None,
    compare: Compare = None,
    plot: Annotated[Path | None, typer.Option(help="Write a picture, .png or .svg.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a report that opens without a network.")] = None,
) -> None:
    """Show the front of a run, or compare two points."""
    from slimfront.search.inspect import data
    from slimfront.search.inspect.plot import draw_front
    from slimfront.search.inspect.report import write_report
    from slimfront.search.inspect.show import show_comparison, show_front
    from slimfront.search.picking import parse_weights
    from slimfront.search.run import Run
    from slimfront.studies.errors import StudyError

    if as_json and as_csv:
        raise StudyError("choose one output", where="--json, --csv", given="both", hint="leave one out")
    if plot is not None and plot.suffix not in (".png", ".svg"):
        allowed, hint = "a name in .png or .svg", f"write {plot.stem}.png"
        raise StudyError("not a picture format", where="--plot", given=str(plot), allowed=allowed, hint=hint)
    opened = Run.open(run)
    if compare is not None:
        if as_csv or pick or weights or plot or html:
            told, hint = " ".join(compare), "leave --csv, --pick, --weights, --plot and --html out"
            raise StudyError("two points are compared as a table or --json", where="--compare", given=told, hint=hint)
        show_comparison(opened, compare, where or (), as_json)
        return
    front = opened.front()
    if html is not None:
        write_report(opened, front, html)
        say(f"report: {html}")
    points = front.where(where or ())
    if pick is not None or weights is not None:
        points = (front.pick(pick, where or (), parse_weights(weights) if weights is not None else None),)
    if plot is not None:
        draw_front(front, plot, opened.study.name)
        say(f"picture: {plot}")
    if as_json:
        print_document(data.document(opened, front, points))
    elif as_csv:
        print(data.as_csv(front, points), end="")
    else:
        show_front(opened, front, points)


@app.command()
def export(
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    trial: Annotated[int | None, typer.Option(help="The trial's number.")] = None,
    pick: Pick = None,
    weights: Weights = None,
    where: Where = None,
    to: Format = None,
    target: Annotated[
        str | None, typer.Option("--target", help="Another runtime, to which 'remeasure' moved the front.")
    ] = None,
    examples: Annotated[bool, typer.Option(help="Ship the search split's texts for verification.")] = True,
) -> None:
    """Write the deployable model of one point."""
    from slimfront.search.export import export as write
    from slimfront.search.export import moved_front
    from slimfront.search.picking import parse_weights
    from slimfront.search.run import Run
    from slimfront.studies.errors import StudyError

    if trial is not None and (pick or weights or where):
        hint = "leave --pick, --weights and --where out"
        raise StudyError("choose a trial or a pick", where="--trial", given=trial, hint=hint)
    wanted = parse_weights(weights) if weights is not None else None
    if trial is None:
        opened = Run.open(run)
        moved = moved_front(opened, target)
        trial = (moved.front if moved else opened.front()).pick(pick, where or (), wanted).trial
    write(run, trial, out, to, examples, target)
    say(f"trial {trial} written; next: slimfront verify {out}")
    print(out)


@app.command()
def rebuild(
    run: RunFolder,
    trial: Annotated[int | None, typer.Option(help="The trial's number.")] = None,
    every: Annotated[bool, typer.Option("--all", help="The dense model and every point of the front.")] = False,
    out: Annotated[Path | None, typer.Option(help="Keep a trial's files in this new folder.")] = None,
) -> None:
    """Make the files of a trial once more and compare their sums with those that were measured."""
    from slimfront.search.inspect.documents import Rebuilt
    from slimfront.search.rebuild import rebuild as make
    from slimfront.search.rebuild import recorded
    from slimfront.search.run import Run
    from slimfront.studies.errors import StudyError

    if every == (trial is not None) or (every and out):
        hint = "write --trial N, with --out where its files are to be kept, or --all alone"
        raise StudyError("name one trial, or all", where="--trial, --all", hint=hint)
    if out is not None and out.exists():
        raise StudyError("this is already there", where="--out", given=str(out), hint="name a new folder")
    opened = Run.open(run)
    if trial is None:
        _rebuild_front(opened)
        return
    chosen = recorded(opened, trial)
    say("making the files in a fresh process")
    with tempfile.TemporaryDirectory() as scratch:
        files = make(opened, chosen, out or Path(scratch) / "artifact")
    say("every file equals the one that was measured")
    print_document(Rebuilt(schema_version=1, trial=trial, files=files))


def _rebuild_front(run: Run) -> None:
    from slimfront.search.inspect.documents import RebuiltFront
    from slimfront.search.progress import Display
    from slimfront.search.rebuild import rebuild_front

    with Display() as listener:
        equal, other = rebuild_front(run, listener.stage)
    sums = {str(trial): files for trial, files in equal.items()}
    print_document(RebuiltFront(schema_version=1, equal=sums, other=sorted(other)))
    say(f"{len(equal)} of {len(equal) + len(other)} models equal those that were measured, file by file")
    for error in list(other.values())[:1]:
        raise error


@app.command()
def verify(folder: Annotated[Path, typer.Argument(metavar="DIR", help="An exported folder.")]) -> None:
    """Load an exported folder in a fresh process and compare it with its record."""
    from slimfront.search.export import verify as compare
    from slimfront.search.inspect.documents import Verified

    say("loading the folder in a fresh process and comparing it with its record")
    found = compare(folder)
    told = "bytes, predictions and accuracy equal the record" if found["examples"] else "bytes equal the record"
    say("files that were made again equal those that were measured" if "files" in found else told)
    print_document(Verified.model_validate({"schema_version": 1, **found}))


@app.command()
def remeasure(
    run: RunFolder,
    target: Target = None,
    rounds: Annotated[
        int, typer.Option(min=20, help="Time each model so often at least: JSON has p90 from 100, p99 from 1000.")
    ] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a front anew, here or on another runtime: size and latency, and accuracy where answers are others."""
    from slimfront.search.inspect.documents import Remeasured
    from slimfront.search.inspect.table import front_table
    from slimfront.search.progress import Display
    from slimfront.search.remeasure import remeasure as measure
    from slimfront.search.run import Run

    opened = Run.open(run)
    with Display() as listener:
        found = measure(opened, listener.stage, target, rounds)
    if as_json:
        print_document(Remeasured.model_validate(found.to_json()))
    else:
        print_tables(front_table(found.front, found.front.points, f"front of {run} on {found.target}, {found.machine}"))
    if changed := found.otherwise(opened.front()):
        say(f"in f32, for {found.target} has no other precision of theirs: trial {', '.join(map(str, changed))}")
    for trial, reason in found.left_out.items():
        say(f"left out: trial {trial}: {reason}")
    for text, trials in (("left the front", found.left), ("other answers than in the search", found.recomputed)):
        named = [f"{trial} (dense)" if trial == found.front.dense.trial else str(trial) for trial in trials]
        say(f"{text}: {'trial ' + ', '.join(named) if named else 'none'}")
    say(f"kept in {found.save(opened)}")


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


app.command()(init)
app.command()(schema)


def main() -> None:
    """Run the command line and exit with its code."""
    run_and_exit(app)


if __name__ == "__main__":
    main()
