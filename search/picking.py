"""Picks one point of a front."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from slimfront.studies.errors import StudyError, no_such

Floats = npt.NDArray[np.float64]
Objectives = Mapping[str, Mapping[str, Any]]
EXAMPLE = '"size=1,latency=2,accuracy=5"'
# By way of picking, the objectives of which the first that the study has is decisive; none where all have a say.
PICKS: Mapping[str, tuple[str, ...]] = {
    "knee": (),
    "balanced": (),
    "smallest": ("size", "download", "memory"),
    "fastest": ("latency", "throughput"),
    "most-accurate": ("accuracy", "f1", "mcc", "divergence"),
}


def choose(how: str, objectives: Objectives, losses: Floats) -> int:
    """Return the row that a way of picking chooses; of rows alike in what is decisive, the closest to the ideal.

    The knee is the row closest to the ideal. Balanced is the row with the largest product of :func:`gains`: an equal
    share more of one is worth an equal share less of another, and no objective is given up. That is the solution of
    Nash 1950, "The bargaining problem", where the objectives bargain and whoever fails has the worst value.

    Args:
        how: One of ``PICKS``.
        objectives: Unit and direction by objective.
        losses: ``(points, objectives)``, all to be minimized, at least one point.

    Raises:
        StudyError: there is no such way, or the study has no objective for it.
    """
    if how not in PICKS:
        hint = "choose one of the allowed ways"
        raise no_such("there is no such way to pick a point", how, PICKS, where="--pick", hint=hint)
    if how == "knee":
        return int(np.argmin(away(losses)))
    if how == "balanced":
        return int(np.lexsort((away(losses), -gains(losses).prod(1)))[0])
    wanted = next((name for name in PICKS[how] if name in objectives), None)
    if wanted is None:
        told, hint = " or ".join(PICKS[how]), "pick the knee or balanced: they heed all objectives"
        raise StudyError(f"the study has no objective {told}", where="--pick", given=how, hint=hint)
    return int(np.lexsort((away(losses), losses[:, list(objectives).index(wanted)]))[0])


def weigh(weights: Mapping[str, float], objectives: Objectives, losses: Floats) -> int:
    """Return the row whose weighted sum of :func:`gains` is largest; an objective without a weight has no say.

    Raises:
        StudyError: a weight belongs to no objective of the study, is negative or not finite, or none is above zero.
    """
    for name, weight in weights.items():
        if name not in objectives:
            message, hint = "this weight belongs to no objective of the run", "weigh one of the allowed ones"
            raise no_such(message, name, objectives, where="--weights", hint=hint)
        if not (math.isfinite(weight) and weight >= 0):
            told, hint = f"{name}={weight:g}", f"leave {name} out where it is to have no say"
            raise StudyError("this is no weight", where="--weights", given=told, allowed="0 or more", hint=hint)
    if not any(weights.values()):
        told, hint = ",".join(f"{name}=0" for name in weights), f"write for example {EXAMPLE}"
        raise StudyError("no weight is above zero", where="--weights", given=told, hint=hint)
    total = gains(losses) @ np.array([weights.get(name, 0.0) for name in objectives])
    return int(np.lexsort((away(losses), -total))[0])


def parse_weights(text: str) -> dict[str, float]:
    """Return the weights of a text such as ``size=1,latency=2``.

    Raises:
        StudyError: the text is not such a list, or names an objective twice.
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = (piece.strip() for piece in part.partition("="))
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not name or math.isnan(weight) or name in found:
            raise StudyError(
                "an objective is named twice" if name in found else "these are no weights",
                where="--weights",
                given=text,
                allowed="NAME=NUMBER, separated by commas, each objective once",
                hint=f"write for example {EXAMPLE}",
            )
        found[name] = weight
    return found


def gains(losses: Floats) -> Floats:
    """Return how good each value is, from 0 for the worst of the points to 1 for the best, ``(points, objectives)``.

    Between them it goes by the logarithm: from 80 to 40 MB is as much as from 10 to 5. That is the log-ratio to the
    dense model, scaled. An objective of which some value is zero or of the other sign has no ratios and goes by its
    differences.
    """
    one_sign = (losses > 0).all(0) | (losses < 0).all(0)
    logs = np.sign(losses) * np.log(np.abs(np.where(one_sign, losses, 1.0)))
    return 1 - _scaled(np.where(one_sign, logs, losses))


def away(losses: Floats) -> Floats:
    """Return how far each point is from the best value of every objective, each scaled to 0 … 1, ``(points,)``."""
    found: Floats = np.linalg.norm(_scaled(losses), axis=1)
    return found


def _scaled(values: Floats) -> Floats:
    low, high = values.min(0), values.max(0)
    found: Floats = (values - low) / np.where(high > low, high - low, 1)
    return found
