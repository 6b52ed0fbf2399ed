"""The layer bank: every weight at every level is quantized once, kept on disk, and shared by all who need it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from slimfront.search.statistics import Calibration
from slimfront.spaces.masks import Mask, Pattern
from slimfront.spaces.quantizers.clipped import Symmetric
from slimfront.spaces.quantizers.quantizer import Quantizer, group_size
from slimfront.spaces.ranges import fitted
from slimfront.spaces.repair import repaired
from slimfront.studies.cache import cache_root, digest
from slimfront.studies.compressed import Capabilities, QuantizedTensor
from slimfront.studies.tensors import entries, make_room, read_tensors, write_tensors

Progress = Callable[[str, float], None]
PARTS, WHOLE, READS = ("codes", "scales", "zero_points"), "weight", "reads"
# Bits of an entry that holds floats.
FLOAT = 32
# Bytes of a file's header, at most.
HEADER = 1024


@dataclass(frozen=True)
class Level:
    """One weight at one level.

    Attributes:
        name: The parameter's name.
        bits: Width of a code; 32 for floats.
        columns: Indices of the columns that are kept, or None for all. Rows need no level of their own: a row's codes
            do not depend on the others.
        zeros: Which single weights are zero, or None.
        static: Whether the range of what it multiplies comes with it.
    """

    name: str
    bits: int
    columns: tuple[int, ...] | None = None
    zeros: Pattern | None = None
    static: bool = False

    @property
    def stored(self) -> bool:
        """Whether it is worth its place on the disk: floats with zeros are needed for training alone, and large."""
        return self.bits < FLOAT or self.zeros is None


@dataclass
class Bank:
    """The dense model's weights by level: codes, and the floats of those that make up for columns that went.

    An entry is one safetensors file, named by the SHA-256 of all that determines its content; the SHA-256 of its
    tensors stands in its header. It is written beside its place and renamed when whole, so that any number of
    processes may fill the bank at once; one that is damaged is made again.

    Attributes:
        weights: The dense model's parameters by name.
        identity: SHA-256 of all of them: banks of different models lie in different folders.
        method: Name of the quantizer.
        quantizer: Makes what is missing.
        capabilities: What the target packs.
        limit: Bytes that the folder may hold; the least recently used entries go first.
        calibration: What layers read on the train split, where a method needs it.
        repairs: Whether the columns that stay make up for those that go.
        thinning: Name of the mask, or nothing.
        mask: Sets single weights to zero, where the space holds that.
        made: How many entries this process had to make.
    """

    weights: Mapping[str, torch.Tensor]
    identity: str
    method: str
    quantizer: Quantizer
    capabilities: Capabilities
    limit: int
    calibration: Calibration | None = None
    repairs: bool = False
    thinning: str = ""
    mask: Mask | None = None
    made: int = 0
    _held: dict[Level, torch.Tensor | QuantizedTensor] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the entries are."""
        return cache_root() / "bank" / self.identity[:24]

    def fill(self, levels: Iterable[Level], progress: Progress) -> None:
        """Make every level that is missing, as far as there is room for all; the rest is made when it is asked for."""
        # Those with zeros last: there are most of them.
        stored = sorted((level for level in dict.fromkeys(levels) if level.stored), key=lambda level: bool(level.zeros))
        held, wanted = 0, []
        for level in stored:
            try:
                held += self._touch(self._path(level))
            except FileNotFoundError:
                wanted.append(level)
        for number, level in enumerate(wanted):
            if held + self._room(level) > self.limit:
                progress("the layer bank is full, see search.bank", 1.0)
                return
            self._make(level)
            held += self._path(level).stat().st_size
            progress("quantizing every layer at every level", (number + 1) / len(wanted))

    def _room(self, level: Level) -> int:
        """Return the bytes of an entry's file, or a little more."""
        rows, columns = self.weights[level.name].shape
        columns = columns if level.columns is None else len(level.columns)
        group = group_size(columns, level.bits, self.capabilities, level.static) or columns
        # Codes take a byte each, and so do zero points; scales take two.
        tensors = 4 * columns if level.bits == FLOAT else columns + 3 * columns // group
        return rows * tensors + HEADER

    @staticmethod
    def _touch(path: Path) -> int:
        """Mark an entry as used, so that others go before it, and return its bytes."""
        os.utime(path)
        return path.stat().st_size

    @property
    def recipe(self) -> str:
        """Stands for all on which the entries of a weight depend, but the weight and the level."""
        data = self.calibration.data if self.calibration else ""
        return digest([self.method, self.repairs, data]) if data else self.method

    @property
    def methods(self) -> str:
        """Stands for all methods and data that decide what is stitched."""
        return digest([self.recipe, self.thinning]) if self.thinning else self.recipe

    def codes(
        self,
        name: str,
        bits: int,
        columns: torch.Tensor | None,
        zeros: Pattern | None = None,
        static: bool = False,
    ) -> torch.Tensor | QuantizedTensor:
        """Return a weight's codes or floats; see :class:`slimfront.spaces.draft.Codes`."""
        if bits >= 16 and zeros is None and (columns is None or not self.repairs):
            weight = self.weights[name].detach()
            return weight if columns is None else weight[:, columns]
        kept = None if columns is None else tuple(columns.tolist())
        level = Level(name, bits if bits < 16 else FLOAT, kept, zeros, static)
        if not level.stored:
            return self._floats(level)[0]
        if level not in self._held:
            found = self._read(level)
            self._held[level] = self._make(level) if found is None else found
        return self._held[level]

    def size(self) -> int:
        """Return the bytes that the bank takes on the disk."""
        return sum(size for _, size, _ in entries(self.folder))

    def _path(self, level: Level) -> Path:
        columns = level.columns if level.columns is not None else range(self.weights[level.name].shape[1])
        key = {
            "weight": self._sum(level.name),
            "method": self.method,
            "bits": level.bits,
            "columns": None if level.columns is None else digest(list(level.columns)),
            "group": group_size(len(columns), level.bits, self.capabilities, level.static),
        }
        if level.static:
            key["static"] = True
        if level.zeros is not None:
            key["zeros"] = [self.thinning, level.zeros.share, level.zeros.neighbours]
        if self._calibrates(level):
            key["recipe"] = self.recipe
        return self.folder / f"{digest(key)}.safetensors"

    def _sum(self, name: str) -> str:
        # The folder's name already stands for all values; the parameter's name tells which of them.
        return digest([self.identity, name])

    def _make(self, level: Level) -> torch.Tensor | QuantizedTensor:
        made: torch.Tensor | QuantizedTensor
        made, moment = self._floats(level)
        if level.bits < FLOAT:
            group = group_size(made.shape[1], level.bits, self.capabilities, level.static)
            if level.static:
                # Integer products have no zero points to take off, and 8 bits do with any quantizer.
                made = replace(Symmetric().quantize(made, level.bits, group), reads=self._reads(level))
            else:
                made = self.quantizer.quantize(made, level.bits, group, moment)
        self.made += 1
        self._write(self._path(level), made, level.bits)
        return made

    def _floats(self, level: Level) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return what is left in floats, and the second moments of what it multiplies where a method needs them."""
        weight, moment = self.weights[level.name].detach(), None
        if self._calibrates(level) and self.calibration:
            moment = self.calibration.moment(level.name)
        if level.columns is not None:
            kept = torch.tensor(level.columns)
            mended = self.repairs and moment is not None
            weight = repaired(weight, moment, kept) if mended else weight[:, kept]  # type: ignore[arg-type]
            moment = None if moment is None else moment[kept][:, kept]
        if level.zeros is not None and self.mask is not None:
            weight = self.mask.thin(weight, level.zeros, moment)
        return weight, moment

    def _reads(self, level: Level) -> tuple[float, float]:
        """Return the range of what a level's columns multiply."""
        assert self.calibration is not None
        low, high = self.calibration.range(level.name)
        kept = slice(None) if level.columns is None else list(level.columns)
        return fitted(float(low[kept].min()), float(high[kept].max()))

    def _calibrates(self, level: Level) -> bool:
        thinned = level.zeros is not None and self.mask is not None and self.mask.calibrated
        return self.quantizer.calibrated or level.static or (self.repairs and level.columns is not None) or thinned

    def _write(self, path: Path, made: torch.Tensor | QuantizedTensor, bits: int) -> None:
        parts = {WHOLE: made} if isinstance(made, torch.Tensor) else {name: getattr(made, name) for name in PARTS}
        if isinstance(made, QuantizedTensor) and made.reads:
            parts[READS] = torch.tensor(made.reads)
        write_tensors(path, parts, {"bits": str(bits)})
        make_room(self.folder, self.limit, path)

    def _read(self, level: Level) -> torch.Tensor | QuantizedTensor | None:
        """Return a sound entry, or None where there is none."""
        found = read_tensors(self._path(level))
        if found is None or found[1].get("bits") != str(level.bits):
            return None
        parts = found[0]
        if level.bits == FLOAT:
            return parts[WHOLE]
        low, high = parts[READS].tolist() if level.static else (0.0, 0.0)
        reads = (low, high) if level.static else None
        return QuantizedTensor(parts["codes"], parts["scales"], parts["zero_points"], level.bits, reads)
