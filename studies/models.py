"""Loads a Transformers model and its tokenizer from a hub id or a folder."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from slimfront.studies.encoding import INPUTS
from slimfront.studies.errors import StudyError, one_line
from slimfront.studies.matching import telling
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
    if not spec.tokenizer:
        # The tokenizer is looked up by what the model's configuration says: a damaged one would be told as its fault.
        _config(place, spec.revision)
    try:
        with quiet():
            # Batches are padded on the right: an export must do as the search did.
            return transformers.AutoTokenizer.from_pretrained(
                place, revision=source.revision or "main", padding_side="right", trust_remote_code=False
            )
    except Exception as error:
        raise StudyError(
            "no tokenizer can be loaded from here",
            where=section,
            given=place,
            allowed="a hub id or a folder with the tokenizer's files",
            hint=f"name another source at model.tokenizer ({_brief(error)})",
        ) from error


def load_model(spec: ModelSpec, labels: tuple[str, ...]) -> tuple[nn.Module, list[str], tuple[str, ...]]:
    """Return a sequence classifier in evaluation mode, the parameters its checkpoint did not have, and its class names.

    The parameters that are missing are initialized from a fixed seed. Class names are those that the checkpoint gives
    to its outputs; none where it only numbers them.

    Raises:
        StudyError: nothing can be loaded, or the checkpoint's head has another number of classes.
    """
    import transformers

    place = locate(spec, "model")
    torch.manual_seed(0)
    config = _config(place, spec.revision)
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
                trust_remote_code=False,
            )
    except Exception as error:
        raise StudyError(
            "no text classifier can be loaded from here",
            where="model",
            given=place,
            allowed="a hub id or a folder with config.json and weights of a Transformers encoder",
            hint=_brief(error),
        ) from error
    for name, value in model.named_parameters():
        if not torch.isfinite(value).all():
            raise StudyError(
                "the model's weights are not finite",
                where="model",
                given=f"{name} in {place}",
                hint="name a checkpoint whose training did not diverge, and whose download is whole",
            )
    if getattr(model.config, "use_cache", False):
        # A classifier reads a sentence once; a decoder's cache would only stand in the way of its conversion.
        model.config.use_cache = False
    mismatched = [str(entry[0]) for entry in info.get("mismatched_keys", ())]
    names = telling([str(name) for _, name in sorted((config.id2label or {}).items())])
    return with_linear_layers(model).eval(), sorted({*map(str, info["missing_keys"]), *mismatched}), names


def padding_id(spec: ModelSpec) -> int | None:
    """Return the id of the padding token that a model's configuration names, or None.

    Raises:
        StudyError: there is no configuration, or it cannot be read.
    """
    return getattr(_config(locate(spec, "model"), spec.revision), "pad_token_id", None)


def model_inputs(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the inputs that a module's ``forward`` takes from a tokenizer."""
    accepted = inspect.signature(module.forward).parameters
    return tuple(name for name in INPUTS if name in accepted)


def _config(place: str, revision: str | None) -> Any:
    """Return the configuration of a model.

    Raises:
        StudyError: there is none, or it cannot be read.
    """
    import transformers

    try:
        with quiet():
            return transformers.AutoConfig.from_pretrained(place, revision=revision or "main", trust_remote_code=False)
    except Exception as error:
        raise StudyError(
            "no configuration of a model can be read from here",
            where="model",
            given=place,
            allowed="a hub id or a folder with config.json and weights of a Transformers encoder",
            hint=_brief(error),
        ) from error


def with_linear_layers(module: nn.Module) -> nn.Module:
    """Return a module whose transposed linear layers, as GPT-2 has them, are replaced in place by ordinary ones."""
    from transformers.pytorch_utils import Conv1D

    for parent in list(module.modules()):
        for name, part in list(parent.named_children()):
            if isinstance(part, Conv1D):
                rows, columns = part.weight.shape
                layer = nn.Linear(rows, columns)
                layer.weight = nn.Parameter(part.weight.detach().T.contiguous())
                layer.bias = part.bias
                setattr(parent, name, layer)
    return module


def _brief(error: BaseException) -> str:
    if "trust_remote_code" in str(error):
        return "it brings program code of its own, which is not run: name a model of an architecture in Transformers"
    return f"{type(error).__name__}: {one_line(str(error), 160)}"


def weights_sha256(module: nn.Module) -> str:
    """Return the SHA-256 of a module's parameters, names and shapes included."""
    total = hashlib.sha256()
    for name, value in sorted(module.named_parameters()):
        total.update(f"{name}{tuple(value.shape)}".encode())
        total.update(value.detach().contiguous().numpy().tobytes())
    return total.hexdigest()
