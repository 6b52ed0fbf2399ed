"""What commands print as JSON: one model each, from which its JSON Schema is made, and to which it is held."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict
from slimfront.spaces.domain import Value

Number = int | float
Values = dict[str, Number]
Interval = tuple[Number, Number]


class Part(BaseModel):
    """Base of all: unknown keys, NaN and infinity are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Document(Part):
    """What a command prints."""

    schema_version: Literal[1]


class ObjectiveEntry(Part):
    """How the values of an objective are to be read and compared.

    Attributes:
        worst: The value from which on a model is of no use, where the dense model has the best value there is.
    """

    unit: str
    direction: Literal["minimize", "maximize"]
    worst: Number | None = None


class Counts(Part):
    """How many trials ended in which way."""

    complete: int
    stopped_early: int
    failed: int
    cached: int


class Change(Part):
    """By how much one model is more accurate than another on the same sentences.

    Attributes:
        interval: Paired 95 % interval.
        p: McNemar's test.
    """

    value: Number
    interval: Interval
    p: Number


class Final(Part):
    """A measurement of the last tournament.

    Attributes:
        steer: What samplers would be told.
        noisy: Whether the interval is wider than it should be.
        conditions: What else bore on the measurement.
        percentiles: Of the single runs behind it, where there were enough of them.
    """

    value: Number
    unit: str
    interval: Interval | None
    steer: Number
    noisy: bool = False
    conditions: dict[str, object] = {}
    percentiles: dict[str, Number] = {}


class PointEntry(Part):
    """A point of the front; beside these keys it has one for each objective.

    Attributes:
        intervals: 95 % interval by objective.
        held_out: Values on the held-out split.
        changes: Against the dense model on the held-out split.
        final: Measured again in the last tournament.
        noisy: Objectives whose interval is wider than it should be.
        information: Counted, not measured: parameters, and multiply-adds for each token.
        conditions: What else bore on a measurement, by objective.
        percentiles: Milliseconds of p50, p90 and p99, as far as there were enough runs for them.
        configuration: Value by parameter of the space.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Number]
    trial: int
    intervals: dict[str, Interval]
    held_out: Values
    changes: dict[str, Change]
    final: dict[str, Final]
    noisy: list[str]
    information: dict[str, int]
    conditions: dict[str, dict[str, object]] = {}
    percentiles: dict[str, object] = {}
    configuration: dict[str, Value]


class Inspected(Document):
    """``inspect --json``.

    Attributes:
        dense: The dense model's values.
        hypervolume: Share of the box between dense and ideal that the front dominates.
        optimism: By how much more accurate the front seems on the search split than the dense model does.
        prediction: Rank correlation of predicted and measured values.
    """

    study: str
    objectives: dict[str, ObjectiveEntry]
    dense: Values
    trials: Counts
    hypervolume: Number
    optimism: Number | None
    prediction: Values
    front: list[PointEntry]


class Side(Part):
    """One of two points that are compared."""

    run: str
    study: str
    target: str
    trial: int
    kind: str
    configuration: dict[str, Value]


class Quantity(Part):
    """One number of two points; null where a point has none.

    Attributes:
        measured: In the search, on the held-out split, in the last tournament, or counted.
        intervals: 95 % intervals.
        noisy: Whether an interval is wider than it should be.
        change: The second value less the first.
        ratio: The second value divided by the first.
        paired: The change on the same sentences, where both points answered them.
    """

    name: str
    measured: Literal["search", "held_out", "final", "counted"]
    unit: str
    values: tuple[Number | None, Number | None]
    intervals: tuple[Interval | None, Interval | None]
    noisy: tuple[bool, bool]
    change: Number | None
    ratio: Number | None
    paired: Change | None


class Difference(Part):
    """A parameter in which two points differ.

    Attributes:
        values: Null where a point has no such layer: it removes the block, or is one of another model.
    """

    parameter: str
    values: tuple[Value | None, Value | None]


class Compared(Document):
    """``inspect --compare A B --json``.

    Attributes:
        alike: Parameters in which the two do not differ.
    """

    compared: tuple[Side, Side]
    quantities: list[Quantity]
    differences: list[Difference]
    alike: list[str]


class Remeasured(Document):
    """``remeasure --json``.

    Attributes:
        machine: The processor.
        dense: The dense model's values here.
        left: Trials that were on the front and are not any more.
        recomputed: Trials whose answers differ here, so that their accuracy was measured anew.
        left_out: Why a trial cannot be had on this target.
        others: Points that are not on the front here.
        lock: What the files depend on that were made for this target.
        files: Their SHA-256 by trial.
    """

    machine: str
    target: str
    dense: Values
    front: list[PointEntry]
    left: list[int]
    recomputed: list[int]
    left_out: dict[str, str]
    others: list[PointEntry] = []
    lock: dict[str, object] = {}
    files: dict[str, dict[str, str]] = {}


class Rebuilt(Document):
    """``rebuild``: the SHA-256 sums of the files, which equal those that were measured."""

    trial: int
    files: dict[str, str]


class RebuiltFront(Document):
    """``rebuild --all``.

    Attributes:
        equal: SHA-256 sums of the files that equal those that were measured, by trial.
        other: Trials whose files do not.
    """

    equal: dict[str, dict[str, str]]
    other: list[int]


class Verified(Document):
    """``verify``: what was compared with the record and is the same.

    Attributes:
        examples: Sentences whose predictions were compared.
        files: SHA-256 sums of the files that were made again, where the folder holds no weights.
    """

    bytes: int
    examples: int
    accuracy: Number | None = None
    files: dict[str, str] | None = None


DOCUMENTS: dict[str, type[Document]] = {
    "inspect": Inspected,
    "compare": Compared,
    "remeasure": Remeasured,
    "rebuild": Rebuilt,
    "rebuild-all": RebuiltFront,
    "verify": Verified,
}
