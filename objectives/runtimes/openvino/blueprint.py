"""A module that was converted once: its template is filled for each configuration."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from slimfront.objectives.artifact import Artifact
from slimfront.objectives.runtimes.openvino.execution import PRODUCT_NODES, mode_of, node_times, options
from slimfront.objectives.runtimes.openvino.layers import aligned
from slimfront.objectives.runtimes.openvino.parameters import READS, payload
from slimfront.objectives.runtimes.openvino.template import Template
from slimfront.objectives.runtimes.runtime import Blueprint
from slimfront.objectives.sessions.openvino import MODEL, WEIGHTS
from slimfront.studies.compressed import CompressedModel, Cut, Form, QuantizedTensor
from slimfront.studies.encoding import Batch
from torch import nn


class OpenVinoBlueprint(Blueprint):
    """See :class:`Blueprint`.

    Args:
        template: The converted module.
        cuts: The prunable structures.
        module: The dense module.
        threads: Threads of one inference.
    """

    def __init__(self, template: Template, cuts: Mapping[str, Cut], module: nn.Module, threads: int) -> None:
        self._template, self._threads = template, threads
        self._units = {name: cut.units for name, cut in cuts.items()}
        tables = {f"{name}.weight" for name, part in module.named_modules() if isinstance(part, nn.Embedding)}
        shapes = {name: value.shape for name, value in module.named_parameters()}
        self._products = tuple(name for name in template.feeds if len(shapes[name]) == 2 and name not in tables)

    @property
    def products(self) -> tuple[str, ...]:
        """See :meth:`Blueprint.products`."""
        return self._products

    def lower(self, compressed: CompressedModel, folder: Path) -> Artifact:
        """See :meth:`Blueprint.lower`."""
        folder.mkdir(parents=True, exist_ok=True)
        text, data = self.fill(compressed)
        (folder / MODEL).write_text(text, encoding="utf-8")
        data.tofile(folder / WEIGHTS)
        products = [compressed.tensors[name] for name in self._products if name in compressed.tensors]
        mode = mode_of(map(Form.of, products), compressed.precision)
        return Artifact.seal(folder, [MODEL, WEIGHTS], "openvino", options(mode, self._threads))

    def fill(self, compressed: CompressedModel) -> tuple[str, npt.NDArray[np.uint8]]:
        """Return the text and the bytes of a compressed model."""
        missing = self._missing(compressed.kept)
        left = {name: feed for name, feed in self._template.feeds.items() if name in compressed.tensors}
        forms = {name: Form.of(compressed.tensors[name]) for name in left}
        text, offsets = self._template.fill(forms, missing, compressed.skipped)
        constants = self._template.patched(missing)
        data = np.zeros(aligned(sum(offsets[-1])) if offsets else len(constants), dtype=np.uint8)
        data[: len(constants)] = constants
        places = iter(offsets)
        for name, feed in left.items():
            for piece in payload(compressed.tensors[name], feed):
                offset, size = next(places)
                data[offset : offset + size] = piece
        return text, data

    def frame_size(self, kept: Mapping[str, int], skipped: Collection[str] = ()) -> int:
        """See :meth:`Blueprint.frame_size`."""
        return self._template.text_size(self._missing(kept), skipped)

    def frame(self) -> bytes:
        """See :meth:`Blueprint.frame`."""
        return self._template.frame() + self._template.constants.tobytes()

    def parameter_size(self, name: str, form: Form) -> int:
        """See :meth:`Blueprint.parameter_size`; a parameter that the graph lacks takes nothing."""
        return self._template.parameter_size(name, form) if name in self._template.feeds else 0

    def data_size(self, name: str, form: Form) -> int:
        """See :meth:`Blueprint.data_size`."""
        return self._template.data_size(name, form) if name in self._template.feeds else 0

    def data(self, name: str, tensor: torch.Tensor | QuantizedTensor) -> bytes:
        """See :meth:`Blueprint.data`."""
        feed = self._template.feeds.get(name)
        return b"" if feed is None else b"".join(piece.tobytes() for piece in payload(tensor, feed))

    def profile(
        self, compressed: CompressedModel, mode: str, request: Batch, repeats: int, reference: Callable[[], object]
    ) -> dict[str, float]:
        """See :meth:`Blueprint.profile`."""
        text, data = self.fill(compressed)
        times = node_times(text, data, options(mode, self._threads), request, repeats, reference)
        found = dict.fromkeys((*self._products, *self._units, *self._template.passages, ""), 0.0)
        for node, kind, spent in times:
            owner = self._template.owners.get(node, node.partition(READS)[0])
            if owner in self._products and not kind.startswith((*PRODUCT_NODES, "FakeQuantize")):
                owner = next((block for block in self._template.passages if owner.startswith(f"{block}.")), "")
            found[owner if owner in found else ""] += spent
        return found

    def _missing(self, kept: Mapping[str, int]) -> dict[str, int]:
        return {name: units - kept.get(name, units) for name, units in self._units.items()}
