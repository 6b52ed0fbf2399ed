"""Launches a search, or continues it."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimfront.objectives.runtimes import RUNTIMES
from slimfront.search.coordinator import Coordinator
from slimfront.search.engines import ENGINES, Engine
from slimfront.search.front import Front, Point
from slimfront.search.given import study_and_run
from slimfront.search.guide import follow
from slimfront.search.lock import differences, require_same
from slimfront.search.naming import check_names
from slimfront.search.preparation import entries_of
from slimfront.search.rebuild import mend
from slimfront.search.records import Records
from slimfront.search.run import Run, only_coordinator, require_same_study
from slimfront.search.samplers import SAMPLERS
from slimfront.search.standing import Progress
from slimfront.search.tournament import OCCASIONS, Effort, known_rest, latencies, tournament
from slimfront.search.tracking import Tracking, trackers_of
from slimfront.studies.errors import SlimfrontError, StudyError
from slimfront.studies.reader import parse_study
from slimfront.studies.schema import Study, seconds
from slimfront.studies.threads import blas_threads

Json = dict[str, Any]


@dataclass
class Listener:
    """What a search tells while it runs.

    Attributes:
        stage: Called with a text and the finished share of a preparation.
        trial: Called after each trial.
    """

    stage: Callable[[str, float], None] = lambda _text, _share: None
    trial: Callable[[Progress], None] = lambda _progress: None


def launch(
    study: str | Path | Study,
    run: str | Path | None = None,
    *,
    new: bool = False,
    target: str | None = None,
    listener: Listener | None = None,
    **settings: Any,
) -> Front:
    """Search a study and return its front; the same call continues where it stopped.

    Args:
        study: A study file, a study, or a run folder, whose search goes on.
        run: The run folder; ``runs/NAME`` by default, or ``runs/NAME-TARGET``.
        new: Begin another run beside an earlier one.
        target: The runtime, where it is another than the study's.
        listener: Is told of progress.
        settings: Replace keys of the study's section ``search``: ``trials``, ``timeout``, ``budget``, ``workers``,
            ``seed``, ``sampler``, ``engine``, ``storage``, ``trackers``.

    Raises:
        SlimfrontError: see the exit codes.
    """
    listener = listener or Listener()
    started = time.monotonic()
    read, run = (study, run) if isinstance(study, Study) else study_and_run(study, run)
    loaded = with_settings(on_target(read, target), settings)
    limits = check_names(loaded)
    name = loaded.name if loaded.target == read.target else f"{loaded.name}-{target}"
    folder = _folder(Path(run) if run is not None else Path("runs") / name, new)
    fresh = not folder.exists()
    opened = Run.begin(folder, loaded)
    with only_coordinator(folder), Tracking(trackers_of(opened), entries_of(loaded), limits) as tracking:
        opened.keep_study()
        engine = ENGINES.get(loaded.search.engine, where="search.engine")(opened)
        try:
            records, told = _prepare(opened, engine, listener, fresh)
            _search(opened, records, told, engine, started, listener, tracking)
        finally:
            engine.close()
        from slimfront.search.inspect.report import write_report

        front = opened.front()
        write_report(opened, front, folder / "report.html")
        tracking.end(front)
    front.where(())
    return front


def _join(run: Run, records: Records, lock: Json) -> None:
    """Make sure that the records of a server, if they are there, are of this study and of what it depends on here.

    Raises:
        StudyError: they are not.
    """
    here = run.study.model_dump(mode="json")
    require_same_study(parse_study(records.agree(here)), run.study, records.place)
    found = differences(records.lock(), lock)
    if found:
        raise StudyError(
            "the records on this server belong to other weights, data, versions or another kind of processor",
            where=f"search.storage: {records.place}",
            given="; ".join(found),
            allowed="the same on every machine that searches this study",
            hint="make them the same, or give the study another name",
        )


def _prepare(run: Run, engine: Engine, listener: Listener, fresh: bool) -> tuple[Records, Json]:
    """Open the records, let the first worker load the study, and return both them and its guide.

    A run that never began leaves nothing behind.
    """
    try:
        listener.stage("loading the model and the data", 0.0)
        # While the worker still imports: afterwards it would have to wait for this.
        records = run.records(create=True)
        RUNTIMES.get(run.study.target.runtime, where="target.runtime")(run.study.target).supports()
        return records, engine.prepare(listener.stage)
    except SlimfrontError:
        if fresh:
            shutil.rmtree(run.folder, ignore_errors=True)
        raise


def on_target(study: Study, runtime: str | None) -> Study:
    """Return the study for another runtime, or as it is where that is None.

    Raises:
        StudyError: there is no such runtime.
    """
    if runtime is None:
        return study
    RUNTIMES.get(runtime, where="--target")
    return study.model_copy(update={"target": study.target.model_copy(update={"runtime": runtime})})


def with_settings(study: Study, settings: Json) -> Study:
    """Return the study with keys of its section ``search`` replaced."""
    given = {name: value for name, value in settings.items() if value is not None}
    if not given:
        return study
    data = study.model_dump(mode="json")
    return parse_study({**data, "search": {**data["search"], **given}})


def _folder(folder: Path, new: bool) -> Path:
    if not new:
        return folder
    number = 2
    candidate = folder
    while candidate.exists():
        candidate = folder.with_name(f"{folder.name}-{number}")
        number += 1
    return candidate


def _search(
    run: Run, records: Records, told: Json, engine: Engine, started: float, listener: Listener, tracking: Tracking
) -> None:
    settings = run.study.search
    space, predictor = follow(run.study, told)
    records.begin(run.study.name, entries_of(run.study))
    if lost := records.accept_losses():
        listener.stage(f"the records have lost {lost} finished trials, which are evaluated again", 1.0)
    records.set_lock(told["lock"])
    if records.shared:
        _join(run, records, told["lock"])
    require_same(records.lock(), told["lock"], records.place)
    deadline = started + seconds(settings.timeout) if settings.timeout else None
    coordinator = Coordinator(
        run,
        records,
        space,
        SAMPLERS.get(settings.sampler, where="search.sampler")(),
        check_names(run.study),
        deadline,
        listener.trial,
        predictor,
        tracking.trial,
    )
    try:
        mend(run, engine, listener.stage)
        listener.trial(coordinator.progress())
        # The workers need the cores; a sampler's matrices are small.
        with blas_threads(1):
            engine.search(coordinator)
        _say_what_is_open(coordinator.progress(), time.monotonic() - started, listener)
        if records.shared:
            mend(run, engine, listener.stage)
        # Before the held-out sentences: to read many lengths with many models slows a worker down for good.
        _tournament(run, records, engine, listener)
        _hold_out(run, records, engine, listener)
    finally:
        coordinator.close()


def _say_what_is_open(progress: Progress, spent: float, listener: Listener) -> None:
    """Tell where the time was up before all trials were made, or before the first."""
    if progress.limit == "time" and progress.share >= 1 and progress.done < progress.trials:
        done = f"{progress.done} of {progress.trials} trials"
        listener.stage(f"time is up: {done} after {spent:.0f} s, preparation included; the same command goes on", 1.0)


def _hold_out(run: Run, records: Records, engine: Engine, listener: Listener) -> None:
    """Measure the dense model and every point of the front again, on the split that the search never saw."""
    front = run.front()
    done = records.held_out()
    points = [front.dense, *(point for point in front.points if point.trial != front.dense.trial)]
    for number, point in enumerate(points):
        if point.trial not in done:
            task = {"do": "held_out", **_entrant(run, point), "dense_folder": str(run.artifact(front.dense.trial))}
            answer = engine.ask(task)
            records.hold_out(point.trial, answer["held_out"])
        listener.stage("measuring the front on the held-out split", (number + 1) / len(points))


def _tournament(run: Run, records: Records, engine: Engine, listener: Listener) -> None:
    """Measure the latency of the front's points once more, in heats, each in the same rounds as the dense model.

    What was measured hours apart is so compared under the same conditions: all take part again where one is new.
    """
    front, done, trials = run.front(), records.final(), records.trials()
    points = [point for point in front.points if point.trial != front.dense.trial]
    if "latency" not in front.objectives or all(point.trial in done for point in points):
        return

    effort = Effort.after(trials, OCCASIONS)

    def ask(heat: Sequence[Point], rest: float, patience: float) -> Json:
        task: Json = {"do": "tournament", "entrants": [_entrant(run, point) for point in heat]}
        task |= {"patience": patience, "rounds": effort.rounds()}
        task |= {"rest": rest if math.isfinite(rest) else None, "dense_folder": str(run.artifact(front.dense.trial))}
        answer: Json = engine.ask(task)["occasion"]
        return answer

    def progress(share: float) -> None:
        listener.stage("timing the front once more", share)

    try:
        found = tournament(points, ask, effort, progress, known_rest(trials))
    except SlimfrontError as error:
        if error.exit_code != SlimfrontError.exit_code:
            raise
        # Several models at once may be more than a worker may take: the search has its front without that.
        listener.stage(f"the front could not be timed once more: {error}", 1.0)
        return
    base = front.dense.values["latency"]
    pairs = [zip(heat, latencies(occasions, base), strict=True) for heat, occasions in found]
    records.finish_tournament({point.trial: entry.to_json() for heat in pairs for point, entry in heat})


def _entrant(run: Run, point: Point) -> Json:
    return {"configuration": dict(point.configuration), "folder": str(run.artifact(point.trial))}
