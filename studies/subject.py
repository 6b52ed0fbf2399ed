"""The subject of a study: the dense model, its tokenizer and the tokenized splits."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from slimfront.studies.classes import align_classes
from slimfront.studies.data import Splits, load_splits
from slimfront.studies.dense import dense_model, require_training
from slimfront.studies.encoding import Batch, Encoded, encode
from slimfront.studies.errors import StudyError, one_line
from slimfront.studies.models import load_model, load_tokenizer, weights_sha256
from slimfront.studies.renumbering import renumbered
from slimfront.studies.schema import NoTraining, Study
from slimfront.studies.vocabulary import Ranking, delicate, rank, reorder
from torch import nn

Progress = Callable[[str, float], None]
FEW = 64
MOST_UNKNOWN = 0.5


@dataclass(frozen=True)
class Subject:
    """Everything about the dense model that a trial needs.

    Attributes:
        module: The dense model in evaluation mode.
        tokenizer: Its tokenizer.
        texts: The splits as texts.
        max_tokens: Longer texts are cut.
        train: The train split, tokenized.
        search: The split on which trials are measured.
        held_out: The split on which the front is measured again.
        lessons: What students are distilled on: the train split and texts without a label.
        weights: SHA-256 of the dense parameters.
        ranking: The order in which rows of the vocabulary may go, or None where they all stay.
    """

    module: nn.Module
    tokenizer: Any
    texts: Splits
    max_tokens: int
    train: Encoded
    search: Encoded
    held_out: Encoded
    lessons: Encoded
    weights: str
    ranking: Ranking | None = None

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

    def read_by(self, tokenizer: Any) -> Subject:
        """Return the subject with its texts tokenized by another tokenizer."""
        train, search, held_out, lessons = _encoded(self.texts, tokenizer, tuple(self.train.padding), self.max_tokens)
        return replace(self, tokenizer=tokenizer, train=train, search=search, held_out=held_out, lessons=lessons)

    def with_rows(self, rows: int) -> Subject:
        """Return the subject as a model reads it that has only the first ``rows`` of the vocabulary."""
        assert self.ranking is not None
        return self.read_by(renumbered(self.tokenizer, np.arange(min(rows, self.ranking.tokens))))

    def longer_than(self, other: Subject) -> float:
        """Return how many tokens this subject reads its texts as for each one that another reads them as."""
        return float(self.train.lengths().sum() / other.train.lengths().sum())

    def in_order(self) -> Subject:
        """Return the subject with the rows of its vocabulary in the order of its ranking.

        Raises:
            StudyError: the model's answers depend on more than the rows that the ids name.
        """
        if self.ranking is None:
            return self
        batches = (self.example(), delicate(self.module, self.tokenizer, self.ranking, self.example()))
        places = torch.from_numpy(np.argsort(self.ranking.order))
        with torch.no_grad():
            before = [self.module(**batch).logits for batch in batches]
            reorder(self.module, self.ranking)
            moved = [{**batch, "input_ids": places[batch["input_ids"]]} for batch in batches]
            after = [self.module(**batch).logits for batch in moved]
        found = self.read_by(renumbered(self.tokenizer, self.ranking.order[: self.ranking.tokens]))
        same = all(torch.allclose(*pair, rtol=1e-5, atol=1e-6) for pair in zip(before, after, strict=True))
        if not same or not torch.equal(found.example()["input_ids"], moved[0]["input_ids"]):
            raise StudyError(
                "the vocabulary cannot be cut: the model reads its token ids elsewhere, too",
                where="space.vocabulary",
                given=self.ranking.vocabulary.table,
                hint="remove space.vocabulary",
            )
        return replace(found, weights=weights_sha256(found.module))


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
    _know_padding(tokenizer, base)
    inputs = model_inputs(base)
    splits = _encoded(texts, tokenizer, inputs, study.model.max_tokens)
    train, lessons = splits[0], splits[-1]
    for split in splits:
        _check_vocabulary(base, split)
    _check_length(base, study.model.max_tokens)
    _check_runs(base, as_tensors(train.batch(range(2))))
    _check_mask(base, train)
    _check_known(tokenizer, train)
    require_training(study, missing)
    if isinstance(study.train, NoTraining):
        align_classes(base, names, texts.labels, study)
    weights, ranking = weights_sha256(base), None
    if study.space.vocabulary:
        ranking = rank(base, tokenizer, as_tensors(train.batch(range(2))), lessons)
    return Subject(base, tokenizer, texts, study.model.max_tokens, *splits, weights, ranking)


def _encoded(
    texts: Splits, tokenizer: Any, inputs: tuple[str, ...], max_tokens: int
) -> tuple[Encoded, Encoded, Encoded, Encoded]:
    """Return the train, search and held-out splits and the lessons, tokenized."""
    more = [texts.unlabelled] if len(texts.unlabelled) else []
    train, search, held_out, *unlabelled = encode(
        [texts.train, texts.search, texts.held_out, *more], tokenizer, inputs, max_tokens
    )
    return train, search, held_out, sum(unlabelled, train)


def trained(subject: Subject, study: Study, progress: Progress) -> Subject:
    """Return the subject with its dense model trained as the study says, from the cache where it has it.

    Where the vocabulary may be cut, its rows are put in the order in which they may go.

    Args:
        subject: As it was loaded.
        study: Says how the model is trained.
        progress: Called with a text and the finished share.
    """
    module = dense_model(study, subject.module, subject.weights, subject.train, progress)
    return replace(subject, module=module, weights=weights_sha256(module)).in_order()


def model_inputs(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the inputs that a module's ``forward`` takes from a tokenizer."""
    known = ("input_ids", "attention_mask", "token_type_ids")
    accepted = inspect.signature(module.forward).parameters
    return tuple(name for name in known if name in accepted)


