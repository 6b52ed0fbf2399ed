"""Worker processes on this machine, one thread of the coordinator's process for each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from slimfront.search.coordinator import Coordinator
from slimfront.search.engines.engine import ENGINES, Engine
from slimfront.search.failures import WorkerDied
from slimfront.search.remote import Remote
from slimfront.search.run import Run
from slimfront.search.watch import Allowance
from slimfront.studies.errors import SlimfrontError

Json = dict[str, Any]
# So many tasks leave their marks on a process: after 40 models that read 500 sentences of all lengths each, small ones
# ran 5 % slower in it than before (OpenVINO 2026.4, AMX; its kernels come and go in a full cache).
WORN = 40


@ENGINES.register("optuna")
class Local(Engine):
    """Persistent local processes, fed by Optuna's ask and tell."""

    def __init__(self, run: Run) -> None:
        study = run.study.model_dump(mode="json")
        allowance, logs = Allowance.of(run.study.search), run.folder / "logs"
        self._remotes = [
            Remote(study, logs / f"worker-{number}.log", allowance) for number in range(run.study.search.workers)
        ]
        self._closed = False
        self._failure: BaseException | None = None

    def prepare(self, progress: Callable[[str, float], None]) -> Json:
        """See :meth:`Engine.prepare`."""
        try:
            return self._remotes[0].prepare(progress)
        except WorkerDied as death:
            raise SlimfrontError("the worker died while it loaded the study", given=str(death)) from death

    def search(self, coordinator: Coordinator) -> None:
        """See :meth:`Engine.search`."""
        threads = [
            threading.Thread(target=self._serve, args=(remote, coordinator), daemon=True) for remote in self._remotes
        ]
        for thread in threads:
            thread.start()
        # Short joins let signals through.
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(0.1)
        if self._failure is not None:
            raise self._failure
        # What is measured after the search is to hold in the process of whoever measures it again.
        for remote in self._remotes:
            if remote.answered >= WORN:
                remote.kill()

    def _serve(self, remote: Remote, coordinator: Coordinator) -> None:
        try:
            while (task := coordinator.next_task()) is not None:
                try:
                    answer = remote.ask(task)
                except WorkerDied as death:
                    if self._closed:
                        return
                    answer = {"error": death.kind, "message": str(death)}
                if self._closed:
                    return
                coordinator.finish(int(task["number"]), answer)
        except BaseException as error:
            self._failure = self._failure or error
            coordinator.stop()

    def ask(self, task: Json) -> Json:
        """See :meth:`Engine.ask`."""
        try:
            answer = self._remotes[0].ask(task)
        except WorkerDied as death:
            raise SlimfrontError(f"the worker died: {death.kind}", given=str(death)) from death
        if "error" in answer:
            failure = SlimfrontError(str(answer["message"]))
            failure.exit_code = int(answer.get("exit_code", 70))
            raise failure
        return answer

    def close(self) -> None:
        """See :meth:`Engine.close`."""
        self._closed = True
        for remote in self._remotes:
            remote.kill()
