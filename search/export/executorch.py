"""Exports a program for ExecuTorch, the runtime of phones and devices, which unpacks small codes itself."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import torch
from slimfront.search.export.card import Use
from slimfront.search.export.converted import Compressed, Converted
from slimfront.search.export.exporter import EXPORTERS
from slimfront.search.export.torch_export import exporting, packed
from slimfront.studies.errors import MissingError
from torch.export import Dim

FILE = "model.pte"
# In the order in which a program takes them; what the tokenizer calls them.
INPUTS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


@EXPORTERS.register("executorch")
class ExecuTorchExporter(Converted):
    """One program of batch 1 and free length; XNNPACK runs what it can of it, portable kernels the rest."""

    format = "executorch"
    batch = 1

    def convert(self, compressed: Compressed, folder: Path) -> list[str]:
        """See :meth:`Converted.convert`."""
        lower, xnnpack = _executorch()
        inputs = {name: compressed.example[name][:1] for name in _names(compressed)}
        free = {name: {1: Dim("tokens", min=2, max=compressed.max_tokens)} for name in inputs}
        with exporting("ExecuTorch cannot hold this model"):
            module = packed(compressed)
            program = torch.export.export(module, (), kwargs=inputs, dynamic_shapes=free, strict=False)
            try:
                made = lower(program, partitioner=[xnnpack])
            except RuntimeError:
                # XNNPACK refuses some shapes that depend on the length only when it is given them.
                made = lower(program)
            (folder / FILE).write_bytes(made.to_executorch().buffer)
        return [FILE]

    def options(self, compressed: Compressed) -> dict[str, Any]:
        """See :meth:`Converted.options`: the program does not name its inputs."""
        return {"inputs": _names(compressed)}

    def use(self, folder: Path) -> Use:
        """See :meth:`ModelFolder.use`."""
        names = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["options"]["inputs"]
        made = ", ".join(f"text.{INPUTS[name]}" for name in names)
        return Use(
            name="executorch",
            title="ExecuTorch",
            versions=("executorch", "tokenizers"),
            imports="import torch\nfrom executorch.runtime import Runtime\nfrom tokenizers import Tokenizer",
            load='method = Runtime.get().load_program(f"{folder}/' + FILE + '").load_method("forward")',
            read='text = Tokenizer.from_file(f"{{folder}}/tokenizer.json").encode("a gripping film")\n'
            f"batch = [torch.tensor([values[:{{max_tokens}}]]) for values in ({made},)]",
            run="method.execute(batch)[0]",
            notes=f"The program takes one text at a time, as {', '.join(names)}, of 2 tokens to the longest length; "
            "ExecuTorch's libraries for Android, iOS and C++ load the same file. Weights of 8 bits and fewer lie in it "
            "as integers, which the program unpacks in every run: it saves bytes, not time.",
        )


def _names(compressed: Compressed) -> list[str]:
    return [name for name in INPUTS if name in compressed.example]


def _executorch() -> tuple[Any, Any]:
    try:
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower
    except ImportError as error:
        raise MissingError(
            "ExecuTorch is not installed", where="--to", given="executorch", hint="pip install 'slimfront[executorch]'"
        ) from error
    logging.getLogger("executorch").setLevel(logging.ERROR)
    return to_edge_transform_and_lower, XnnpackPartitioner()
