"""A module whose class Transformers has: its compressions are weights and the numbers that tell of widths."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from slimfront.objectives.artifact import Artifact
from slimfront.objectives.runtimes.pytorch import file, load
from slimfront.objectives.runtimes.pytorch.execution import profiled
from slimfront.objectives.runtimes.runtime import Blueprint
from slimfront.objectives.runtimes.twins import Gap
from slimfront.objectives.sessions.pytorch import RECIPE
from slimfront.studies.compressed import CompressedModel, Cut, Form, QuantizedTensor
from slimfront.studies.encoding import Batch
from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONFIG, WEIGHTS, LOADER = "config.json", "model.safetensors", "load.py"
DIGITS = 9
# A module's path and the attribute that is set there.
Attribute = tuple[str, str]


class PyTorchBlueprint(Blueprint):
    """See :class:`Blueprint`.

    Args:
        module: The dense module.
        cuts: The prunable structures.
        blocks: For each removable block whether it gives its output in a tuple.
        gaps: The attributes that depend on widths.
        options: How sessions run: threads and device.
    """

    def __init__(
        self,
        module: PreTrainedModel,
        cuts: Mapping[str, Cut],
        blocks: Mapping[str, bool],
        gaps: Mapping[Attribute, Gap],
        options: Mapping[str, Any],
    ) -> None:
        self._class, self._config = type(module).__name__, str(module.config.to_json_string())
        self._cuts, self._blocks, self._gaps, self._options = cuts, blocks, gaps, options
        linear = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
        self._held = {name for name, _ in module.named_parameters()}
        self._products = tuple(f"{name}.weight" for name in linear if f"{name}.weight" in self._held)

    @property
    def products(self) -> tuple[str, ...]:
        """See :meth:`Blueprint.products`."""
        return self._products

    def lower(self, compressed: CompressedModel, folder: Path) -> Artifact:
        """See :meth:`Blueprint.lower`."""
        folder.mkdir(parents=True, exist_ok=True)
        recipe = self._recipe(compressed.kept, compressed.skipped, compressed.precision)
        texts = {CONFIG: self._config, RECIPE: recipe, LOADER: _loader()}
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        (folder / WEIGHTS).write_bytes(file.encoded(compressed.tensors))
        return Artifact.seal(folder, [*texts, WEIGHTS], "pytorch", self._options)

    def frame_size(self, kept: Mapping[str, int], skipped: Collection[str] = ()) -> int:
        """See :meth:`Blueprint.frame_size`."""
        texts = (self._config, self._recipe(kept, skipped, "f32"), _loader())
        return file.EMPTY + sum(len(text.encode()) for text in texts)

    def frame(self) -> bytes:
        """See :meth:`Blueprint.frame`."""
        return "".join((self._config, self._recipe({}, (), "f32"), _loader())).encode() + file.encoded({})

    def parameter_size(self, name: str, form: Form) -> int:
        """See :meth:`Blueprint.parameter_size`."""
        return file.size(name, form)

    def data_size(self, name: str, form: Form) -> int:
        """See :meth:`Blueprint.data_size`."""
        return file.values_size(name, form)

    def data(self, name: str, tensor: torch.Tensor | QuantizedTensor) -> bytes:  # noqa: ARG002
        """See :meth:`Blueprint.data`."""
        return b"".join(file.values_of(tensor))

    def profile(
        self, compressed: CompressedModel, mode: str, request: Batch, repeats: int, reference: Callable[[], object]
    ) -> dict[str, float]:
        """See :meth:`Blueprint.profile`: what lies between a structure's matrices is what passes between their runs."""
        with tempfile.TemporaryDirectory() as folder:
            self.lower(replace(compressed, precision=mode), Path(folder))
            model = load.load(folder).to(str(self._options["device"]))
        return profiled(model, self._products, self._cuts, self._blocks, request, repeats, reference)

    def _recipe(self, kept: Mapping[str, int], skipped: Collection[str], precision: str) -> str:
        """Return how the loader makes the module: as many bytes whatever the widths and the precision."""
        missing = {name: cut.units - kept.get(name, cut.units) for name, cut in self._cuts.items()}
        lines = [
            f'["{path}","{attribute}",{str(gap.number(missing)).rjust(DIGITS)}]'
            for (path, attribute), gap in self._gaps.items()
        ]
        blocks = [(name, json.dumps(wrapped)) for name, wrapped in self._blocks.items() if name in skipped]
        removed = "".join(f'["{name}",{wrapped}],' for name, wrapped in blocks)
        head = f'{{"class":"{self._class}","precision":{json.dumps(precision).rjust(6)},'
        return f'{head}"removed":[{removed[:-1]}{" " if removed else ""}],"attributes":[{",".join(lines)}]}}'


def _loader() -> str:
    return Path(load.__file__).read_text(encoding="utf-8")
