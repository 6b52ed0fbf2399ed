"""Exports one file that torch loads alone: a graph in which small codes are unpacked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from slimfront.search.export.card import Use
from slimfront.search.export.converted import Compressed, Converted
from slimfront.search.export.exporter import EXPORTERS
from slimfront.search.export.packed import pack
from slimfront.studies.errors import StudyError, one_line
from slimfront.studies.models import quiet
from torch import nn
from torch.export import Dim

FILE = "model.pt2"
READ = """\
text = Tokenizer.from_file(f"{{folder}}/tokenizer.json").encode("a text like yours")
made = {{"input_ids": text.ids, "attention_mask": text.attention_mask, "token_type_ids": text.type_ids}}
batch = {{name: torch.tensor([made[name][:{max_tokens}]]) for name in program.graph_signature.user_inputs}}"""


class Logits(nn.Module):
    """Returns nothing but the logits, ``(rows, classes)``, of a classifier."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Run the classifier on inputs ``(rows, tokens)``; those that it does not take are left out."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        found: torch.Tensor = self.model(**{name: given for name, given in inputs.items() if given is not None}).logits
        return found


@EXPORTERS.register("torch-export")
class TorchExporter(Converted):
    """One file made by torch.export, in which batch and sequence length are free."""

    format = "torch-export"

    def convert(self, compressed: Compressed, folder: Path) -> list[str]:
        """See :meth:`Converted.convert`."""
        with exporting("torch.export cannot trace this model"):
            torch.export.save(_program(packed(compressed), compressed.example), folder / FILE)
        return [FILE]

    def use(self, folder: Path) -> Use:  # noqa: ARG002
        """See :meth:`ModelFolder.use`."""
        return Use(
            name="pytorch",
            title="torch.export",
            versions=("tokenizers",),
            imports="import torch\nfrom tokenizers import Tokenizer",
            load='program = torch.export.load(f"{folder}/' + FILE + '")',
            read=READ,
            run="program.module()(**batch)",
            notes="It needs torch and a tokenizer, nothing else. Weights of 8 bits and fewer lie in the file as"
            " integers, and the graph unpacks them in every run: it saves bytes, not time.",
        )


def packed(compressed: Compressed) -> Logits:
    """Return a compressed model that unpacks its small codes itself."""
    module = Logits(compressed.module)
    pack(module.model, compressed.model.tensors)
    return module


@contextmanager
def exporting(refusal: str) -> Iterator[None]:
    """Export in silence and without gradients; whatever fails is told as a refusal.

    Raises:
        StudyError: something failed.
    """
    try:
        with quiet(), torch.no_grad():
            yield
    except Exception as error:
        raise StudyError(
            refusal,
            where="--to",
            given=one_line(f"{type(error).__name__}: {error}", 160),
            allowed="another format",
            hint="choose another format",
        ) from error


def _program(module: nn.Module, example: Mapping[str, torch.Tensor]) -> Any:
    # Of sizes that a batch does not share with another of the model's own, and none of which is 1.
    inputs = {name: value.repeat(2, 1)[:3] for name, value in example.items()}
    free = {name: {0: Dim.DYNAMIC, 1: Dim.DYNAMIC} for name in inputs}
    program = torch.export.export(module, (), kwargs=inputs, dynamic_shapes=free, strict=False)
    for node in program.graph.nodes:
        # Where in the source a node comes from would be most of a small model's file.
        for name in ("stack_trace", "nn_module_stack", "torch_fn"):
            node.meta.pop(name, None)
    return program
