"""Ray Tune: trials on Ray's actors, on this machine or on a cluster."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slimfront.search.coordinator import Coordinator
from slimfront.search.engines.engine import ENGINES, Engine
from slimfront.search.engines.optuna import Local
from slimfront.search.run import Run
from slimfront.studies.errors import MissingError

Json = dict[str, Any]
# What Ray is told before it starts: paths in a study are relative to the user's folder, signals are ours.
SETTINGS = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@ENGINES.register("ray")
class RayTune(Engine):
    """Evaluates tasks on actors that load the model once; ``ray.tune.Tuner`` runs them, our records are its searcher.

    What is asked outside the search runs in a process beside the coordinator, as with the engine ``optuna``. The run
    folder and the cache must be the same folders on all nodes.
    """

    def __init__(self, run: Run) -> None:
        self._run, self._beside = run, Local(run)
        self._started = False

    def prepare(self, progress: Callable[[str, float], None]) -> Json:
        """See :meth:`Engine.prepare`; a cluster that is not there is told before anything is computed."""
        try:
            _reach(self._run.study.search.address)
        except OSError as error:
            raise self._missing(error) from error
        return self._beside.prepare(progress)

    def search(self, coordinator: Coordinator) -> None:
        """See :meth:`Engine.search`."""
        os.environ.update(SETTINGS)
        import ray
        from ray import tune
        from slimfront.search.engines.raytune.actors import DESKS, Desk, Evaluation, Told

        settings, target = self._run.study.search, self._run.study.target
        self._start(ray, settings.workers * target.threads)
        name = str(self._run.folder.resolve())
        desk = DESKS[name] = Desk(coordinator)
        study = self._run.study.model_dump(mode="json")
        logs = str(self._run.folder.resolve() / "logs")
        actor = tune.with_parameters(Evaluation, study=study, place=str(Path.cwd()), logs=logs)
        # Ray's own records are of no use to us: the run folder has everything.
        scratch = tempfile.mkdtemp(prefix="slimfront-ray-")
        tuner = tune.Tuner(
            tune.with_resources(actor, {"cpu": target.threads, "gpu": float(target.device == "cuda")}),
            tune_config=tune.TuneConfig(
                search_alg=Told(name), num_samples=-1, max_concurrent_trials=settings.workers, reuse_actors=True
            ),
            run_config=tune.RunConfig(storage_path=scratch, name="search", verbose=0),
        )
        try:
            _aside(tuner.fit)
        finally:
            coordinator.stop()
            shutil.rmtree(scratch, ignore_errors=True)
        if desk.failure is not None:
            raise desk.failure

    def _start(self, ray: Any, cpus: int) -> None:
        address = self._run.study.search.address
        # Ray puts handlers of its own in the place of ours.
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            if address is None:
                ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
            else:
                ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (OSError, ValueError, RuntimeError) as error:
            raise self._missing(error) from error
        finally:
            if threading.current_thread() is threading.main_thread():
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        self._started = True

    def _missing(self, error: Exception) -> MissingError:
        address = self._run.study.search.address
        return MissingError(
            "Ray does not start, or there is no cluster",
            where="search.address" if address else "search.engine",
            given=f"{address or 'ray'}: {str(error).splitlines()[0][:160]}",
            hint="start one with 'ray start --head', or leave the address out",
        )

    def ask(self, task: Json) -> Json:
        """See :meth:`Engine.ask`."""
        return self._beside.ask(task)

    def close(self) -> None:
        """See :meth:`Engine.close`."""
        self._beside.close()
        if self._started:
            import ray

            ray.shutdown()


def _aside(work: Callable[[], object]) -> None:
    """Do some work in a thread: where this one waits in Python, signals reach it."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
    if failures:
        raise failures[0]


def _reach(address: str | None) -> None:
    """Knock at a cluster's door: Ray itself would wait for minutes.

    Raises:
        OSError: nobody is there.
    """
    host, _, port = (address or "").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.removeprefix("ray://"), int(port)), timeout=5).close()
