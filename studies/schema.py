"""The study file's schema."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from slimfront.studies.limits import UNITS

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


class Source(Strict):
    """Where files come from: a hub id, a path, or files of an installed Python package."""

    hub: str | None = None
    revision: str | None = None
    package: str | None = None
    path: str | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Source:
        if self.hub is None and self.path is None:
            raise ValueError("give 'hub' (a hub id), 'path', or 'package' together with 'path'")
        if self.hub is not None and (self.package is not None or self.path is not None):
            raise ValueError("'hub' stands alone: remove 'package' and 'path', or 'hub'")
        return self


class ModelSpec(Source):
    """The trained model and how long its inputs may be.

    Attributes:
        tokenizer: Another source for the tokenizer, where the model's folder has none.
        max_tokens: Longer texts are truncated to this many tokens.
    """

    tokenizer: Source | None = None
    max_tokens: int = Field(default=128, ge=2, le=8192)


class Splits(Strict):
    """Rows (a whole number) or share of the rows (a fraction) of each split."""

    train: Rows | Fraction
    search: Rows | Fraction
    held_out: Rows | Fraction
    seed: int = Field(default=0, ge=0)


class DataSpec(Source):
    """The labelled texts.

    Attributes:
        format: Read from the file's name where absent.
        config: The hub data set's configuration.
        split: The hub data set's split from which the three splits are drawn.
        text: Column of the text.
        text_pair: Column of the second text of a pair.
        label: Column of the label.
        labels: The labels to keep; rows with another label are left out.
        group: Column whose rows always stay in one split, so that nothing leaks between splits.
    """

    format: Literal["csv", "tsv", "jsonl", "parquet"] | None = None
    encoding: str = "utf-8"
    config: str | None = None
    split: str = "train"
    text: str
    text_pair: str | None = None
    label: str
    labels: tuple[str | int, ...] | None = Field(default=None, min_length=1, strict=False)
    group: str | None = None
    splits: Splits

    @field_validator("labels")
    @classmethod
    def _distinct(cls, labels: tuple[str | int, ...] | None) -> tuple[str | int, ...] | None:
        if labels is not None and len({str(label) for label in labels}) < len(labels):
            raise ValueError("a label is named twice; name each once")
        return labels


class NoTraining(Strict):
    """The checkpoint has a trained head already."""

    method: Literal["none"] = "none"


class FineTuning(Strict):
    """Full fine-tuning of encoder and head with AdamW and a linear learning-rate decay."""

    method: Literal["fine-tune"]
    epochs: int = Field(default=2, ge=1, le=100)
    batch: int = Field(default=16, ge=1)
    learning_rate: Rate = 1e-4
    freeze_embeddings: bool = True
    seed: int = Field(default=0, ge=0)


class LogisticRegressionHead(Strict):
    """A scikit-learn logistic regression on frozen features, turned into the model's last linear layer."""

    method: Literal["logistic-regression"]
    C: float = Field(default=1.0, gt=0)
    max_iterations: int = Field(default=1000, ge=1)


Training = Annotated[NoTraining | FineTuning | LogisticRegressionHead, Field(discriminator="method")]


def _tokens(value: object) -> object:
    if value == "data" or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError("a length is a number of tokens from 1, or 'data': those lengths that the texts have")


Tokens = Annotated[int | Literal["data"], BeforeValidator(_tokens)]


class TargetSpec(Strict):
    """Where the model will run, and how latency is measured there.

    Attributes:
        threads: Threads of one inference.
        device: ``cuda`` for runtimes that have it.
        batch: Sentences of one request; accuracy is measured at this batch too, since dynamic quantization
            makes results depend on it.
        tokens: Length of the request whose latency is measured; ``data`` stands for several requests, as long as the
            search split's texts are, over which the mean is taken.
        full_batch: Sentences of a full batch, in which throughput is measured.
    """

    runtime: str = "openvino"
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = Field(default=1, ge=1)
    batch: int = Field(default=1, ge=1)
    tokens: Tokens = 32
    full_batch: int = Field(default=32, ge=1)

    @property
    def length(self) -> str:
        """The length of a request in words."""
        return "the texts' own lengths" if self.tokens == "data" else f"{self.tokens} tokens"


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
    raise ValueError("a group is a number of weights, such as 64, or 'row'")


Group = Annotated[int | Literal["row"], BeforeValidator(_group)]


class BitsSpec(Strict):
    """Bit-width of each weight group; ``levels`` absent means all that the target packs.

    Attributes:
        groups: By width, how many weights of a row share a scale at most, or ``row``.
        rows: Sentences of the train split that calibrate quantizers, masks, and weights that make up for removed ones.
    """

    granularity: Granularity = "layer"
    levels: tuple[int, ...] | None = Field(default=None, min_length=1, strict=False)
    quantizer: str = "affine"
    groups: dict[Annotated[int, Field(strict=False)], Group] = Field(default_factory=dict)
    rows: int = Field(default=256, ge=1)


def _zeros(value: object) -> object:
    pair = re.fullmatch(r"([0-9]{1,2}):([0-9]{1,2})", value) if isinstance(value, str) else None
    if pair is None and not (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1):
        raise ValueError("a level is a share of the weights from 0 to below 1, or 'n:m', such as '2:4'")
    if pair and not (int(pair[2]) in (2, 4, 8, 16, 32) and 0 < int(pair[1]) < int(pair[2])):
        raise ValueError("of 'n:m' m is 2, 4, 8, 16 or 32, and n is less but at least 1")
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
        raise ValueError("the value of a parameter is a number or a text")
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


