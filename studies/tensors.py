"""Tensor files that are whole or not there: written beside their place, renamed when done, with a sum in the header."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

SUM = "sha256"
# Seconds after which a file that was never finished is given up.
STALE = 86400.0
Tensors = dict[str, torch.Tensor]


def write_tensors(path: Path, parts: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file; any number of processes may write the same one at once."""
    whole = {name: value.detach().contiguous() for name, value in parts.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(prefix=".", dir=path.parent)
    os.close(handle)
    try:
        save_file(whole, scratch, metadata={**metadata, SUM: _sum(whole, metadata)})
        Path(scratch).replace(path)
    finally:
        Path(scratch).unlink(missing_ok=True)


def read_tensors(path: Path) -> tuple[Tensors, dict[str, str]] | None:
    """Return a file's tensors and metadata, or None where it is missing or damaged.

    The file is mapped: its pages are shared by processes. It counts as used.
    """
    try:
        os.utime(path)
        with safe_open(path, framework="pt") as stream:
            parts: Tensors = {name: stream.get_tensor(name) for name in sorted(stream.keys())}
            metadata = dict(stream.metadata() or {})
        sound = metadata.pop(SUM, None) == _sum(parts, metadata)
    except (OSError, SafetensorError, ValueError, TypeError, RuntimeError, AttributeError):
        # A header in which a bit has turned may name types and shapes that torch does not make.
        return None
    return (parts, metadata) if sound else None


def adopt(module: nn.Module, path: Path) -> nn.Module:
    """Let a module's parameters be those of a safetensors file, as far as it has them; return the module.

    The file is mapped: processes that adopt the same one share its pages, and what one of them writes stays its own.
    It may be removed meanwhile, but nobody may write into it.
    """
    for name, value in load_file(path).items():
        parameter = module.get_parameter(name)
        assert (parameter.shape, parameter.dtype) == (value.shape, value.dtype)
        parameter.data = value
    return module


def adopted(module: nn.Module, path: Path) -> nn.Module:
    """Return a copy of a module that adopts a file; it shares with the module the values that the file lacks."""
    shared = {id(value): nn.Parameter(value.data, value.requires_grad) for value in module.parameters()}
    return adopt(copy.deepcopy(module, shared), path)


def entries(folder: Path) -> list[tuple[float, int, Path]]:
    """Return time of last use, bytes and path of a folder's tensor files, the least recently used first."""
    found = []
    for path in folder.glob("*.safetensors"):
        # Another process may remove it meanwhile.
        with contextlib.suppress(FileNotFoundError):
            state = path.stat()
            found.append((state.st_mtime, state.st_size, path))
    return sorted(found)


def make_room(folder: Path, limit: int, newest: Path) -> None:
    """Remove the least recently used files of a folder that holds more bytes than it may, but never the newest."""
    for scratch in folder.glob(".*"):
        # Left by a process that was killed while it wrote.
        with contextlib.suppress(OSError):
            if time.time() - scratch.stat().st_mtime > STALE:
                scratch.unlink()
    present = entries(folder)
    excess = sum(size for _, size, _ in present) - limit
    for _, size, path in present:
        if excess <= 0:
            return
        if path != newest:
            path.unlink(missing_ok=True)
            excess -= size


def _sum(parts: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> str:
    total = hashlib.sha256(repr(sorted(metadata.items())).encode())
    for name in sorted(parts):
        total.update(f"{name} {tuple(parts[name].shape)} {parts[name].dtype}\n".encode())
        total.update(parts[name].contiguous().numpy().tobytes())
    return total.hexdigest()
