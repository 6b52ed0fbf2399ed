"""Where records are kept: an SQLite file in the run folder, or a database server that several searches share."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import optuna
import psutil
import sqlalchemy
from slimfront.studies.errors import MissingError, RecordsError, StudyError
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    PendingRollbackError,
    ProgrammingError,
    SQLAlchemyError,
)

FILE = "records.sqlite3"
# File systems over a network, on which SQLite's locks and its write-ahead log do not hold.
REMOTE = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "afs")
# Seconds for which a server that is away is waited for.
PATIENCE, ATTEMPTS = 120.0, 3
T = TypeVar("T")


class Storage(ABC):
    """Where one study's records are.

    Attributes:
        place: How it is named in messages.
        shared: Whether several searches may write at once.
    """

    place: str
    shared: bool

    @abstractmethod
    def open(self) -> optuna.storages.RDBStorage:
        """Open it.

        Raises:
            RecordsError: it is not there, or cannot be read.
        """

    @abstractmethod
    def name(self, opened: optuna.storages.RDBStorage) -> str | None:
        """Return the name of the study's records, or None where there are none."""

    def do(self, work: Callable[[], T]) -> T:
        """Read or write.

        Raises:
            RecordsError: it cannot be read or written.
        """
        with self._errors():
            return work()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the database's errors into one clear message."""
        try:
            yield
        except (sqlite3.Error, SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            root = error.__cause__ or error
            raise RecordsError(
                "the records cannot be read or written",
                where=self.place,
                given=f"{type(root).__name__}: {str(root).splitlines()[0]}",
                allowed="an SQLite file written by slimfront, on a local disk with free space"
                if not self.shared
                else "a database server that answers and lets this user create tables",
                hint="free the disk or restore the file, then run the same command again"
                if not self.shared
                else "start the server, then run the same command again",
            ) from error


class File(Storage):
    """An SQLite file in WAL mode.

    Args:
        folder: The run folder.
        create: Whether to make the file where it is missing.

    Raises:
        RecordsError: the folder lies on a file system over a network.
    """

    shared = False

    def __init__(self, folder: Path, create: bool) -> None:
        self.path, self._create = folder / FILE, create
        self.place = str(self.path)
        if create:
            _require_local(folder)

    def open(self) -> optuna.storages.RDBStorage:
        """See :meth:`Storage.open`."""
        if not self._create and not self.path.is_file():
            raise RecordsError(
                "this run has no records",
                where=self.place,
                hint="run 'slimfront launch' with this --run first",
            )
        return self.do(self._opened)

    def _opened(self) -> optuna.storages.RDBStorage:
        if not self.path.exists():
            _make(self.path)
        storage = _sqlite(self.path)
        _write_ahead(storage)
        return storage

    def name(self, opened: optuna.storages.RDBStorage) -> str | None:
        """See :meth:`Storage.name`."""
        return next(iter(self.do(lambda: optuna.get_all_study_names(opened))), None)


class Server(Storage):
    """A database server, such as PostgreSQL; one that is away is waited for.

    Args:
        url: Its URL; a password belongs into the environment or a password file, not here.
        study: The study's name.

    Raises:
        StudyError: the URL is no URL of a server, or holds a password.
        MissingError: the server's driver is not installed.
    """

    shared = True

    def __init__(self, url: str, study: str) -> None:
        self._url, self._study = server_url(url), study
        self._connected: optuna.storages.RDBStorage | None = None
        self.place = self._url.render_as_string()

    def open(self) -> optuna.storages.RDBStorage:
        """See :meth:`Storage.open`."""
        try:
            return self.do(self._opened)
        except ImportError as error:
            raise MissingError(
                "the database's driver is not installed",
                where="search.storage",
                given=str(error),
                hint="pip install 'slimfront[postgresql]'",
            ) from None

    def _opened(self) -> optuna.storages.RDBStorage:
        text = self._url.render_as_string(hide_password=False)
        for _ in range(ATTEMPTS):
            # Of two that make the tables at once, one fails and finds them the next time.
            with contextlib.suppress(IntegrityError, ProgrammingError):
                self._connected = optuna.storages.RDBStorage(text, engine_kwargs={"pool_pre_ping": True})
                return self._connected
        return optuna.storages.RDBStorage(text, engine_kwargs={"pool_pre_ping": True})

    def name(self, opened: optuna.storages.RDBStorage) -> str | None:
        """See :meth:`Storage.name`."""
        return self._study if self._study in self.do(lambda: optuna.get_all_study_names(opened)) else None

    def do(self, work: Callable[[], T]) -> T:
        """See :meth:`Storage.do`; work may be done twice where the connection broke."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return super().do(work)
            except RecordsError as error:
                if not _away(error.__cause__) or time.monotonic() > deadline:
                    raise
            if self._connected is not None:
                # Optuna's session would remember the broken transaction.
                self._connected.scoped_session.remove()
            time.sleep(1.0)


def server_url(url: str) -> sqlalchemy.URL:
    """Return a server's URL with the driver that Slimfront comes with.

    Raises:
        StudyError: it is no URL of a server, or holds a password.
    """
    try:
        found = sqlalchemy.make_url(url)
    except ArgumentError:
        found = sqlalchemy.URL.create("")
    if not found.drivername or found.get_backend_name() == "sqlite":
        raise StudyError(
            "this is no URL of a database server",
            where="search.storage",
            given=url,
            allowed="such as postgresql://user@host/database",
            hint="name a server, or leave it out: records are then a file in the run folder",
        )
    if found.password:
        raise StudyError(
            "a password does not belong into a study: the run folder keeps what is written there",
            where="search.storage",
            given=found.render_as_string(),
            hint="leave it out, and set PGPASSWORD or write it to ~/.pgpass",
        )
    return found.set(drivername="postgresql+psycopg") if found.drivername == "postgresql" else found


def _away(error: BaseException | None) -> bool:
    """Return whether a server does not answer, rather than refuse."""
    while error is not None:
        if isinstance(error, OperationalError | InterfaceError | PendingRollbackError):
            return "authentication failed" not in str(error) and "does not exist" not in str(error)
        error = error.__cause__
    return False


def _require_local(folder: Path) -> None:
    place = folder.resolve()
    mounts = [part for part in psutil.disk_partitions(all=True) if place.is_relative_to(part.mountpoint)]
    kind = max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else ""
    if kind in REMOTE:
        raise RecordsError(
            "records in a file need a local disk",
            where=str(folder),
            given=f"a file system over a network ({kind})",
            hint="choose a --run on a local disk, or keep the records on a server (search.storage)",
        )


def _sqlite(path: Path) -> optuna.storages.RDBStorage:
    return optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 30}})


def _make(path: Path) -> None:
    """Make an empty file of records that is never seen half made: whoever opens one without tables makes them too."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(scratch)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    storage = _sqlite(scratch)
    storage.scoped_session.remove()
    storage.engine.dispose()
    scratch.replace(path)


def _write_ahead(storage: optuna.storages.RDBStorage) -> None:
    """Let a commit wait for the disk only at checkpoints: with a write-ahead log, a killed process loses nothing."""

    @sqlalchemy.event.listens_for(storage.engine, "connect")
    def relax(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")

    storage.engine.dispose()
