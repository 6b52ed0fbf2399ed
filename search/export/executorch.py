"""Exports a program for ExecuTorch, the runtime of phones and devices, which unpacks small codes itself."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import suppress
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

            def traced() -> torch.export.ExportedProgram:
                return torch.export.export(module, (), kwargs=inputs, dynamic_shapes=free, strict=False)

            (folder / FILE).write_bytes(_lowered(traced, lower, xnnpack).to_executorch().buffer)
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
            read='text = Tokenizer.from_file(f"{{folder}}/tokenizer.json").encode("a text like yours")\n'
            f"batch = [torch.tensor([values[:{{max_tokens}}]]) for values in ({made},)]",
            run="method.execute(batch)[0]",
            notes=f"The program takes one text at a time, as {', '.join(names)}, of 2 tokens to the longest length; "
            "ExecuTorch's libraries for Android, iOS and C++ load the same file. Weights of 8 bits and fewer lie in it "
            "as integers, which the program unpacks in every run: it saves bytes, not time.",
        )


def _names(compressed: Compressed) -> list[str]:
    return [name for name in INPUTS if name in compressed.example]


def _lowered(traced: Callable[[], torch.export.ExportedProgram], lower: Any, xnnpack: Any) -> Any:
    """Return a program in which XNNPACK runs as much as leaves the length free."""
    # Linear layers only where it is told that weights may be computed: here they are unpacked in every run.
    for options in ({"force_non_static_weights_for_f32_linear": True}, {}):
        # Some shapes that depend on the length it refuses only when it meets them; by then the trace is spoilt.
        with suppress(RuntimeError):
            made = lower(traced(), partitioner=[xnnpack(**options)])
            if _any_length(made.exported_program()):
                return made
    made = lower(traced())
    if not _any_length(made.exported_program()):
        raise ValueError("the length of texts would be fixed")
    return made


def _any_length(program: torch.export.ExportedProgram) -> bool:
    taken = program.graph_signature.user_inputs
    lengths = [node.meta["val"].shape[1] for node in program.graph.nodes if node.name in taken]
    # What was fixed after it was traced is a symbol still, of one number.
    return all(isinstance(length, torch.SymInt) and length.node.maybe_as_int() is None for length in lengths)


def _executorch() -> tuple[Any, Any]:
    try:
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower
    except ImportError as error:
        raise MissingError(
            "ExecuTorch is not installed", where="--to", given="executorch", hint="pip install 'slimfront[executorch]'"
        ) from error
    logging.getLogger("executorch").setLevel(logging.ERROR)
    return to_edge_transform_and_lower, XnnpackPartitioner