def _check_vocabulary(module: nn.Module, encoded: Encoded) -> None:
    tables = [part.num_embeddings for part in module.modules() if isinstance(part, nn.Embedding)]
    with contextlib.suppress(Exception):
        # The other tables, such as that of the positions, may be larger.
        tables = [module.get_input_embeddings().num_embeddings]  # type: ignore[operator]
    largest = max((max(row["input_ids"], default=0) for row in encoded.rows), default=0)
    if tables and largest >= max(tables):
        raise StudyError(
            "the tokenizer makes token ids that the model's embedding does not have",
            where="model",
            given=f"token id {largest}",
            allowed=f"below {max(tables)}",
            hint="name the tokenizer that belongs to the model at model.tokenizer",
        )


def _know_padding(tokenizer: Any, module: nn.Module) -> None:
    """Give a tokenizer that names no padding token the one that the model knows."""
    if tokenizer.pad_token_id is not None:
        return
    known = getattr(getattr(module, "config", None), "pad_token_id", None)
    if known is None:
        raise StudyError(
            "neither the tokenizer nor the model knows a padding token",
            where="model",
            given="no pad_token",
            allowed="a pad_token in tokenizer_config.json, and its id as pad_token_id in config.json",
            hint="add both to the model's folder; decoders take their end-of-text token",
        )
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(known)


def _check_runs(module: nn.Module, example: dict[str, torch.Tensor]) -> None:
    try:
        with torch.no_grad():
            module(**example)
    except Exception as error:
        raise StudyError(
            "the model does not run on these texts",
            where="model",
            given=one_line(f"{type(error).__name__}: {error}", 160),
            allowed="a classifier that runs on a padded batch of two texts",
            hint="mend its files; a decoder needs pad_token_id in its config.json",
        ) from error


def _check_mask(module: nn.Module, encoded: Encoded) -> None:
    """Refuse a model whose answer depends on what a text is padded with: no batch would tell its accuracy."""
    lengths = encoded.lengths()[:FEW]
    rows = [int(lengths.argmin()), int(lengths.argmax())]
    with torch.no_grad():
        alone, padded = (module(**as_tensors(encoded.batch(part))).logits[0] for part in (rows[:1], rows))
    if not torch.allclose(alone, padded, rtol=1e-3, atol=1e-5):
        raise StudyError(
            "the model does not heed its attention mask",
            where="model",
            given=f"padding moves a logit by {(alone - padded).abs().max():.3g}",
            allowed="a model that answers a text alone as it does in a padded batch",
            hint="mend its forward; a decoder needs the pad_token_id with which it was trained",
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
