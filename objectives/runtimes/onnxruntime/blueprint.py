"""A module that was exported once: its template is filled for each configuration."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import torch
from slimfront.objectives.artifact import Artifact
from slimfront.objectives.runtimes.onnxruntime.execution import node_times
from slimfront.objectives.runtimes.onnxruntime.parameters import payload
from slimfront.objectives.runtimes.onnxruntime.template import Template, joined
from slimfront.objectives.runtimes.runtime import Blueprint
from slimfront.objectives.sessions.onnxruntime import MODEL
from slimfront.studies.compressed import CompressedModel, Cut, Form, QuantizedTensor
from slimfront.studies.encoding import Batch


class OnnxBlueprint(Blueprint):
    """See :class:`Blueprint`.

    Args:
        template: The exported module.
        cuts: The prunable structures.
        threads: Threads of one inference.
    """

    def __init__(self, template: Template, cuts: Mapping[str, Cut], threads: int) -> None:
        self._template, self._options = template, {"threads": threads}
        self._units = {name: cut.units for name, cut in cuts.items()}

    @property
    def products(self) -> tuple[str, ...]:
        """See :meth:`Blueprint.products`."""
        feeds = self._template.feeds.items()
        return tuple(name for name, feed in feeds if feed.product and feed.uses)

    def lower(self, compressed: CompressedModel, folder: Path) -> Artifact:
        """See :meth:`Blueprint.lower`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MODEL).write_bytes(self.fill(compressed))
        return Artifact.seal(folder, [MODEL], "onnxruntime", self._options)

    def fill(self, compressed: CompressedModel) -> bytes:
        """Return the file of a compressed model."""
        left = {name: feed for name, feed in self._template.feeds.items() if name in compressed.tensors}
        forms = {name: Form.of(compressed.tensors[name]) for name in left}
        pieces = self._template.fill(forms, self._missing(compressed.kept), compressed.skipped)
        values = (value for name, feed in left.items() for value in payload(compressed.tensors[name], feed))
        return joined(pieces, values)

    def frame_size(self, kept: Mapping[str, int], skipped: Collection[str] = ()) -> int:  # noqa: ARG002
        """See :meth:`Blueprint.frame_size`; every width takes the same room."""
        return self._template.frame_size(skipped)

    def frame(self) -> bytes:
        """See :meth:`Blueprint.frame`."""
        return self._template.frame()

    def parameter_size(self, name: str, form: Form) -> int:
        """See :meth:`Blueprint.parameter_size`; a parameter that the graph lacks takes nothing."""
        return self._template.written(name, form).size if name in self._template.feeds else 0

    def data_size(self, name: str, form: Form) -> int:
        """See :meth:`Blueprint.data_size`."""
        return self._template.written(name, form).values if name in self._template.feeds else 0

    def data(self, name: str, tensor: torch.Tensor | QuantizedTensor) -> bytes:
        """See :meth:`Blueprint.data`."""
        feed = self._template.feeds.get(name)
        return b"" if feed is None else b"".join(piece.tobytes() for piece in payload(tensor, feed))

    def profile(
        self,
        compressed: CompressedModel,
        mode: str,  # noqa: ARG002
        request: Batch,
        repeats: int,
        reference: Callable[[], object],
    ) -> dict[str, float]:
        """See :meth:`Blueprint.profile`; there is one mode."""
        found = dict.fromkeys((*self.products, *self._units, *self._template.blocks, ""), 0.0)
        last = ""
        for node, spent in node_times(self.fill(compressed), self._options, request, repeats, reference):
            part = node.removeprefix("fused ").split("/")[0]
            if part in found:
                found[part] += spent
            else:
                # A node that the runtime made of several belongs where the one before it belongs.
                owner = self._template.owners.get(part if part in self._template.owners or not node else last, "")
                found[owner if owner in found else ""] += spent
            last = part if part in self._template.owners else last
        return found

    def _missing(self, kept: Mapping[str, int]) -> dict[str, int]:
        return {name: units - kept.get(name, units) for name, units in self._units.items()}
