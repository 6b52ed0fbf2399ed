"""Made-up tables whose sums are easily told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from slimfront.search.prediction import Predictor, Tables
from slimfront.search.prediction.tables import Term
from slimfront.spaces.domain import Domain


class OneMode:
    """A runtime whose layers do not disturb each other."""

    def mode(self, forms: object, precision: str) -> str:
        return precision


def predictor_of(domains: Mapping[str, Domain], steps: str | None = None, scale: float = 1.0) -> Predictor:
    """Return a predictor for ``bits/...`` domains: bytes are bits, milliseconds half of them, losses 2 ** -bits.

    The n-th parameter's loss is weighed with ``scale * 2 ** n``; ``steps`` names the parameter of the recovery steps.
    """
    size, latency, losses = [], [], []
    for position, (name, domain) in enumerate(domains.items()):
        if not name.startswith("bits/"):
            losses.append(np.zeros(len(domain.values)))
            continue
        bits = np.array(domain.values, dtype=np.float64)
        size.append(Term((position,), bits.astype(np.int64)))
        latency.append(Term((position,), bits / 2))
        losses.append(scale * 2.0**position * 2.0**-bits)
    nothing = Term((), np.array(0))
    recovery = nothing
    if steps is not None:
        recovery = Term((list(domains).index(steps),), np.array(domains[steps].values, dtype=np.int64))
    values = {name: domain.values for name, domain in domains.items()}
    tables = Tables(values, tuple(size), (), (), nothing, {"f32": tuple(latency)}, tuple(losses), recovery)
    runtime: Any = OneMode()
    return Predictor(tables, runtime, ("f32",), {name: domain.values[0] for name, domain in domains.items()})
