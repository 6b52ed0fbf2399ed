"""The study file's schema."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator
from slimfront.studies.fields import Fraction, Rate, Rows, Share, Strict, Temperature, Term
from slimfront.studies.limits import UNITS
from slimfront.studies.space import BitsSpec, DistillationSpec, SpaceSpec, SparsitySpec


class Source(Strict):
    """Where files come from: a hub id, a path, or files of an installed Python package."""

    hub: str | None = None
    revision: str | None = None
    package: str | None = None
    path: str | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Source:
        if self.hub is None and self.path is None:
            raise ValueError("nothing says where it is; add 'hub' (a hub id), 'path', or 'package' and 'path'")
        if self.hub is not None and (self.package is not None or self.path is not None):
            raise ValueError("'hub' stands alone; remove 'package' and 'path', or 'hub'")
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

    @model_validator(mode="after")
    def _own_columns(self) -> DataSpec:
        columns = [("text", self.text), ("text_pair", self.text_pair), ("label", self.label)]
        for place, (name, column) in enumerate(columns):
            for other, same in columns[:place]:
                if column is not None and column == same:
                    raise ValueError(f"'{other}' and '{name}' are one column, '{column}'; name two")
        return self

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
    raise ValueError("this is no length; write a number of tokens from 1, or 'data': those lengths that the texts have")


Tokens = Annotated[int | Literal["data"], BeforeValidator(_tokens)]


class TargetSpec(Strict):
    """Where the model will run, and how latency is measured there.

    Attributes:
        threads: Threads of one inference.
        device: ``cuda`` for runtimes that have it.
        batch: Sentences of one request; accuracy is measured at this batch too, since dynamic quantization can make
            results depend on it, but at 8 or more on OpenVINO, where they do not.
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
        trackers: Where the search is shown beside its own records.
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
    trackers: tuple[str, ...] = Field(default=(), strict=False)

    @field_validator("timeout", "budget", "trial_timeout")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None:
            seconds(value)
        return value

    @field_validator("trackers")
    @classmethod
    def _distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError("a tracker is named twice; name each once")
        return names

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
        raise ValueError("this is no duration; write for example 90s, 30m or 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def byte_count(text: str) -> int:
    """Return the bytes of a size such as ``512MB`` or ``4GiB``.

    Raises:
        ValueError: the text is no size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    factor = UNITS["byte"].get(match[2].lower() or "b") if match else None
    if match is None or factor is None or float(match[1]) <= 0:
        raise ValueError("this is no size; write for example 512MB or 4GB")
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

    @field_validator("objectives")
    @classmethod
    def _distinct(cls, objectives: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(objectives)) < len(objectives):
            raise ValueError("an objective is named twice; name each once")
        return objectives

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        tokens, most = self.target.tokens, self.model.max_tokens
        if tokens != "data" and tokens > most:
            told = f"target.tokens, {tokens}, is larger than model.max_tokens, {most}"
            raise ValueError(f"{told}; lower the one or raise the other")
        return self
