"""The subject of a study: the dense model and the texts as it reads them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from slimfront.studies.cache import cached
from slimfront.studies.classes import align_classes
from slimfront.studies.data import load_splits
from slimfront.studies.dense import dense_model, require_training
from slimfront.studies.encoding import Batch, Encoded
from slimfront.studies.errors import StudyError, one_line
from slimfront.studies.models import load_model, load_tokenizer, model_inputs, weights_sha256
from slimfront.studies.reading import Reading, read_texts
from slimfront.studies.renumbering import renumbered
from slimfront.studies.schema import NoTraining, Study
from slimfront.studies.tensors import adopt
from slimfront.studies.vocabulary import Ranking, delicate, rank, reorder
from torch import nn

Progress = Callable[[str, float], None]
FILE = "table.safetensors"
FEW = 64
MOST_UNKNOWN = 0.5


@dataclass(frozen=True)
class Subject(Reading):
    """Everything about the dense model that a trial needs: the model, and the texts as its tokenizer reads them.

    Attributes:
        module: The dense model in evaluation mode.
        weights: SHA-256 of the dense parameters.
        ranking: The order in which rows of the vocabulary may go, or None where they all stay.
    """

    module: nn.Module
    weights: str
    ranking: Ranking | None

    def example(self) -> dict[str, torch.Tensor]:
        """Return a small batch of real inputs, each ``(2, tokens)``, for walking and tracing the module."""
        return as_tensors(self.train.batch(range(2)))

    def with_rows(self, rows: int) -> Subject:
        """Return the subject as a model reads it that has only the first ``rows`` of the vocabulary."""
        assert self.ranking is not None
        return self.read_by(renumbered(self.tokenizer, np.arange(min(rows, self.ranking.tokens))))

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
        ordered = replace(found, weights=weights_sha256(found.module))
        ordered.share(self.ranking.vocabulary.table)
        return ordered

    def share(self, table: str) -> None:
        """Map a table from the cache, as all other weights are: processes share its pages."""

        def build(folder: Path) -> None:
            save_file({table: self.module.get_parameter(table).detach().contiguous()}, folder / FILE)

        adopt(self.module, cached("vocabulary", {"weights": self.weights, "table": table}, build) / FILE)


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
    padding = getattr(getattr(base, "config", None), "pad_token_id", None)
    reading = read_texts(texts, tokenizer, model_inputs(base), padding, study.model.max_tokens)
    train, lessons = reading.train, reading.lessons
    for split in (train, reading.search, reading.held_out, lessons):
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
    return Subject(**vars(reading), module=base, weights=weights, ranking=ranking)


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


def _check_vocabulary(module: nn.Module, encoded: Encoded) -> None:
    tables = [part.num_embeddings for part in module.modules() if isinstance(part, nn.Embedding)]
    with contextlib.suppress(Exception):
        # The other tables, such as that of the positions, may be larger.
        tables = [module.get_input_embeddings().num_embeddings]  # type: ignore[operator]
    largest = int(encoded.columns["input_ids"].max(initial=0))
    if tables and largest >= max(tables):
        raise StudyError(
            "the tokenizer makes token ids that the model's embedding does not have",
            where="model",
            given=f"token id {largest}",
            allowed=f"below {max(tables)}",
            hint="name the tokenizer that belongs to the model at model.tokenizer",
        )


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
    lengths = encoded.sizes[:FEW]
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
    tokens = encoded.columns["input_ids"]
    words = tokens[~np.isin(tokens, list(special))]
    share = float((words == (-1 if unknown is None else unknown)).sum()) / max(1, len(words))
    if share > MOST_UNKNOWN:
        raise StudyError(
            "the tokenizer does not know the words of these texts",
            where="model",
            given=f"{share:.0%} unknown tokens",
            allowed=f"at most {MOST_UNKNOWN:.0%}",
            hint="put the tokenizer's files beside the weights, or name another source at model.tokenizer",
        )
