"""The runtimes' contract."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from slimfront.objectives.artifact import Artifact
from slimfront.objectives.sessions.session import Session, load
from slimfront.studies.compressed import Capabilities, CompressedModel, Cut, Form, QuantizedTensor, Removal
from slimfront.studies.encoding import Batch
from slimfront.studies.errors import StudyError
from slimfront.studies.registry import Registry
from slimfront.studies.schema import TargetSpec
from torch import nn


class Blueprint(ABC):
    """One model, prepared once for a target: makes an artifact of every compression of it."""

    @abstractmethod
    def lower(self, compressed: CompressedModel, folder: Path) -> Artifact:
        """Write the deployable files of a compressed model into an empty folder and seal them."""

    @property
    @abstractmethod
    def products(self) -> tuple[str, ...]:
        """Names of the matrices that are multiplied, which decide the mode and most of the time."""

    @abstractmethod
    def frame_size(self, kept: Mapping[str, int], skipped: Collection[str] = ()) -> int:
        """Return the bytes of the files without any parameter: a sum over structures and blocks.

        Args:
            kept: Units kept by structure; absent means all.
            skipped: Blocks that are removed whole, with all their structures.
        """

    @abstractmethod
    def parameter_size(self, name: str, form: Form) -> int:
        """Return the bytes that a parameter adds to the files, whatever the others are."""

    @abstractmethod
    def frame(self) -> bytes:
        """Return the files of the dense model without any parameter."""

    @abstractmethod
    def data_size(self, name: str, form: Form) -> int:
        """Return how many of the bytes that a parameter adds stand for its values: those of :meth:`data`, and gaps."""

    @abstractmethod
    def data(self, name: str, tensor: torch.Tensor | QuantizedTensor) -> bytes:
        """Return the bytes that stand for a parameter's values in the files; none where the files lack it."""

    def size(self, forms: Mapping[str, Form], kept: Mapping[str, int], skipped: Collection[str] = ()) -> int:
        """Return the bytes that :meth:`lower` would write, exactly, without making anything."""
        return self.frame_size(kept, skipped) + sum(self.parameter_size(name, form) for name, form in forms.items())

    @abstractmethod
    def profile(
        self, compressed: CompressedModel, mode: str, request: Batch, repeats: int, reference: Callable[[], object]
    ) -> dict[str, float]:
        """Run a compressed model in a mode and tell where the time goes.

        Args:
            compressed: The model.
            mode: See :meth:`Runtime.mode`; another than the model's own may be asked for.
            request: Inputs ``(rows, tokens)``.
            repeats: Runs, of which the shortest third counts.
            reference: Runs the model whose time is the unit; called before each of them, and followed by runs that do
                not count: as latency is measured.

        Returns:
            Times, in runs of the reference, by name of the multiplied matrix, by name of the structure for what stands
            between its matrices, by name of the block for its rest, and under the empty name for all other.
        """


class Runtime(ABC):
    """A target runtime.

    Args:
        spec: The study's section ``target``.

    Attributes:
        libraries: Packages on whose versions the files depend.

    Raises:
        MissingError: the runtime is not installed.
    """

    libraries: ClassVar[tuple[str, ...]]

    @abstractmethod
    def __init__(self, spec: TargetSpec) -> None: ...

    @abstractmethod
    def supports(self) -> Capabilities:
        """Return what the runtime packs and runs on this machine."""

    @abstractmethod
    def mode(self, forms: Iterable[Form], precision: str) -> str:
        """Return how a model is executed as far as the speed of every layer depends on the other layers.

        Args:
            forms: Forms of all matrices that are multiplied.
            precision: The inference precision.
        """

    @abstractmethod
    def kernel(self, form: Form, mode: str) -> str | None:
        """Return what multiplies a matrix in a mode; None where the mode excludes the form.

        Matrices of one shape and kernel take the same time.
        """

    @abstractmethod
    def removable(
        self, module: nn.Module, example: Mapping[str, torch.Tensor], blocks: Sequence[str], weights: str
    ) -> list[str]:
        """Return those of some blocks, in the order in which they are run, that the runtime can remove from a module.

        Raises:
            StudyError: the runtime cannot hold this module.
        """

    @abstractmethod
    def prepare(
        self,
        module: nn.Module,
        example: Mapping[str, torch.Tensor],
        cuts: Mapping[str, Cut],
        removals: Mapping[str, Removal],
        weights: str,
    ) -> Blueprint:
        """Convert a dense module once; what comes of it is kept in the cache.

        Args:
            module: The dense module in evaluation mode.
            example: A small real batch, ``(rows, tokens)`` each.
            cuts: For each prunable structure how its widths show in the module.
            removals: For each block that may be removed whole what removes it.
            weights: SHA-256 of its parameters.

        Raises:
            StudyError: the runtime cannot hold this module.
        """

    def load(self, artifact: Artifact) -> Session:
        """Load an artifact."""
        return load(artifact)


def require_cpu(spec: TargetSpec) -> None:
    """Refuse other devices than the CPU.

    Raises:
        StudyError: another one was chosen.
    """
    if spec.device != "cpu":
        raise StudyError(
            f"{spec.runtime} runs on the CPU only here",
            where="target.device",
            given=spec.device,
            allowed="cpu; or the runtime pytorch",
            hint="choose one of both",
        )


def unclear(graph: str, cuts: Mapping[str, Cut], removals: Mapping[str, Removal]) -> StudyError:
    """Return the error of a graph in which widths or blocks cannot be found."""
    sections = [*["space.sparsity"] * bool(cuts), *["space.depth"] * bool(removals)]
    return StudyError(
        f"{graph} of this model does not show how it depends on heads, neurons and blocks",
        where=" and ".join(sections),
        hint=f"remove {' or '.join(sections)}",
    )


def without(module: nn.Module, removal: Removal) -> nn.Module:
    """Return a copy of a module from which something is removed."""
    twin = copy.deepcopy(module)
    removal(twin)
    return twin


def compared(
    found: npt.NDArray[np.float32], module: nn.Module, inputs: Mapping[str, torch.Tensor], runtime: str
) -> None:
    """Compare a converted module's logits ``(rows, classes)`` with the module's own.

    Raises:
        StudyError: they differ.
    """
    with torch.no_grad():
        expected = module(**inputs).logits.numpy()
    if found.shape != expected.shape or not np.allclose(found, expected, rtol=1e-2, atol=1e-3):
        differ = (
            f"logits differ by {np.abs(found - expected).max():.3g}" if found.shape == expected.shape else found.shape
        )
        raise StudyError(
            f"{runtime} does not compute what this model computes",
            where="target.runtime",
            given=differ,
            hint="choose another runtime, and report the model",
        )


RUNTIMES: Registry[Runtime] = Registry("runtime", "slimfront.objectives.runtimes")
