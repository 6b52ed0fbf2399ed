"""The subject of a study: the dense model, its tokenizer and the tokenized splits."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from slimfront.studies.classes import align_classes
from slimfront.studies.data import Splits, load_splits
from slimfront.studies.dense import dense_model, require_training
from slimfront.studies.encoding import Batch, Encoded, encode
from slimfront.studies.errors import StudyError
from slimfront.studies.models import load_model, load_tokenizer, weights_sha256
from slimfront.studies.schema import NoTraining, Study
from torch import nn

Progress = Callable[[str, float], None]
MOST_UNKNOWN = 0.5


@dataclass(frozen=True)
class Subject:
    """Everything about the dense model that a trial needs.

    Attributes:
        module: The dense model in evaluation mode.
        tokenizer: Its tokenizer.
        texts: The splits as texts.
        train: The train split, tokenized.
        search: The split on which trials are measured.
        held_out: The split on which the front is measured again.
        lessons: What students are distilled on: the train split and texts without a label.
        weights: SHA-256 of the dense parameters.
    """

    module: nn.Module
    tokenizer: Any
    texts: Splits
    train: Encoded
    search: Encoded
    held_out: Encoded
    lessons: Encoded
    weights: str

    def example(self) -> dict[str, torch.Tensor]:
        """Return a small batch of real inputs, each ``(2, tokens)``, for walking and tracing the module."""
        return as_tensors(self.train.batch(range(2)))

    def request(self, batch: int, tokens: int) -> Batch:
        """Return a request of exactly ``batch`` × ``tokens`` real tokens, for measuring latency."""
        row: dict[str, list[int]] = {name: [] for name in self.train.padding}
        index = 0
        while len(row["input_ids"]) < batch * tokens:
            for name in row:
                row[name] += self.train.rows[index % len(self.train)][name]
            index += 1
        wide = {name: torch.tensor(values[: batch * tokens]) for name, values in row.items()}
        return {name: values.reshape(batch, tokens).numpy() for name, values in wide.items()}


def as_tensors(batch: Batch) -> dict[str, torch.Tensor]:
    """Return a batch as torch tensors."""
    return {name: torch.from_numpy(values) for name, values in batch.items()}


def load_subject(study: Study) -> Subject:
    """Load model and data; a model that the study trains is still untrained, which is enough to see its layers.

    Args:
        study: What to load.

    Raises:
        StudyError: the model or the data are not as the study says.
        MissingError: a package that the study names is not installed.
    """
    texts = load_splits(study.data)
    tokenizer = load_tokenizer(study.model)
    base, missing, names = load_model(study.model, texts.labels)
    inputs = model_inputs(base)
    train, search, held_out = (
        encode(part, tokenizer, inputs, study.model.max_tokens) for part in (texts.train, texts.search, texts.held_out)
    )
    _check_vocabulary(base, train)
    _check_length(base, study.model.max_tokens)
    _check_known(tokenizer, train)
    require_training(study, missing)
    if isinstance(study.train, NoTraining):
        align_classes(base, names, texts.labels, study)
    lessons = train
    if len(texts.unlabelled):
        lessons = train + encode(texts.unlabelled, tokenizer, inputs, study.model.max_tokens)
    return Subject(base, tokenizer, texts, train, search, held_out, lessons, weights_sha256(base))


def trained(subject: Subject, study: Study, progress: Progress) -> Subject:
    """Return the subject with its dense model trained as the study says, from the cache where it has it.

    Args:
        subject: As it was loaded.
        study: Says how the model is trained.
        progress: Called with a text and the finished share.
    """
    module = dense_model(study, subject.module, subject.train, progress)
    return replace(subject, module=module, weights=weights_sha256(module))


def model_inputs(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the inputs that a module's ``forward`` takes from a tokenizer."""
    known = ("input_ids", "attention_mask", "token_type_ids")
    accepted = inspect.signature(module.forward).parameters
    return tuple(name for name in known if name in accepted)


def _check_vocabulary(module: nn.Module, encoded: Encoded) -> None:
    tables = [part.num_embeddings for part in module.modules() if isinstance(part, nn.Embedding)]
    largest = max(max(row["input_ids"]) for row in encoded.rows)
    if tables and largest >= max(tables):
        raise StudyError(
            "the tokenizer makes token ids that the model's embedding does not have",
            where="model",
            given=f"token id {largest}",
            allowed=f"below {max(tables)}",
            hint="name the tokenizer that belongs to the model at model.tokenizer",
        )


def _check_length(module: nn.Module, tokens: int) -> None:
    """Refuse texts that are longer than the model's positions reach."""
    most = getattr(getattr(module, "config", None), "max_position_embeddings", None)
    if isinstance(most, int) and tokens > most:
        raise StudyError(
            "the model has fewer positions than that",
            where="model.max_tokens",
            given=tokens,
            allowed=f"at most {most}",
            hint=f"set model.max_tokens to {most} or less",
        )


def _check_known(tokenizer: Any, encoded: Encoded) -> None:
    """Refuse a tokenizer that knows hardly a word: Transformers makes an empty one where the files are missing."""
    unknown = getattr(tokenizer, "unk_token_id", None)
    special = set(tokenizer.all_special_ids) - {unknown}
    words = [token for row in encoded.rows for token in row["input_ids"] if token not in special]
    share = sum(token == unknown for token in words) / max(1, len(words))
    if share > MOST_UNKNOWN:
        raise StudyError(
            "the tokenizer does not know the words of these texts",
            where="model",
            given=f"{share:.0%} unknown tokens",
            allowed=f"at most {MOST_UNKNOWN:.0%}",
            hint="put the tokenizer's files beside the weights, or name another source at model.tokenizer",
        )
