"""Trials as rows of Optuna's own tables, each step of a trial in one transaction.

Optuna compares every parameter with earlier trials and reads the whole trial back at every step: with 80 parameters and
a few hundred trials that takes 350 ms of CPU time for each trial. Here one process owns the study and a space cannot
change, so that its rows can be written as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import optuna
import sqlalchemy as sql
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.trial import TrialState
from slimfront.search.sums import BEGUN, ENDED, begun, ended
from slimfront.spaces.domain import Domain, Value, to_optuna
from sqlalchemy.orm import Session


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
        with Session(self._engine) as session, session.begin():
            # Of searches that share a server, one at a time takes a number.
            mine = models.StudyModel.study_id == self._study
            session.execute(sql.select(models.StudyModel.study_id).where(mine).with_for_update())
            trial = models.TrialModel(study_id=self._study, number=number, state=TrialState.RUNNING)
            trial.datetime_start = datetime.now()
            session.add(trial)
            session.flush()
            # Counted after the first write, which keeps every other writer of a file out.
            same = models.TrialModel.study_id == self._study
            count = session.scalar(sql.select(sql.func.count()).select_from(models.TrialModel).where(same)) or 0
            if count != number + 1:
                raise NumberTaken(count - 1)
            key = cast(int, trial.trial_id)
            parameters = [
                {
                    "trial_id": key,
                    "param_name": name,
                    "param_value": distribution.to_internal_repr(values[name]),
                    "distribution_json": text,
                }
                for name, (distribution, text) in self._distributions.items()
            ]
            session.execute(sql.insert(models.TrialParamModel), parameters)
            total = {BEGUN: begun(number, values, attributes)}
            _describe(session, models.TrialUserAttributeModel, key, {**attributes, **total})
            self._ids[number] = key

    def again(
        self, number: int, values: Mapping[str, Value], before: Mapping[str, Any], attributes: Mapping[str, Any]
    ) -> bool:
        """Write other attributes of a trial that runs; return whether it still ran with those ``before``."""
        key, model = self.identity(number), models.TrialUserAttributeModel
        told = {**attributes, BEGUN: begun(number, values, attributes)}
        with Session(self._engine) as session, session.begin():
            if not self._runs(session, key):
                return False
            known = session.scalars(sql.select(model.value_json).where((model.trial_id == key) & (model.key == BEGUN)))
            if [json.loads(text) for text in known] not in ([], [begun(number, values, before)]):
                return False
            session.execute(sql.delete(model).where((model.trial_id == key) & model.key.in_(told)))
            _describe(session, model, key, told)
            return True

    def _runs(self, session: Session, key: int) -> bool:
        own = models.TrialModel.trial_id == key
        return session.scalar(sql.select(models.TrialModel.state).where(own).with_for_update()) == TrialState.RUNNING

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
        over = (models.TrialModel.study_id == self._study) & (models.TrialModel.state != TrialState.RUNNING)
        count = sql.select(sql.func.count()).select_from(models.TrialModel).where(over)
        with Session(self._engine) as session, session.begin():
            if not self._runs(session, key):
                return session.scalar(count) or 0
            then = {"state": state, "_datetime_complete_utc": datetime.now(tz=UTC).replace(tzinfo=None)}
            session.execute(sql.update(models.TrialModel).where(models.TrialModel.trial_id == key).values(then))
            kind = models.TrialValueModel.TrialValueType.FINITE
            rows = [
                {"trial_id": key, "objective": place, "value": value, "value_type": kind}
                for place, value in enumerate(values)
            ]
            if rows:
                session.execute(sql.insert(models.TrialValueModel), rows)
            total = {ENDED: ended(number, state, values, attributes, constraints)}
            _describe(session, models.TrialUserAttributeModel, key, {**attributes, **total})
            named = {f"{_CONSTRAINTS_KEY}:{name}": value for name, value in constraints.items()}
            _describe(session, models.TrialSystemAttributeModel, key, named)
            return session.scalar(count) or 0

    def identity(self, number: int) -> int:
        """Return the key of a trial in the tables."""
        if number not in self._ids:
            same = (models.TrialModel.study_id == self._study) & (models.TrialModel.number == number)
            with Session(self._engine) as session:
                self._ids[number] = session.scalars(sql.select(models.TrialModel.trial_id).where(same)).one()
        return self._ids[number]


def _describe(session: Session, model: Any, key: int, attributes: Mapping[str, Any]) -> None:
    rows = [{"trial_id": key, "key": name, "value_json": json.dumps(value)} for name, value in attributes.items()]
    if rows:
        session.execute(sql.insert(model), rows)
