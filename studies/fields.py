"""What the sections of a study file are made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Rows = Annotated[int, Field(gt=0)]
Temperature = Annotated[float, Field(ge=0.01, le=1000)]
Rate = Annotated[float, Field(gt=0, le=1)]
Term = Annotated[float, Field(ge=0, le=1e6)]
Granularity = Literal["layer", "role", "all"]


class Strict(BaseModel):
    """Base of every section: unknown keys, NaN and infinity are errors, and nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)
