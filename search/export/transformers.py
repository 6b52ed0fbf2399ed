"""Exports a folder that ``AutoModelForSequenceClassification.from_pretrained`` loads."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save
from slimfront.search.export.architecture import Architecture, configured
from slimfront.search.export.card import Use
from slimfront.search.export.codes import stored
from slimfront.search.export.converted import Compressed, Converted
from slimfront.search.export.exporter import EXPORTERS
from slimfront.search.export.shipped import modeling_narrowed
from slimfront.spaces.blocks import Skipped
from slimfront.studies.errors import StudyError
from slimfront.studies.models import quiet
from transformers.pytorch_utils import Conv1D

CONFIG, WEIGHTS, CODE = "config.json", "model.safetensors", "modeling_narrowed.py"
CLASS = "NarrowedModel"
OTHERS = "torch-export, executorch, config, and the format of the run's target"


@EXPORTERS.register("transformers")
class TransformersExporter(Converted):
    """Safetensors weights with codes as compressed-tensors holds them, and a configuration."""

    format = "transformers"

    def convert(self, compressed: Compressed, folder: Path) -> list[str]:
        """See :meth:`Converted.convert`."""
        kind = type(compressed.dense)
        if getattr(transformers, kind.__name__, None) is not kind:
            raise StudyError(
                "Transformers has no class of this model",
                where="--to",
                given=kind.__name__,
                allowed=OTHERS,
                hint="choose one of these",
            )
        config = _config(compressed)
        for architecture in _architectures(compressed, config):
            names = _written(compressed, architecture, folder)
            if _loads(compressed, folder, CODE in names):
                return names
            for name in names:
                (folder / name).unlink()
        raise StudyError(
            "Transformers does not load this model as it was compressed",
            where="--to",
            given=kind.__name__,
            allowed=OTHERS,
            hint="choose one of these",
        )

    def use(self, folder: Path) -> Use:
        """See :meth:`ModelFolder.use`."""
        own, coded = (folder / CODE).is_file(), "quantization_config" in (folder / CONFIG).read_text(encoding="utf-8")
        notes = ["`config.json` says all that was removed."]
        if own:
            notes = [
                f"The class of this model cannot be told of all that was done: `{CODE}` lies beside its weights, which"
                " narrows the layers that `narrowed` in `config.json` names, and nothing else. Read it before you"
                " trust it."
            ]
        if coded:
            notes.append(
                "Codes are held as compressed-tensors holds them, as differences from their zero points where these"
                " are not zero; Transformers unpacks them before the first run: it saves bytes on the disk, not time."
            )
        return Use(
            name="transformers",
            title="Transformers",
            versions=("compressed-tensors",) if coded else (),
            imports="from transformers import AutoModelForSequenceClassification",
            load="model = AutoModelForSequenceClassification.from_pretrained(folder"
            + (", trust_remote_code=True)" if own else ")"),
            run="model(**batch).logits",
            tensors="pt",
            notes=" ".join(notes),
        )


def _config(compressed: Compressed) -> Any:
    """Return the dense model's configuration for the compressed model's vocabulary."""
    module: Any = compressed.dense
    config = copy.deepcopy(module.config)
    config.architectures, config.dtype = [type(module).__name__], "float32"
    if compressed.draft.rows is not None:
        config.vocab_size = compressed.draft.rows
    return config


def _architectures(compressed: Compressed, config: Any) -> Iterator[Architecture]:
    """Yield how the model may be told of: by its own class, where that can be, then by the shipped code."""
    with quiet():
        transposed = any(isinstance(part, Conv1D) for part in type(compressed.dense)(config).modules())
        told = None if transposed else configured(compressed, config)
    if told is not None:
        yield told
    yield Architecture(_narrowed(compressed, config, transposed), {})


def _written(compressed: Compressed, architecture: Architecture, folder: Path) -> list[str]:
    """Write the files of an architecture and return their names."""
    own = hasattr(architecture.config, "narrowed")
    # Transformers itself loads no packed tables; layers of code that it does not know it leaves alone.
    tensors, codes = stored(compressed.model.tensors, compressed.module, own)
    if codes is not None:
        for group in codes["config_groups"].values():
            group["targets"] = [architecture.name(f"{layer}.")[:-1] for layer in group["targets"]]
        architecture.config.quantization_config = codes
    text = json.dumps(architecture.config.to_dict(), indent=1, sort_keys=True)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
    named = {architecture.name(name): value for name, value in tensors.items()}
    (folder / WEIGHTS).write_bytes(save(named, {"format": "pt"}))
    if not own:
        return [CONFIG, WEIGHTS]
    (folder / CODE).write_text(_code(type(compressed.dense).__name__), encoding="utf-8")
    return [CONFIG, WEIGHTS, CODE]


def _code(kind: str) -> str:
    """Return the shipped code for a class of Transformers; what it takes from this project stands in it."""
    code = inspect.getsource(modeling_narrowed)
    code = code.replace("BertForSequenceClassification as Base", f"{kind} as Base")
    code = code.replace("from slimfront.spaces.blocks import Skipped\n", "")
    return code.replace("class NarrowedModel", f"{inspect.getsource(Skipped)}\n\nclass NarrowedModel")


def _loads(compressed: Compressed, folder: Path, own: bool) -> bool:
    """Return whether Transformers makes the very model of a folder."""
    try:
        with quiet(), torch.no_grad():
            auto = transformers.AutoModelForSequenceClassification
            model = auto.from_pretrained(str(folder), trust_remote_code=own)
            found, expected = (part(**compressed.example).logits for part in (model, compressed.module))
    except Exception:
        # Classes that initialize what they load are not made for layers without a plain weight.
        return False
    return bool(torch.allclose(found, expected, rtol=1e-5, atol=1e-6))


def _narrowed(compressed: Compressed, config: Any, linear: bool) -> Any:
    """Return a configuration that tells the shipped code what to narrow."""
    draft = compressed.draft
    attributes = [list(entry) for s in draft.cut() for entry in s.attributes(draft.kept[s.name])]
    removed = [[block.name, block.wrapped] for block in draft.gone()]
    config.narrowed = {"attributes": attributes, "removed": removed, "linear": linear}
    config.architectures = [CLASS]
    config.auto_map = {"AutoModelForSequenceClassification": f"{CODE.removesuffix('.py')}.{CLASS}"}
    return config
