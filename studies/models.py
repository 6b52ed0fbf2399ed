"""Loads a Transformers model and its tokenizer from a hub id or a folder."""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from slimfront.studies.errors import StudyError, one_line
from slimfront.studies.schema import ModelSpec
from slimfront.studies.sources import locate
from torch import nn


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the libraries' progress bars and reports while a model is loaded or traced."""
    import transformers

    before = transformers.logging.get_verbosity()
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers.logging.set_verbosity(before)
        if bars:
            transformers.utils.logging.enable_progress_bar()


def load_tokenizer(spec: ModelSpec) -> Any:
    """Return the tokenizer of a study's model.

    Raises:
        StudyError: there is none at the model's source.
    """
    import transformers

    section = "model.tokenizer" if spec.tokenizer else "model"
    source = spec.tokenizer or spec
    place = locate(source, section)
    try:
        with quiet():
            return transformers.AutoTokenizer.from_pretrained(place, revision=source.revision or "main")
    except Exception as error:
        raise StudyError(
            "no tokenizer can be loaded from here",
            where=section,
            given=place,
            allowed="a hub id or a folder with the tokenizer's files",
            hint=f"name another source at model.tokenizer ({_brief(error)})",
        ) from error


def load_model(spec: ModelSpec, labels: tuple[str, ...]) -> tuple[nn.Module, list[str]]:
    """Return a sequence classifier in evaluation mode and the parameters its checkpoint did not have.

    The parameters that are missing are initialized from a fixed seed.

    Raises:
        StudyError: nothing can be loaded, or the checkpoint's head has another number of classes.
    """
    import transformers

    place = locate(spec, "model")
    torch.manual_seed(0)
    try:
        with quiet():
            model, info = transformers.AutoModelForSequenceClassification.from_pretrained(
                place,
                revision=spec.revision or "main",
                num_labels=len(labels),
                id2label=dict(enumerate(labels)),
                label2id={name: index for index, name in enumerate(labels)},
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
    except Exception as error:
        raise StudyError(
            "no text classifier can be loaded from here",
            where="model",
            given=place,
            allowed="a hub id or a folder with config.json and weights of a Transformers encoder",
            hint=_brief(error),
        ) from error
    if getattr(model.config, "use_cache", False):
        # A classifier reads a sentence once; a decoder's cache would only stand in the way of its conversion.
        model.config.use_cache = False
    mismatched = [str(entry[0]) for entry in info.get("mismatched_keys", ())]
    return model.eval(), sorted({*map(str, info["missing_keys"]), *mismatched})


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {one_line(str(error), 160)}"


def weights_sha256(module: nn.Module) -> str:
    """Return the SHA-256 of a module's parameters, names and shapes included."""
    total = hashlib.sha256()
    for name, value in sorted(module.named_parameters()):
        total.update(f"{name}{tuple(value.shape)}".encode())
        total.update(value.detach().contiguous().numpy().tobytes())
    return total.hexdigest()