class SharedRecovery(Strict):
    """Distillation of the model as a super-network, once, before the search; every trial is stitched from its weights.

    Attributes:
        steps: Optimizer steps; each trains the whole model, the most compressed one, and ``sampled`` between them.
        sampled: Models drawn at random for each step.
        temperature: Softmax temperature.
        weight: Weight of the soft targets; the hard labels get the rest.
        hidden: Weight of the difference of hidden states.
        attention: Weight of the divergence of attention relations.
        learning_rate: At the beginning; it falls to zero.
        batch: Sentences of a step.
        seed: Draws sentences and models.
    """

    steps: int = Field(default=300, ge=1, le=1_000_000)
    sampled: int = Field(default=2, ge=0, le=64)
    temperature: Temperature = 2.0
    weight: Share = 1.0
    hidden: Term = 0.0
    attention: Term = 0.0
    learning_rate: Rate = 1e-4
    batch: int = Field(default=16, ge=1)
    seed: int = Field(default=0, ge=0)


class SearchSpec(Strict):
    """How the space is searched.

    Attributes:
        address: A Ray cluster's address; absent, Ray runs on this machine alone.
        storage: The URL of a database server for the records, which several searches may then share; absent, they are
            a file in the run folder.
        trials: Configurations to evaluate; duplicates answered from the records do not count.
        timeout: Longest time of the search, such as ``30m``.
        failures: Share of the trials that may fail before the search gives up.
        delta: Chance, at most, that a trial which belongs to the front is stopped early, as far as its margins scatter
            like a normal around a combination of earlier trials'; 0 stops none.
        patience: Stop when so many trials in a row have hardly enlarged the front's hypervolume.
        budget: Longest CPU time of all trials together, such as ``2h``.
        predicted: How many configurations along the predicted front follow the uniform settings, where the sampler does
            not begin there by itself.
        reduction_factor: Begin every configuration at the fewest steps of distillation; of so many at one number of
            steps one goes on to the next. Absent, the sampler chooses the steps.
        trial_timeout: Longest time of one trial; what takes longer is ended, and counts as failed.
        trial_memory: Most memory of a worker, such as ``4GB``; absent, the workers share that of the machine.
        bank: Largest size of the layer bank, in multiples of the model's fp32 weights.
    """

    engine: str = "optuna"
    address: str | None = None
    storage: str | None = None
    sampler: str = "evolution"
    trials: int = Field(default=60, ge=1, le=1_000_000)
    timeout: str | None = None
    workers: int = Field(default=1, ge=1, le=1024)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    failures: float = Field(default=0.2, ge=0, le=1)
    delta: float = Field(default=0.05, ge=0, le=0.5)
    patience: int | None = Field(default=None, ge=1)
    budget: str | None = None
    predicted: int = Field(default=8, ge=0, le=1_000_000)
    reduction_factor: int | None = Field(default=None, ge=2, le=1000)
    trial_timeout: str = "1h"
    trial_memory: str | None = None
    bank: float = Field(default=3.0, gt=0)

    @field_validator("timeout", "budget", "trial_timeout")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None:
            seconds(value)
        return value

    @field_validator("trial_memory")
    @classmethod
    def _countable(cls, value: str | None) -> str | None:
        if value is not None:
            byte_count(value)
        return value


def seconds(text: str) -> float:
    """Return the seconds of a duration such as ``90``, ``45s``, ``30m`` or ``2h``.

    Raises:
        ValueError: the text is no duration.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text)
    if match is None or float(match[1]) <= 0:
        raise ValueError("write a duration such as 90s, 30m or 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def byte_count(text: str) -> int:
    """Return the bytes of a size such as ``512MB`` or ``4GiB``.

    Raises:
        ValueError: the text is no size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    factor = UNITS["byte"].get(match[2].lower() or "b") if match else None
    if match is None or factor is None or float(match[1]) <= 0:
        raise ValueError("write a size such as 512MB or 4GB")
    return int(float(match[1]) * factor)


class Study(Strict):
    """A whole study: what is to be compressed, and how the search goes.

    Attributes:
        recovery: Recovery that all trials share; absent, trials are stitched from the dense model's own weights.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    task: Literal["text-classification"] = "text-classification"
    model: ModelSpec
    data: DataSpec
    train: Training = NoTraining()
    target: TargetSpec = TargetSpec()
    space: SpaceSpec = SpaceSpec(sparsity=SparsitySpec(), bits=BitsSpec(), distillation=DistillationSpec())
    recovery: SharedRecovery | None = None
    objectives: tuple[str, ...] = Field(default=("size", "latency", "accuracy"), min_length=2, strict=False)
    constraints: dict[str, str] = Field(default_factory=dict)
    search: SearchSpec = SearchSpec()

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        if len(set(self.objectives)) != len(self.objectives):
            raise ValueError("'objectives' names one objective twice; name each once")
        if self.target.tokens != "data" and self.target.tokens > self.model.max_tokens:
            raise ValueError("'target.tokens' is larger than 'model.max_tokens'; lower it or raise the other")
        return self
