"""The schema of a study's section ``space``: the axes."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator
from slimfront.studies.fields import Granularity, Rate, Share, Strict, Temperature, Term


class SparsitySpec(Strict):
    """Attention heads and FFN neurons removed from each block.

    Attributes:
        granularity: ``threshold`` removes the share from all blocks together: those units go, wherever they are, whose
            score lies below one threshold for all heads, or for all neurons.
        levels: Shares of the units that are removed; 0 keeps all.
    """

    granularity: Literal["layer", "role", "all", "threshold"] = "layer"
    levels: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = Field(
        default=(0.0, 0.25, 0.5, 0.75), min_length=1, strict=False
    )
    criterion: str = "gradient-weight"
    rows: int = Field(default=256, ge=1)


class DepthSpec(Strict):
    """Whole blocks that are removed; each block has a choice of its own.

    Attributes:
        levels: Shares of the blocks whose removal, from the end, is tried as a uniform setting.
    """

    levels: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = Field(default=(0.0, 0.34), min_length=1, strict=False)


class VocabularySpec(Strict):
    """Rows of the vocabulary that are removed, and their tokens from the tokenizer.

    Attributes:
        levels: Shares of the rows that are removed; 0 keeps all.
    """

    levels: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = Field(
        default=(0.0, 0.25, 0.5, 0.75), min_length=1, strict=False
    )


def _group(value: object) -> object:
    if value == "row" or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise ValueError("this is no group; write a number of weights, such as 64, or 'row'")


Group = Annotated[int | Literal["row"], BeforeValidator(_group)]


def _bits(value: object) -> object:
    if (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, str) and STATIC.fullmatch(value)):
        return value
    raise ValueError("this is no level; write a number of bits, or '8-static'")


STATIC = re.compile("[0-9]{1,2}-static")
BitLevel = Annotated[int | str, BeforeValidator(_bits)]


class BitsSpec(Strict):
    """Bit-width of each weight group; ``levels`` absent means all that the target offers.

    Attributes:
        levels: Bits of a weight, or ``8-static``: 8 bits, and as many of what a linear layer reads, in a fixed range.
        groups: By width, how many weights of a row share a scale at most, or ``row``.
        rows: Sentences of the train split that calibrate quantizers, masks, fixed ranges, and weights that make up for
            removed ones.
    """

    granularity: Granularity = "layer"
    levels: tuple[BitLevel, ...] | None = Field(default=None, min_length=1, strict=False)
    quantizer: str = "affine"
    groups: dict[Annotated[int, Field(strict=False)], Group] = Field(default_factory=dict)
    rows: int = Field(default=256, ge=1)


def _zeros(value: object) -> object:
    pair = re.fullmatch(r"([0-9]{1,2}):([0-9]{1,2})", value) if isinstance(value, str) else None
    if pair is None and not (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1):
        raise ValueError("this is no level; write a share of the weights from 0 to below 1, or 'n:m', such as '2:4'")
    if pair and not (int(pair[2]) in (2, 4, 8, 16, 32) and 0 < int(pair[1]) < int(pair[2])):
        raise ValueError("there is no such pattern; of 'n:m' m is 2, 4, 8, 16 or 32, and n is less but at least 1")
    return f"{int(pair[1])}:{int(pair[2])}" if pair else float(value)  # type: ignore[arg-type]


Zeros = Annotated[float | str, BeforeValidator(_zeros)]


class UnstructuredSpec(Strict):
    """Single weights that become zero, in each weight group.

    Attributes:
        levels: Shares of the weights of each row that become zero, or ``n:m``: n of every m neighbours in a row stay.
        mask: Which ones.
    """

    granularity: Granularity = "layer"
    levels: tuple[Zeros, ...] = Field(default=(0.0, 0.5), min_length=1, strict=False)
    mask: str = "wanda"


Steps = Annotated[int, Field(ge=0, le=100_000)]


class DistillationSpec(Strict):
    """Recovery of a pruned model by the dense one's temperature-softened predictions: the choices of each setting.

    Attributes:
        steps: Numbers of optimizer steps; 0 is no recovery.
        temperature: Softmax temperatures.
        weight: Weights of the soft targets; the hard labels get the rest.
        hidden: Weights of the difference of hidden states.
        attention: Weights of the divergence of attention relations.
        learning_rate: Learning rates at the beginning.
        batch: Sentences of a step.
    """

    steps: tuple[Steps, ...] = Field(default=(0, 40), min_length=1, strict=False)
    temperature: tuple[Temperature, ...] = Field(default=(1.0, 2.0, 4.0), min_length=1, strict=False)
    weight: tuple[Share, ...] = Field(default=(0.5, 1.0), min_length=1, strict=False)
    hidden: tuple[Term, ...] = Field(default=(0.0,), min_length=1, strict=False)
    attention: tuple[Term, ...] = Field(default=(0.0,), min_length=1, strict=False)
    learning_rate: tuple[Rate, ...] = Field(default=(1e-4,), min_length=1, strict=False)
    batch: int = Field(default=16, ge=1)

    @field_validator(
        "learning_rate", "hidden", "attention", mode="before", json_schema_input_type=float | tuple[float, ...]
    )
    @classmethod
    def _one_or_more(cls, value: object) -> object:
        return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _value(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("this is no value of a parameter; write a number or a text")
    return value


class SpaceSpec(Strict):
    """The axes; one that is absent stays at its dense setting.

    Attributes:
        fixed: Values of parameters, by name or pattern, that are not searched: all models but the dense one have them.
    """

    depth: DepthSpec | None = None
    sparsity: SparsitySpec | None = None
    vocabulary: VocabularySpec | None = None
    bits: BitsSpec | None = None
    unstructured: UnstructuredSpec | None = None
    precision: tuple[str, ...] | None = Field(default=None, min_length=1, strict=False)
    distillation: DistillationSpec | None = None
    fixed: dict[str, Annotated[int | float | str, BeforeValidator(_value)]] = Field(default_factory=dict)
