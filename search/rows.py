"""Trials as rows of Optuna's own tables, each step of a trial in one transaction.

Optuna compares every parameter with earlier trials and reads the whole trial back at every step: with 80 parameters and
a few hundred trials that takes 350 ms of CPU time for each trial. Here one process owns the study and a space cannot
change, so that its rows can be written as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import optuna
import sqlalchemy as sql
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.trial import TrialState
from slimfront.search.sums import BEGUN, ENDED, begun, ended
from slimfront.spaces.domain import Domain, Value, to_optuna

STUDIES: Any = models.StudyModel.__table__
TRIALS: Any = models.TrialModel.__table__
ATTRIBUTES: Any = models.TrialUserAttributeModel.__table__


class NumberTaken(Exception):
    """Another process wrote a trial of this number.

    Attributes:
        count: How many trials there are.
    """

    def __init__(self, count: int) -> None:
        super().__init__(f"there are {count} trials")
        self.count = count


class Rows:
    """Writes the trials of one study.

    Args:
        storage: Where it is.
        name: The study's name.
    """

    def __init__(self, storage: optuna.storages.RDBStorage, name: str) -> None:
        self._engine, self._study = storage.engine, storage.get_study_id_from_name(name)
        self._ids: dict[int, int] = {}
        self._domains: Mapping[str, Domain] | None = None
        self._distributions: dict[str, tuple[optuna.distributions.BaseDistribution, str]] = {}

    def start(
        self, number: int, values: Mapping[str, Value], domains: Mapping[str, Domain], attributes: Mapping[str, Any]
    ) -> None:
        """Write that a trial runs.

        Raises:
            NumberTaken: another process wrote a trial of this number.
        """
        if domains is not self._domains:
            self._domains = domains
            self._distributions = {name: (d, distribution_to_json(d)) for name, d in to_optuna(domains).items()}
        with self._engine.begin() as connection:
            # Of searches that share a server, one at a time takes a number.
            mine = STUDIES.c.study_id == self._study
            connection.execute(sql.select(STUDIES.c.study_id).where(mine).with_for_update())
            row = {"study_id": self._study, "number": number, "state": TrialState.RUNNING, "datetime_start": _now()}
            key = connection.scalars(sql.insert(TRIALS).returning(TRIALS.c.trial_id), row).one()
            # Counted after the first write, which keeps every other writer of a file out.
            same = TRIALS.c.study_id == self._study
            count = connection.scalar(sql.select(sql.func.count()).select_from(TRIALS).where(same)) or 0
            if count != number + 1:
                raise NumberTaken(count - 1)
            parameters = [
                {
                    "trial_id": key,
                    "param_name": name,
                    "param_value": distribution.to_internal_repr(values[name]),
                    "distribution_json": text,
                }
                for name, (distribution, text) in self._distributions.items()
            ]
            connection.execute(sql.insert(models.TrialParamModel.__table__), parameters)
            total = {BEGUN: begun(number, values, attributes)}
            _describe(connection, ATTRIBUTES, key, {**attributes, **total})
        self._ids[number] = key

    def again(
        self, number: int, values: Mapping[str, Value], before: Mapping[str, Any], attributes: Mapping[str, Any]
    ) -> bool:
        """Write other attributes of a trial that runs; return whether it still ran with those ``before``."""
        key, told = self.identity(number), {**attributes, BEGUN: begun(number, values, attributes)}
        own = ATTRIBUTES.c.trial_id == key
        with self._engine.begin() as connection:
            if not self._runs(connection, key):
                return False
            known = connection.scalars(sql.select(ATTRIBUTES.c.value_json).where(own & (ATTRIBUTES.c.key == BEGUN)))
            if [json.loads(text) for text in known] not in ([], [begun(number, values, before)]):
                return False
            connection.execute(sql.delete(ATTRIBUTES).where(own & ATTRIBUTES.c.key.in_(told)))
            _describe(connection, ATTRIBUTES, key, told)
            return True

    def _runs(self, connection: sql.Connection, key: int) -> bool:
        own = sql.select(TRIALS.c.state).where(TRIALS.c.trial_id == key)
        return bool(connection.scalar(own.with_for_update()) == TrialState.RUNNING)

    def finish(
        self,
        number: int,
        state: TrialState,
        values: Sequence[float],
        attributes: Mapping[str, Any],
        constraints: Mapping[str, float],
    ) -> int:
        """Write how a trial ended, unless that was written before, and return how many have."""
        key = self.identity(number)
        kind = models.TrialValueModel.TrialValueType.FINITE
        rows = [
            {"trial_id": key, "objective": place, "value": value, "value_type": kind}
            for place, value in enumerate(values)
        ]
        named = {f"{_CONSTRAINTS_KEY}:{name}": value for name, value in constraints.items()}
        total = {ENDED: ended(number, state, values, attributes, constraints)}
        over = (TRIALS.c.study_id == self._study) & (TRIALS.c.state != TrialState.RUNNING)
        count = sql.select(sql.func.count()).select_from(TRIALS).where(over)
        with self._engine.begin() as connection:
            if self._runs(connection, key):
                then = {"state": state, "datetime_complete": _now()}
                connection.execute(sql.update(TRIALS).where(TRIALS.c.trial_id == key).values(then))
                if rows:
                    connection.execute(sql.insert(models.TrialValueModel.__table__), rows)
                _describe(connection, ATTRIBUTES, key, {**attributes, **total})
                _describe(connection, models.TrialSystemAttributeModel.__table__, key, named)
            return connection.scalar(count) or 0

    def identity(self, number: int) -> int:
        """Return the key of a trial in the tables."""
        if number not in self._ids:
            same = (TRIALS.c.study_id == self._study) & (TRIALS.c.number == number)
            with self._engine.connect() as connection:
                self._ids[number] = connection.scalars(sql.select(TRIALS.c.trial_id).where(same)).one()
        return self._ids[number]


def _now() -> datetime:
    """Return the time as Optuna writes it: in UTC, without saying so."""
    return datetime.now(tz=UTC).replace(tzinfo=None)


def _describe(connection: sql.Connection, table: Any, key: int, attributes: Mapping[str, Any]) -> None:
    rows = [{"trial_id": key, "key": name, "value_json": json.dumps(value)} for name, value in attributes.items()]
    if rows:
        connection.execute(sql.insert(table), rows)
